"""Infinite depth at finite width: closed laws, equations solved by hand, networks, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, depth_limit, sample, sample_depth_limit
from resexpand.errors import HyperparameterError, KernelError, UnsupportedError

L = sp.Symbol("L", integer=True, positive=True)
RELU, ERF = Activation("relu"), Activation("erf")
DOUBLE = (Linear(1, 0), RELU, Linear(2, 0))
PAIR = [[1.0, 0.4], [0.4, 0.8]]


def limit_of(*ops, c=1):
    return depth_limit(ResNet(Branch(*ops), scale=c / sp.sqrt(L), depth=L))


def network_of(*ops, depth: int) -> ResNet:
    return ResNet(Branch(*ops), scale=1 / sp.sqrt(depth), depth=depth)


def z_of(found, error, expected):
    return np.abs((np.asarray(found) - expected) / error).max()


@pytest.mark.parametrize("ops", [DOUBLE, (Linear(1, 0),)], ids=["V relu(W h)", "W h"])
def test_the_log_normal_law(ops) -> None:
    width, draws, steps = 7, 6000, 100
    limit = limit_of(*ops, c=sp.Symbol("c"))
    run = sample_depth_limit(limit, K0=0.8, width=width, steps=steps, draws=draws, seed=3, c=1.2)
    growth = np.log(run.rows[:, -1] / run.rows[:, 0])
    at = {"T": 1.44, "N": width}
    mean, variance = (float(f.evalf(subs=at)) for f in (limit.log_mean, limit.log_variance))
    # The scheme has a weak error of order 1/steps.
    error = math.sqrt(variance / draws)
    assert abs(growth.mean() - mean) < 3.3 * error + 2 / steps
    assert abs(growth.var() / variance - 1) < 3.3 * math.sqrt(2 / draws) + 5 / steps
    assert abs(growth.mean() - (mean + 2 * 1.44 / width)) > 5 * error + 2 / steps
    np.testing.assert_allclose(run.kernel, run.rows.mean(axis=0))


def by_hand(ops_of_pair, width: int, steps: int, draws: int, start: float) -> np.ndarray:
    """The equation of the correlation by the scheme of Euler and Maruyama, in NumPy."""
    drift, square = ops_of_pair
    rng, r = np.random.default_rng(1), np.full(draws, start)
    for _ in range(steps):
        noise = rng.normal(size=draws) * np.sqrt(np.maximum(square(r), 0) / steps)
        r = np.clip(r + drift(r) / steps + noise, -1, 1)
    return r


def test_the_equation_of_the_correlation() -> None:
    """Streams and the equation of r alone, solved in NumPy, agree; without 1/N they do not."""
    limit, width, draws = limit_of(*DOUBLE), 6, 8000
    r, N = sp.Symbol("r", real=True), sp.Symbol("N", integer=True, positive=True)
    formulas = limit.correlation_drift, limit.correlation_diffusion
    functions = [sp.lambdify(r, f.closed().subs(N, width), "numpy") for f in formulas]
    wrong = sp.lambdify(r, sp.limit(limit.correlation_drift.closed(), N, sp.oo), "numpy")
    K0 = np.array([[1.0, -0.3], [-0.3, 1.0]])
    run = sample_depth_limit(limit, K0=K0, width=width, steps=200, draws=draws, seed=2)
    ends = run.rows[..., 0, 1] / np.sqrt(run.rows[..., 0, 0] * run.rows[..., 1, 1])
    starts = ends[:, 0]
    for drift, agrees in ((functions[0], True), (wrong, False)):
        own = by_hand((drift, functions[1]), width, 200, draws, starts)
        z = (own.mean() - ends[:, 1].mean()) / math.sqrt((own.var() + ends[:, 1].var()) / draws)
        assert (abs(z) < 3.3) == agrees, z
        if agrees:
            assert own.std() == pytest.approx(ends[:, 1].std(), rel=0.03)


@pytest.mark.parametrize("act", [RELU, ERF], ids=str)
def test_deep_networks_approach_it(act) -> None:
    """Weak order one: E|h|^2 of relu is off by the factor 1 - T^2/2L; a control without biases."""
    ops, depth, width = (Linear(1, 0.1), act, Linear(2, 0.3)), 120, 9
    how = {"K0": PAIR, "width": width, "draws": 5000}
    run = sample_depth_limit(limit_of(*ops), steps=depth, seed=4, **how)
    net = sample(network_of(*ops, depth=depth), "kernel", seed=5, **how)["kernel"]
    error = np.hypot(net.stderr[-1], run.kernel_error[-1])
    assert z_of(net.mean[-1], error, run.kernel[-1]) < 3.3
    plain = sample_depth_limit(
        limit_of(Linear(1, 0), act, Linear(2, 0)), steps=depth, seed=4, **how
    )
    assert (
        z_of(net.mean[-1], np.hypot(net.stderr[-1], plain.kernel_error[-1]), plain.kernel[-1]) > 5
    )


def test_a_network_and_its_limit_of_one_seed(make) -> None:
    """They share a Brownian motion, path by path; two seeds share nothing."""

    def growth(rows: np.ndarray) -> np.ndarray:
        return np.log(rows[:, -1] / rows[:, 0])

    gaps = []
    for width in (16, 64):
        how = {"K0": 1.0, "width": width, "steps": 30, "draws": 300}
        own, other = (sample_depth_limit(limit_of(*DOUBLE), seed=s, **how).rows for s in (6, 7))
        net = make(network_of(*DOUBLE, depth=30), "kernel", width, K0=1.0, seed=6)
        drawn = net.rows(0, 300)["kernel"]
        np.testing.assert_allclose(drawn[:, 0], own[:, 0], rtol=1e-12)
        assert np.corrcoef(growth(own), growth(drawn))[0, 1] > 0.85
        assert abs(np.corrcoef(growth(other), growth(drawn))[0, 1]) < 0.3
        gaps.append((growth(own) - growth(drawn)).var())
    assert gaps[0] > 2.5 * gaps[1]


def test_depth_and_width_at_a_fixed_ratio() -> None:
    """Linear blocks: time enters as T/N alone, so that widths share the law of the correlation."""
    ends = []
    for width in (20, 40):
        limit = limit_of(Linear(1, 0), c=sp.sqrt(sp.Rational(width, 20)))
        K0 = np.array([[1.0, 0.5], [0.5, 1.0]])
        run = sample_depth_limit(limit, K0=K0, width=width, steps=100, draws=5000, seed=width)
        rows = run.rows
        r = rows[..., 0, 1] / np.sqrt(rows[..., 0, 0] * rows[..., 1, 1])
        moved = np.arctanh(r[:, 1]) - np.arctanh(r[:, 0])
        # By the formula of Ito d artanh r = r dt + sqrt(2) dW in the time T/N = 1/20.
        ends.append(moved - r.mean(axis=1) / 20)
    for own in ends:
        assert abs(own.mean()) < 3.3 * math.sqrt(0.1 / 5000)
        assert abs(own.var() / 0.1 - 1) < 3.3 * math.sqrt(2 / 5000) + 0.03
    wider = sample_depth_limit(
        limit_of(Linear(1, 0)), K0=np.eye(2), width=40, steps=100, draws=5000, seed=9
    ).rows
    r = wider[..., 0, 1] / np.sqrt(wider[..., 0, 0] * wider[..., 1, 1])
    assert (np.arctanh(r[:, 1]) - np.arctanh(r[:, 0])).var() < 0.06


def test_equal_inputs_stay_equal() -> None:
    run = sample_depth_limit(limit_of(*DOUBLE), K0=np.ones((2, 2)), width=5, steps=20, draws=30)
    np.testing.assert_allclose(run.rows[..., 0, 0], run.rows[..., 1, 1], rtol=1e-13)
    np.testing.assert_allclose(run.rows[..., 0, 1], run.rows[..., 0, 0], rtol=1e-13)


def test_refusals() -> None:
    good = {"K0": 1.0, "width": 4, "steps": 4, "draws": 4}
    for ops in ((RELU, Linear(2, 0)), (Linear(1, 0), ERF, Linear(1, 0), ERF, Linear(1, 0))):
        with pytest.raises(UnsupportedError, match="no function of the Gram matrix"):
            sample_depth_limit(limit_of(*ops), **good)
    with pytest.raises(UnsupportedError):
        sample_depth_limit(5, **good)
    for wrong in ({"times": 3}, {"draws": 1}, {"steps": 0}, {"width": 0.5}, {"seed": -1}, {"c": 1}):
        with pytest.raises(HyperparameterError):
            sample_depth_limit(limit_of(*DOUBLE), **{**good, **wrong})
    with pytest.raises(HyperparameterError):
        sample_depth_limit(limit_of(*DOUBLE, c=sp.Symbol("c")), **good, c=[1, 2])
    with pytest.raises(KernelError):
        sample_depth_limit(limit_of(*DOUBLE), **{**good, "K0": [[1, 2], [2, 1]]})
