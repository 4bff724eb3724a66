"""Pairs at full correlation, and beyond it by rounding, under kinked and stepwise functions.

An input and its negative, or an input and a multiple of it, have covariances that leave
``|c| = sqrt(a b)`` by some last digits once layers have been added. The right value is that at full
correlation, an average over one normal variable: mpmath's, cut at the kinks. Control: what a
correlation of 0.98 gives is told apart from it.
"""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel

X = sp.Symbol("x", real=True)
KINKED = {
    "hard tanh": (sp.Max(-1, sp.Min(1, X)), (-1, 1)),
    "soft shrink": (sp.Max(X - 1, 0) - sp.Max(-X - 1, 0), (-1, 1)),
    "relu6": (sp.Min(6, sp.Max(0, X)), (0, 6)),
    "distance": (sp.Abs(X - 1), (1,)),
    "stairs": (sp.sign(X - 1) + sp.sign(X + 1), (-1, 1)),
}
ULPS = (-4, -1, 0, 1, 4)
VARIANCES, RATIOS = (0.3, 2.110649918, 7.1), (1.0, 2.0, 0.7)


def average(name: str, a: float, slope: float) -> float:
    """Return ``<phi(x) phi(slope x)>`` for a variance ``a`` of ``x``."""
    expression, kinks = KINKED[name]
    phi = sp.lambdify(X, expression, [{"sign": mp.sign, "Max": max, "Min": min}, "mpmath"])
    places = {mp.mpf(k) / s / mp.sqrt(a) for k in kinks for s in (1, slope)}
    cuts = [-mp.mpf(12), *sorted({*places, mp.mpf(0)}), mp.mpf(12)]
    root = mp.sqrt(a)
    return float(mp.quad(lambda z: phi(root * z) * phi(slope * root * z) * mp.npdf(z), cuts))


def pair(a: float, slope: float, ulps: int) -> np.ndarray:
    cross = slope * a
    for _ in range(abs(ulps)):
        cross = np.nextafter(cross, np.inf * ulps * np.sign(slope))
    return np.array([[a, cross], [cross, slope**2 * a]])


@pytest.mark.parametrize("name", KINKED)
def test_beyond_full_correlation_by_rounding(name: str) -> None:
    net = ResNet(Branch(Activation(KINKED[name][0]), Linear(1, 0)), scale=1, depth=1)
    law = kernel(net, inputs=2)
    cases = [(a, s * r) for a in VARIANCES for r in RATIOS for s in (-1.0, 1.0)]
    furthest = 0.0
    for a, slope in cases:
        right = average(name, a, slope)
        grid = np.array([pair(a, slope, ulps) for ulps in ULPS])
        found = evaluate(law, K0=grid)["C"][:, 0, 0, 1]
        # Steps turn a difference by rounding into its square root, 3e-8; kinks do not.
        tolerance = 2e-7 if name == "stairs" else 4e-15
        np.testing.assert_allclose(found, right, rtol=0, atol=tolerance * max(1, slope**2, a))
        apart = np.array([[a, 0.98 * slope * a], [0.98 * slope * a, slope**2 * a]])
        furthest = max(furthest, abs(evaluate(law, K0=apart)["C"][0, 0, 1] - right))
    assert furthest > 1e-2


@pytest.mark.parametrize("name", ["hard tanh", "soft shrink", "stairs"])
def test_opposite_inputs_of_an_odd_function_stay_opposite(name: str) -> None:
    net = ResNet(Branch(Activation(KINKED[name][0]), Linear(1, 0)), scale=1, depth=6)
    for size in (1e-8, 1.0, 37.0, 1e8):
        found = evaluate(kernel(net, inputs=2), K0=size * np.array([[1.0, -1], [-1, 1]]))["K"]
        np.testing.assert_allclose(found[:, 0, 1], -found[:, 0, 0], rtol=1e-14)
        np.testing.assert_allclose(found[:, 1, 1], found[:, 0, 0], rtol=1e-14)


def test_data_and_their_negatives() -> None:
    """Kernels of data take a way of their own: rows, their negatives and multiples."""
    rows = np.random.default_rng(3).standard_normal((5, 3))
    data = np.concatenate([rows, -rows, 3 * rows])
    net = ResNet(Branch(Activation(KINKED["hard tanh"][0]), Linear(1, 0)), scale=1, depth=6)
    found = evaluate(kernel(net, inputs=2), K0=data @ data.T)["K"]
    np.testing.assert_allclose(found[:, :5, 5:10], -found[:, :5, :5], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found[:, 5:10, 10:], -found[:, :5, 10:], rtol=1e-12, atol=1e-14)
