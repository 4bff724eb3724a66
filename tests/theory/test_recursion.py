"""Laws of the kernel recursion that hold for every network, tried on random ones."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from heavier import left_to_slow
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from uncompiled import evaluate

from resexpand import Activation, Branch, Linear, ResNet, compile_routine, kernel, response
from resexpand.activations import ACTIVATIONS
from resexpand.conventions import DEPTH, RHO
from resexpand.errors import HyperparameterError

Array = NDArray[np.float64]
QUICK = ["identity", "erf", "erf_unit", "relu", "leaky_relu", "sin", "sign"]
MORE = ["identity", "erf_unit", "sin", "leaky_relu"]
ODD = ["identity", "erf", "erf_unit", "sin", "tanh", "sign"]


def network(name: str) -> ResNet:
    return ResNet(Branch(Activation(name), Linear()), scale=RHO, depth=DEPTH)


def covariance(seed: int, count: int = 4, rank: int = 3) -> Array:
    points = np.random.default_rng(seed).normal(size=(count, rank))
    points *= np.exp(np.random.default_rng(seed + 1).normal(size=(count, 1)))
    return points @ points.T / rank


def run(name: str, start: Array, **changed: float) -> Array:
    given = {"rho": 0.7, "sigma_w2": 1.3, "sigma_b2": 0.1, "depth": 3, **changed}
    routine = compile_routine(kernel(network(name), inputs=2), outputs=["K"])
    return np.asarray(routine(K0=start, **given)["K"])


hyper = st.fixed_dictionaries(
    {
        "rho": st.floats(-2, 2),
        "sigma_w2": st.floats(0, 4),
        "sigma_b2": st.floats(0, 2),
        "depth": st.integers(1, 6),
    }
)


@pytest.mark.parametrize("name", left_to_slow([*QUICK, "tanh"], MORE))
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), hyper=hyper)
def test_covariances_stay_covariances(name: str, seed: int, hyper: dict[str, float]) -> None:
    found = run(name, covariance(seed), **hyper)
    lengths = np.sqrt(np.diagonal(found, axis1=1, axis2=2))
    correlations = found / (lengths[:, :, None] * lengths[:, None, :])
    assert np.linalg.eigvalsh(correlations).min() > -1e-12
    np.testing.assert_array_equal(found, found.swapaxes(1, 2))
    # Without read-out the stream only grows.
    assert (np.diff(np.diagonal(found, axis1=1, axis2=2), axis=0) >= 0).all()


@pytest.mark.parametrize("name", QUICK)
@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), order=st.permutations(range(4)))
def test_the_order_of_inputs_does_not_matter(name: str, seed: int, order: list[int]) -> None:
    start = covariance(seed)
    moved = run(name, start[np.ix_(order, order)])
    whole = run(name, start)[:, order][:, :, order]
    np.testing.assert_allclose(moved, whole, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", ["identity", "relu", "leaky_relu"])
@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), factor=st.floats(1e-6, 1e6))
def test_rectifiers_scale(name: str, seed: int, factor: float) -> None:
    start = covariance(seed)
    grown = run(name, factor * start, sigma_b2=0.0)
    np.testing.assert_allclose(grown, factor * run(name, start, sigma_b2=0.0), rtol=1e-12, atol=0)


def test_a_bias_breaks_the_scaling() -> None:
    start = covariance(1)
    assert not np.allclose(run("relu", 2 * start), 2 * run("relu", start), rtol=1e-3)


@pytest.mark.parametrize("name", ODD)
def test_odd_networks_are_odd(name: str) -> None:
    # Without bias, turning one input around turns its covariances around.
    start = covariance(3)
    turn = np.diag([1.0, -1.0, 1.0, 1.0])
    found, turned = run(name, start, sigma_b2=0.0), run(name, turn @ start @ turn, sigma_b2=0.0)
    np.testing.assert_allclose(turned, turn @ found @ turn, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", QUICK)
def test_only_the_square_of_the_scale_matters(name: str) -> None:
    start = covariance(5)
    np.testing.assert_array_equal(run(name, start, rho=-0.7), run(name, start, rho=0.7))
    np.testing.assert_allclose(
        run(name, start, rho=0.35, sigma_w2=5.2, sigma_b2=0.4), run(name, start), rtol=1e-14
    )


@pytest.mark.parametrize("name", QUICK)
def test_depth_composes(name: str) -> None:
    start = covariance(7)
    whole = run(name, start, depth=5)
    later = run(name, whole[2], depth=3)
    np.testing.assert_allclose(later, whole[2:], rtol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_one_block_is_exact(name: str) -> None:
    found = evaluate(kernel(network(name)), K0=0.7, rho=0.5, sigma_w2=2, sigma_b2=0.25, depth=1)
    assert found["K"][1] - 0.7 == pytest.approx(0.25 * found["C"][0], rel=1e-14)
    assert found["K"].shape == found["C"].shape == (2,)


def test_a_standing_network_stands() -> None:
    start = covariance(9)
    np.testing.assert_array_equal(run("erf", start, rho=0.0), np.broadcast_to(start, (4, 4, 4)))
    # No weights: the biases alone add up.
    np.testing.assert_allclose(
        run("erf", start, sigma_w2=0.0)[-1], start + 3 * 0.49 * 0.1, rtol=1e-14
    )


def test_a_stream_with_means_is_a_covariance_too() -> None:
    net = ResNet(Branch(Linear(1.5, 0.2), Activation("relu")), scale=0.8, depth=5)
    found = evaluate(kernel(net, inputs=2), K0=covariance(11))["K"]
    assert np.linalg.eigvalsh(found).min() > -1e-12
    means = evaluate(kernel(net), K0=1.0)
    assert (means["m"] ** 2 <= means["K"]).all()


def test_what_a_recursion_says_of_itself() -> None:
    recursion = kernel(network("erf"))
    assert [o.name for o in recursion.outputs] == ["K", "C"]
    assert recursion.output("K").kind == "trajectory"
    with pytest.raises(KeyError, match="'eta' is not among the outputs"):
        recursion.output("eta")
    assert {c.reference.key for c in recursion.citations} >= {"fischer2023", "williams1997"}
    assert hash(recursion) == hash(kernel(network("erf")))
    assert recursion.neglects == "O(1/N)"
    with pytest.raises(HyperparameterError, match=r"for 3 inputs.*use inputs=2"):
        kernel(network("erf"), inputs=3)
    inner = ResNet(Branch(Linear(1, 0), Activation("erf"), Linear(2, 0)), scale=1, depth=2)
    named = {s.name: v for s, v in kernel(inner).bindings if s.name.startswith("sigma")}
    assert named == {"sigma_w2_1": 1, "sigma_b2_1": 0, "sigma_w2_2": 2, "sigma_b2_2": 0}
    assert response(inner).state[0] == sp.Symbol("K", positive=True)
