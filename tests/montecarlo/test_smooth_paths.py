"""Random ordinary equations of smooth weights: rates, networks, one equation solved by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    LayerNorm,
    Linear,
    Markov,
    ResNet,
    Smooth,
    depth_limit,
    depth_paths,
    sample,
)
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.montecarlo.smooth_paths import draw_smooth, smooth_grid

L = sp.Symbol("L", integer=True, positive=True)
DOUBLE = Branch(Linear(1, 0.1), Activation("tanh"), Linear(2, 0))
LAWS = [Smooth("rbf", 0.05), Smooth("rbf", 0.05, "process"), Smooth("cosine", 0.3)]


def limit_of(branch: Branch, law, c=1):
    return depth_limit(ResNet(branch, scale=c / L, depth=L, layers=law))


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_thinned_weights_have_the_law_of_their_depth(law) -> None:
    c, fine = law.covariance(12), law.covariance(60, further=1)
    thin = law.thinned(60, 12)
    np.testing.assert_allclose(thin @ fine @ thin.T, c, atol=1e-14)
    # Control: neighbours instead of every fifth.
    assert np.abs(fine[1:13, 1:13] - c).max() > 0.02
    assert Markov(0.5).thinned(60, 12) is None


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_networks_approach_their_equation_at_order_one(law) -> None:
    how = {"K0": 1.0, "width": 12, "draws": 20, "seed": 1}
    run = depth_paths(limit_of(DOUBLE, law), depths=[20, 40, 80], **how)
    assert run.order == 2
    assert abs(run.exponent - 2) < 4 * run.exponent_error + 0.05
    assert np.ptp(run.constant) < 0.2 * run.constant.mean()


def test_a_linear_equation_by_hand() -> None:
    """A cosine of a long period hardly moves: H = exp(c W) H(0), which Euler's scheme at depth 1
    and 2 gives away: their ends hold W H(0) and W^2 H(0), and times the other powers."""
    limit = limit_of(Branch(Linear(1.3, 0)), Smooth("cosine", 1e9, "process"), c=sp.Symbol("c"))
    depths, c, key = tuple(range(1, 9)), 0.8, (np.uint64(3), np.uint64(0))
    grid = smooth_grid(limit, depths, 840, {"c": c})
    ends = draw_smooth(limit, grid, key, 5, 1.0, 9)
    # The end of depth L is sum_k binom(L, k) (c/L)^k v_k, v_k = W^k H(0); v_0 at c = 0.
    powers = [draw_smooth(limit, grid._replace(constant=0.0), key, 5, 1.0, 9)[0]]
    for depth, end in zip(depths, ends[1:], strict=True):
        known = sum(math.comb(depth, k) * (c / depth) ** k * v for k, v in enumerate(powers))
        powers.append((end - known) * (depth / c) ** depth)
    expected = sum(c**k / math.factorial(k) * v for k, v in enumerate(powers[:7]))
    assert np.abs(ends[0] - expected).max() < 2e-3 * np.abs(expected).max()
    assert np.abs(ends[-1] - expected).max() > 5e-3 * np.abs(expected).max()


def test_they_are_the_networks_that_are_sampled() -> None:
    law, depth, width, draws = Smooth("rbf", 0.05), 10, 6, 600
    run = depth_paths(
        limit_of(DOUBLE, law, c=2), K0=1.0, width=width, depths=[5, depth], steps=20, draws=draws
    )
    net = ResNet(DOUBLE, scale=sp.Rational(2, depth), depth=depth, layers=law)
    drawn = sample(net, "kernel", width, 3000, K0=1.0, seed=9)["kernel"]
    z = (run.kernel[1] - drawn.mean[-1]) / math.hypot(run.kernel_error[1], drawn.stderr[-1])
    assert abs(z) < 3.3
    plain = ResNet(DOUBLE, scale=sp.Rational(2, depth), depth=depth)
    other = sample(plain, "kernel", width, 3000, K0=1.0, seed=9)["kernel"]
    z = (run.kernel[1] - other.mean[-1]) / math.hypot(run.kernel_error[1], other.stderr[-1])
    assert abs(z) > 5


def test_refusals() -> None:
    good = {"K0": 1.0, "width": 4, "depths": [2, 4], "draws": 20}
    normed = Branch(LayerNorm(), Activation("tanh"), Linear(1, 0))
    with pytest.raises(UnsupportedError):
        depth_paths(limit_of(normed, LAWS[0]), **good)
    free = limit_of(DOUBLE, Smooth("rbf"))
    for wrong in ({}, {"v": 1, "w": 1}, {"v": [1, 2]}):
        with pytest.raises(HyperparameterError):
            depth_paths(free, **good, **wrong)
