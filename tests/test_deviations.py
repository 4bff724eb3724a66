"""Deviations from infinite width against networks whose moments are exact at every width."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, evaluate, exact_moments, kernel, sample
from resexpand.errors import HyperparameterError
from support.deviations import sample_deviations, upper

LINEAR = ResNet(Branch(Linear(1.2, 0.3)), scale=[0.5, 0.3, 0.6])
WIDTH, DRAWS, LAYERS = 20, 40_000, (1, 3)
MOST = 4.5


@pytest.fixture(scope="module")
def linear():
    return sample_deviations(LINEAR, WIDTH, DRAWS, K0=0.7, layers=LAYERS, seed=3, progress=False)


def score(estimate, expected) -> np.ndarray:
    return np.abs((estimate.mean - expected) / estimate.stderr)


def test_covariances_of_a_linear_network(linear) -> None:
    exact = evaluate(exact_moments(LINEAR), K0=0.7, width=WIDTH)
    chosen = np.ix_(LAYERS, LAYERS)
    assert score(linear["G_cov"], WIDTH * exact["G_cov"][chosen]).max() < MOST
    own = np.diagonal(linear["C_cov"].mean), np.diagonal(linear["C_cov"].stderr)
    variance = WIDTH * exact["C_var"][[0, 2]]
    assert (np.abs(own[0] - variance) / own[1]).max() < MOST
    assert (np.abs(own[0] - 1.1 * variance) / own[1]).min() > 5
    # C^4 of the block that would come next: its variance makes the excess kurtosis.
    assert score(linear["kurtosis"], WIDTH * exact["kurtosis"][-1]).max() < MOST


def test_means_of_a_linear_network_are_not_shifted(linear) -> None:
    assert score(linear["C_mean"], 0.0).max() < MOST
    assert score(linear["K_mean"], 0.0).max() < MOST


def test_kernels_sum_the_covariances_of_the_same_networks() -> None:
    net = ResNet(Branch(Activation("erf"), Linear(1.2, 0.3)), scale=[0.5, 0.9])
    start = [[1.0, 0.3], [0.3, 0.5]]
    found = sample_deviations(net, 7, 50, K0=start, seed=1, progress=False)
    plain = sample(net, "layer_covariance", 7, 50, K0=start, seed=1, progress=False)
    limit = evaluate(kernel(net, inputs=2), K0=np.array(start))
    shift = 7 * upper(plain["layer_covariance"].mean[None] - limit["C"][None])[0]
    np.testing.assert_allclose(found["C_mean"].mean, shift[:2], atol=1e-12)
    grown = np.cumsum([0.25 * shift[0], 0.81 * shift[1]], axis=0)
    np.testing.assert_allclose(found["K_mean"].mean, grown, atol=1e-12)
    assert found["C_cov"].mean.shape == (6, 6)
    np.testing.assert_allclose(found["C_cov"].mean, found["C_cov"].mean.T)
    assert found["kurtosis"].mean.shape == (2,)


def test_upper_triangles() -> None:
    rows = np.arange(9.0).reshape(1, 1, 3, 3)
    assert upper(rows).tolist() == [[[0, 1, 2, 4, 5, 8]]]
    assert upper(np.ones((4, 6))).shape == (4, 6, 1)


@pytest.mark.parametrize("layers", [(), (0,), (4,)])
def test_layers_outside(layers: tuple[int, ...]) -> None:
    with pytest.raises(HyperparameterError, match="layers"):
        sample_deviations(LINEAR, WIDTH, 10, K0=1.0, layers=layers)


def test_symbols_left() -> None:
    net = ResNet(Branch(Linear()), scale=sp.Symbol("a"), depth=2)
    with pytest.raises(HyperparameterError, match="a, sigma_b2, sigma_w2 have no value"):
        sample_deviations(net, WIDTH, 10, K0=1.0)
