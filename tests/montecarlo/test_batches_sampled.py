r"""Sampled networks with normalised batches against theory, the chain rule and themselves.

Means of kernels and gradients are those of infinite width up to O(1/N), which is below the standard
errors here; the control takes the numbers of an infinite batch for those of a small one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
from heavier import left_to_slow

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Linear,
    ResNet,
    evaluate,
    gradient_moments,
    kernel,
    sample,
)
from resexpand.errors import HyperparameterError, KernelError, UnsupportedError
from resexpand.network.batch_norm import EPS
from resexpand.network.differentials import OTHER, AveragedMap, forward, gradient, tangent
from resexpand.network.operation import X

METHODS = ("function-space", "dense")
LIMIT = 4.5
"""Largest deviation in standard errors; there are fewer than a hundred entries a case."""


def net(name: str = "relu", **norm: Any) -> ResNet:
    return ResNet(Branch(BatchNorm(**norm), Activation(name), Linear(1.8, 0.1)), scale=0.9, depth=3)


def exchangeable(size: int) -> np.ndarray:
    return np.full((size, size), 0.4) + 0.8 * np.eye(size)


def unlike(size: int) -> np.ndarray:
    root = np.random.default_rng(size).normal(size=(size, 4)) + 0.3
    return root @ root.T


def z_of(estimate: Any, theory: np.ndarray, skip: int = 1) -> np.ndarray:
    return ((estimate.mean - theory) / estimate.stderr)[skip:]


@pytest.mark.parametrize("size", left_to_slow([2, 3, 4, 8, 32], [4, 32]))
@pytest.mark.parametrize(
    "name", ["relu", *(pytest.param(n, marks=pytest.mark.slow) for n in ("erf", "gelu"))]
)
def test_kernels_of_batches(name: str, size: int) -> None:
    start, draws = exchangeable(size), 6000 // size + 500
    theory = evaluate(kernel(net(name), "batch"), K0=start)["K"]
    found = sample(net(name), "kernel", 64, draws, K0=start, seed=size)["kernel"]
    z = z_of(found, theory)
    assert np.abs(z[:, 0, 0]).max() < LIMIT
    assert np.abs(z).max() < LIMIT + 1
    if size <= 8:
        many = evaluate(kernel(net(name), "batch"), K0=exchangeable(1000), outputs="K")["K"]
        control = np.broadcast_to(many[:, :1, 1:2], theory.shape).copy()
        control[:, np.arange(size), np.arange(size)] = many[:, :1, 0]
        assert np.abs(z_of(found, control)).max() > 10


NAMES = ["kernel", "gradient", "directional_derivative"]


def test_gradients_are_those_of_theory() -> None:
    """At this width the 1/N of gradients, 2.1/N of their size, is a third of a standard error."""
    start = exchangeable(8)
    theory = evaluate(gradient_moments(net()), K0=start)
    found = sample(net(), NAMES, 300, 500, K0=start, seed=7)
    assert np.abs(z_of(found["kernel"], theory["K"])).max() < LIMIT
    assert np.abs(z_of(found["gradient"], theory["gradient"], skip=0)).max() < LIMIT
    assert np.abs(z_of(found["gradient"], 1.4 * theory["gradient"], skip=0)).max() > LIMIT


def test_both_samplers_draw_the_same_law_and_obey_the_chain_rule() -> None:
    start = exchangeable(8)
    drawn = [sample(net(), NAMES, 32, 1500, K0=start, seed=7, method=m) for m in METHODS]
    for name in NAMES[:2]:
        one, other = (found[name] for found in drawn)
        z = (one.mean - other.mean) / np.hypot(one.stderr, other.stderr)
        assert np.abs(z[name == "kernel" :]).max() < LIMIT
    for found in drawn:
        along = found["directional_derivative"]
        np.testing.assert_allclose(along.mean, along.mean[0], rtol=1e-9)
        np.testing.assert_allclose(along.stderr, along.stderr[0], rtol=1e-9)
        assert along.stderr[0] > 0


def test_unlike_inputs_ghosts_and_eps() -> None:
    start = unlike(6)
    for options in ({}, {"eps": 0.3}, {"ghost": 3}):
        own = net(**options)
        theory = evaluate(kernel(own, "batch"), K0=start)
        found = sample(own, "kernel", 64, 1500, K0=start, seed=2)["kernel"]
        error = 3e-3 * np.abs(theory["K"]).max() if theory.notes else 0.0
        deviation = np.abs(found.mean - theory["K"])[1:] - error
        assert (deviation / found.stderr[1:]).max() < LIMIT
    plain = evaluate(kernel(net(), "batch"), K0=start)["K"]
    assert np.abs(z_of(found, plain)).max() > 10  # ghost batches are not the batch


def numeric(averaged: AveragedMap, x: np.ndarray, other: np.ndarray, eps: float) -> np.ndarray:
    """Run a map with averages over the columns of a batch in NumPy, neuron by neuron."""
    at = {X: x, OTHER: other, EPS: np.float64(eps)}
    for symbol, term in averaged.averages:
        run = sp.lambdify(list(at), term, "numpy")
        at[symbol] = (run(*at.values()) * np.ones_like(x)).mean(axis=1, keepdims=True)
    return sp.lambdify(list(at), averaged.value, "numpy")(*at.values())


@pytest.mark.parametrize("eps", [0.0, 0.2])
def test_derivatives_are_those_of_the_batch(eps: float) -> None:
    op = BatchNorm(eps)
    x, v, g = np.random.default_rng(0).normal(size=(3, 24, 5))
    forth, back = numeric(tangent(op), x, v, eps), numeric(gradient(op), x, g, eps)
    assert (g * forth).sum() == pytest.approx((back * v).sum(), rel=1e-12)
    step = 1e-6
    moved = [numeric(forward(op), x + s * step * v, v, eps) for s in (1, -1)]
    np.testing.assert_allclose(forth, (moved[0] - moved[1]) / (2 * step), atol=1e-6)
    np.testing.assert_allclose(back.sum(axis=1), 0, atol=1e-12)


BAD = {
    "one input": ({"K0": 1.0}, {}, HyperparameterError, "of one input"),
    "equal rows": ({"K0": np.ones((2, 2))}, {}, KernelError, "2 equal inputs"),
    "ghost": ({"K0": exchangeable(4)}, {"ghost": 3}, HyperparameterError, "does not divide 4"),
    "running": ({"K0": exchangeable(4)}, {"mode": "running"}, UnsupportedError, "training batches"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_batches(case: str) -> None:
    given, norm, error, message = BAD[case]
    with pytest.raises(error, match=message):
        sample(net(**norm), "kernel", 16, 10, **given)


@pytest.mark.parametrize("name", ["ntk", "covariance_response"])
def test_observables_of_single_inputs(name: str) -> None:
    start = exchangeable(2)
    with pytest.raises(UnsupportedError, match="batch"):
        sample(net("erf"), name, 16, 10, K0=start)


def test_equal_inputs_with_eps_stay_equal() -> None:
    found = sample(net(eps=0.1), "kernel", 16, 10, K0=np.ones((2, 2)), seed=1)["kernel"].mean
    np.testing.assert_allclose(found[:, 0, 0], found[:, 0, 1], rtol=1e-12)
