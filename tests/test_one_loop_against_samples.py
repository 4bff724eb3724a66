"""The order 1/N against sampled networks, by z-scores, with what is left out shown to be missed.

Two widths are combined to ``2 X(2N) - X(N)``, which removes the next order. Means come from samples
whose first-order fluctuation is taken away by their infinite-width twin. Entries of one network are
correlated, so the largest of all z-scores is judged as if they were as many as there are.
"""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, evaluate, one_loop, sample
from support.deviations import sample_deviations

PAIR = np.array([[0.7, 0.2], [0.2, 1.1]])
MOST = 4.5
X = sp.Symbol("x")

BRANCHES = {
    "erf_unit": Branch(Activation("erf_unit"), Linear(1.2, 0.05)),
    "relu": Branch(Activation("relu"), Linear(1.2, 0.05)),
    "tanh": Branch(Activation("tanh"), Linear(1.2, 0.05)),
    "gelu": Branch(Activation("gelu"), Linear(1.2, 0.05)),
    "leaky_relu": Branch(Activation("leaky_relu"), Linear(1.2, 0.05)),
    "sin": Branch(Activation("sin"), Linear(1.2, 0.05)),
    "clipped": Branch(Activation(sp.Max(-1, sp.Min(1, X))), Linear(1.2, 0.05)),
    "V relu W": Branch(Linear(1.1, 0.1), Activation("relu"), Linear(1.2, 0.05)),
    "V erf W gelu": Branch(
        Activation("gelu"), Linear(1.1, 0.1), Activation("erf"), Linear(1.2, 0.05)
    ),
}


def network(name: str, scale: float = 0.8, depth: int = 4) -> ResNet:
    return ResNet(BRANCHES[name], scale=scale, depth=depth)


def extrapolated(runs, widths, name) -> tuple[np.ndarray, np.ndarray]:
    small, large = (run[name] for run in runs)
    assert widths[1] == 2 * widths[0]
    mean = 2 * large.mean - small.mean
    return mean, np.hypot(2 * large.stderr, small.stderr)


def score(expected, mean, error) -> float:
    """Return the largest z-score; entries that never vary must agree exactly."""
    moves = error > 1e-12 * np.abs(mean).max()
    np.testing.assert_allclose(mean[~moves], expected[~moves], atol=1e-8)
    return float(np.abs((mean - expected)[moves] / error[moves]).max())


def means(net: ResNet, K0, draws: int, widths=(60, 120)) -> tuple[np.ndarray, np.ndarray]:
    """Return N (E C - C) at every layer, to leading order, with its error."""
    limit = evaluate(one_loop(net, inputs=1 if np.ndim(K0) == 0 else len(K0)), K0=K0)["C"]
    values, errors = [], []
    for width in widths:
        run = sample(
            net, ["layer_covariance"], width, draws, K0=K0, seed=width, control="infinite-width",
            progress=False,
        )["layer_covariance"]  # fmt: skip
        values.append(width * (run.mean - limit))
        errors.append(width * run.stderr)
    return 2 * values[1] - values[0], np.hypot(2 * errors[1], errors[0])


def spreads(net: ResNet, K0, draws: int, widths=(60, 120)):
    return [
        sample_deviations(net, width, draws, K0=K0, seed=width, progress=False) for width in widths
    ]


def flattened(values, name: str, inputs: int) -> np.ndarray:
    """Return a covariance as the samples arrange it: layers 1 to L, entries of the triangle."""
    whole = values[name]
    whole = whole[1:, ..., 1:, :, :] if inputs > 1 and name != "C_cov" else whole
    if inputs == 1:
        return whole[:-1, :-1] if name == "C_cov" else whole[1:, 1:]
    first, second = np.triu_indices(inputs)
    if name == "C_cov":
        whole = whole[:-1, :, :, :-1]
    entries = whole[:, first, second][..., first, second]
    size = entries.shape[0] * entries.shape[1]
    return entries.reshape(size, size)


def check_spreads(net: ResNet, K0, draws: int) -> None:
    inputs = 1 if np.ndim(K0) == 0 else len(K0)
    values = evaluate(one_loop(net, inputs=inputs), K0=K0)
    runs = spreads(net, K0, draws)
    for name in ("C_cov", "K_cov", "G_cov"):
        mean, error = extrapolated(runs, (60, 120), name)
        expected = flattened(values, name, inputs)
        assert score(expected, mean, error) < MOST, name
        alone = np.where(np.eye(len(expected)) > 0, expected, 0.0)
        assert score(alone, mean, error) > 10, f"{name} without the covariance between layers"
    mean, error = extrapolated(runs, (60, 120), "kurtosis")
    assert score(np.atleast_1d(values["kurtosis"]), mean, error) < MOST


def test_means_of_one_input() -> None:
    net = network("erf_unit", scale=1.0)
    values = evaluate(one_loop(net), K0=0.7)
    mean, error = means(net, 0.7, 20_000)
    assert score(values["C_mean"], mean, error) < MOST
    # What theories of the empirical kernel alone keep, and what they lack.
    assert score(values["C_mean_tadpole"], mean, error) > 10
    assert score(values["C_mean_conditioning"], mean, error) > 5


def test_spreads_of_one_input() -> None:
    check_spreads(network("erf_unit"), 0.7, 20_000)


CASES = [
    (name, inputs) for name in BRANCHES for inputs in (1, 2) if (name, inputs) != ("clipped", 2)
]
"""Two inputs of a function with kinks off the origin are refused."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "inputs"), CASES)
def test_means(name: str, inputs: int) -> None:
    K0 = 0.7 if inputs == 1 else PAIR
    net = network(name)
    values = evaluate(one_loop(net, inputs=inputs), K0=K0)
    mean, error = means(net, K0, 40_000)
    assert score(values["C_mean"], mean, error) < MOST
    if np.abs(values["C_mean_conditioning"]).max() > 1e-6:
        assert score(values["C_mean_tadpole"], mean, error) > 6


@pytest.mark.slow
@pytest.mark.parametrize(("name", "inputs"), CASES)
def test_spreads(name: str, inputs: int) -> None:
    check_spreads(network(name), 0.7 if inputs == 1 else PAIR, 40_000)


@pytest.mark.slow
def test_one_scale_per_block_and_a_read_out() -> None:
    branch = BRANCHES["V erf W gelu"]
    net = ResNet(branch, scale=[0.5, 1, 0.3, 0.8], read_out=branch.followed_by(Linear(1.7, 0.2)))
    values = evaluate(one_loop(net), K0=0.7)
    mean, error = means(net, 0.7, 40_000)
    assert score(values["C_mean"], mean, error) < MOST
    check_spreads(net, 0.7, 40_000)
