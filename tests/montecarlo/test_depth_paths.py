"""Networks of several depths and their limit, from one path of their weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, depth_limit, sample
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.montecarlo.depth_paths import depth_paths
from resexpand.numbers.depth_limit import solve_depth_limit

L, c = sp.Symbol("L", integer=True, positive=True), sp.Symbol("c", positive=True)
RELU = Activation("relu")


def limit_of(*ops, constant=1):
    return depth_limit(ResNet(Branch(*ops), scale=constant / sp.sqrt(L), depth=L))


def test_constants_of_the_strong_error() -> None:
    """Closed: K0 e^{T/2} T/8 for relu, K0 e^T T/2 for linear blocks, in units T = c^2."""
    for T in (1.0, 2.25):
        relu = solve_depth_limit(limit_of(RELU, Linear(1, 0), constant=c), K0=0.7, c=math.sqrt(T))
        assert relu.path_error == pytest.approx(0.7 * T**2 * math.exp(T / 2) / 8, rel=1e-9)
        linear = solve_depth_limit(limit_of(Linear(1, 0), constant=c), K0=0.7, c=math.sqrt(T))
        assert linear.path_error == pytest.approx(0.7 * T**2 * math.exp(T) / 2, rel=1e-9)
    deep = solve_depth_limit(limit_of(Linear(1, 0), RELU, Linear(2, 0)), K0=1.0)
    assert math.isnan(deep.path_error)


@pytest.mark.parametrize(
    "ops", [(RELU, Linear(1, 0)), (Activation("erf"), Linear(1.3, 0.2))], ids=str
)
def test_rate_and_constant(ops) -> None:
    limit = limit_of(*ops)
    expected = solve_depth_limit(limit, K0=0.8).path_error
    paths = depth_paths(limit, K0=0.8, width=120, depths=[20, 40, 80], draws=60, seed=1)
    assert paths.steps == 320
    assert abs(paths.exponent - 1) < 4 * paths.exponent_error + 0.03
    assert abs(paths.exponent - 0.5) > 5 * paths.exponent_error
    z = (paths.constant - expected) / paths.constant_error
    # Corrections of order 1/N and L^{-1/2} are a few percent.
    assert np.abs(z).max() < 3.5
    assert np.abs((paths.constant - expected / 2) / paths.constant_error).min() > 5


def test_the_limit_is_the_network_that_is_sampled() -> None:
    limit = limit_of(Activation("erf"), Linear(1.3, 0.2))
    paths = depth_paths(limit, K0=0.8, width=20, depths=[5, 10], draws=30, seed=4)
    net = ResNet(limit.net.branch, scale=1 / sp.sqrt(40), depth=40)
    run = sample(net, "kernel", 20, 30, K0=0.8, seed=4)["kernel"]
    assert paths.kernel[-1] == pytest.approx(run.mean[-1], rel=1e-13)
    assert paths.kernel_error[-1] == pytest.approx(run.stderr[-1], rel=1e-10)


def test_against_matrices_written_out() -> None:
    """Sums of increments as the weights of shallower networks, in NumPy."""
    width, steps, draws, rng = 8, 20, 1500, np.random.default_rng(1)
    rows = []
    for _ in range(draws):
        weights = rng.normal(size=(steps, width, width)) / math.sqrt(width * steps)
        ends, start = [], rng.normal(size=width)
        for depth in (20, 5, 10):
            h = start
            for block in weights.reshape(depth, steps // depth, width, width).sum(1):
                h = h + block @ np.maximum(h, 0)
            ends.append(h)
        rows.append([((h - ends[0]) ** 2).mean() for h in ends[1:]])
    own = np.array(rows)
    paths = depth_paths(
        limit_of(RELU, Linear(1, 0)), K0=1, width=width, depths=[5, 10], steps=20, draws=3000
    )
    error = np.hypot(paths.distance_error, own.std(0) / math.sqrt(draws))
    assert np.abs((paths.distance - own.mean(0)) / error).max() < 3.5


def test_refusals() -> None:
    with pytest.raises(UnsupportedError, match="averaged over"):
        depth_paths(
            limit_of(Linear(1, 0), RELU, Linear(2, 0)), K0=1, width=9, depths=[2, 4], draws=20
        )
    good = {"K0": 1, "width": 9, "depths": [2, 4], "draws": 20}
    for wrong in (
        {"depths": [4]},
        {"depths": [4, 2]},
        {"steps": 9},
        {"steps": 4},
        {"draws": 3},
        {"width": 2},
    ):
        with pytest.raises(HyperparameterError):
            depth_paths(limit_of(RELU, Linear(1, 0)), **{**good, **wrong})
