"""Bounded piecewise polynomials keep their averages at every variance that is a double.

Their closed averages are differences of terms that grow, and end at some variance; quadrature takes
over. A bounded activation tends to a sign, whose average is an arcsine.
"""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from heavier import left_to_slow

from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel, response
from resexpand.activations import activation_law
from resexpand.codegen.beyond import without_limits
from resexpand.expressions.reader import parse_expression

HARD_TANH, RELU6 = "Max(-1, Min(1, x))", "Max(0, Min(6, x))"
HARD_SIGMOID = "Max(0, Min(1, x/6 + 1/2))"
CORRELATIONS = [0.0, 0.3, -0.8, 1 - 1e-12, 1.0, -1.0]


def net(activation: str) -> ResNet:
    return ResNet(Branch(Activation(activation), Linear(1, 0)), scale=1, skip=0, depth=1)


def pairs(size: float) -> np.ndarray:
    """Return kernels of equal variances at all correlations."""
    return size * np.array([[[1.0, c], [c, 1.0]] for c in CORRELATIONS])


def at_fifty_digits(low: float, high: float, size: float) -> float:
    """Return ``<phi(x) phi(y)>`` of ``Max(low, Min(high, x))`` at correlation 0.3.

    ``phi(x)`` is ``low`` plus the integral over ``t`` in ``(low, high)`` of the step at ``t``.
    """
    with mpmath.workdps(50):
        s, c = mpmath.sqrt(size), mpmath.mpf(0.3)

        def quadrant(t: mpmath.mpf, u: mpmath.mpf) -> mpmath.mpf:
            h, k = t / s, u / s

            def density(r: mpmath.mpf) -> mpmath.mpf:
                d = 1 - r * r
                e = mpmath.exp(-(h * h - 2 * r * h * k + k * k) / (2 * d))
                return e / (2 * mpmath.pi * mpmath.sqrt(d))

            return mpmath.ncdf(-h) * mpmath.ncdf(-k) + mpmath.quad(density, [0, c])

        # Smooth on the scale of the deviation, far beyond `high`: seven nodes are exact.
        x, w = (mpmath.matrix(list(v)) for v in np.polynomial.legendre.leggauss(7))
        half, middle = mpmath.mpf(high - low) / 2, mpmath.mpf(high + low) / 2
        points = [middle + half * v for v in x]
        both = sum(
            w[i] * w[j] * half**2 * quadrant(points[i], points[j])
            for i in range(7)
            for j in range(7)
        )
        one = sum(w[i] * half * mpmath.ncdf(-points[i] / s) for i in range(7))
        return float(low * low + 2 * low * one + both)


@pytest.mark.parametrize(
    ("activation", "low", "high"),
    left_to_slow([(HARD_TANH, -1.0, 1.0), (RELU6, 0.0, 6.0)], [(RELU6, 0.0, 6.0)]),
)
def test_large_variances_at_fifty_digits(activation: str, low: float, high: float) -> None:
    sizes = [1e5, 1e7, 5e7, 1e12]
    start = np.array([size * np.array([[1.0, 0.3], [0.3, 1.0]]) for size in sizes])
    values = evaluate(kernel(net(activation), inputs=2), K0=start, outputs="C")
    assert values.status == "ok"
    right = [at_fifty_digits(low, high, size) for size in sizes]
    np.testing.assert_allclose(values["C"][:, 0, 0, 1], right, rtol=2e-11)
    # A variance that is wrong by a thousandth is seen at the smallest.
    assert abs(at_fifty_digits(low, high, 1.001e5) / right[0] - 1) > 1e-10


@pytest.mark.parametrize(
    ("activation", "low", "high"),
    left_to_slow([(HARD_TANH, -1, 1), (RELU6, 0, 6), (HARD_SIGMOID, 0, 1)], [(HARD_SIGMOID, 0, 1)]),
)
def test_the_limit_is_the_arcsine_law(activation: str, low: float, high: float) -> None:
    for size in (2.0**100, 2.0**515, 2.0**996):  # correlations are then exact
        values = evaluate(kernel(net(activation), inputs=2), K0=pairs(size), outputs="C")
        assert values.status == "ok"
        arcs = np.arcsin(np.array(CORRELATIONS)) / (2 * math.pi) + 0.25
        # Both on the upper side with probability p, one on either with 1/2 - p.
        right = high**2 * arcs + low**2 * arcs + 2 * low * high * (0.5 - arcs)
        np.testing.assert_allclose(values["C"][:, 0, 0, 1], right, rtol=1e-11, atol=1e-12 * high**2)
        assert abs(values["C"][1, 0, 0, 1] - high**2 * 0.3) > 1e-3


@pytest.mark.parametrize("activation", [HARD_TANH, RELU6])
def test_small_variances_are_those_of_the_piece_at_zero(activation: str) -> None:
    c = np.array(CORRELATIONS)
    angle = np.arccos(c)
    rectified = (np.sqrt(1 - c * c) + (math.pi - angle) * c) / (2 * math.pi)
    for size in (1e-300, 1e-160, 1e-20):
        values = evaluate(kernel(net(activation), inputs=2), K0=pairs(size), outputs="C")
        right = size * (c if activation == HARD_TANH else rectified)
        assert values.status == "ok"
        np.testing.assert_allclose(values["C"][:, 0, 0, 1], right, rtol=1e-13, atol=1e-13 * size)


def test_tangents_and_responses() -> None:
    sizes = np.array([1e-300, 1e-20, 1.0, 1e5, 1e8, 1e30, 1e150, 1e300])
    tangent = evaluate(response(net(HARD_TANH), "tangent"), K0=sizes, outputs=["chi_0"])
    assert tangent.status == "ok"
    right = [math.erf(1 / math.sqrt(2 * size)) for size in sizes]
    np.testing.assert_allclose(tangent["chi_0"][:, 1], right, rtol=1e-13)
    # d<phi^2>/dK = <phi phi'> x / K / 2 = erf(1/sqrt(2 K)) / 2 - exp(-1/(2 K)) / sqrt(2 pi K)
    with mpmath.workdps(400):
        slopes = [
            float(
                mpmath.erf(1 / mpmath.sqrt(2 * k))
                - 2 * mpmath.npdf(1 / mpmath.sqrt(k)) / mpmath.sqrt(k)
            )
            for k in map(mpmath.mpf, sizes[:6])
        ]
    values = evaluate(response(net(HARD_TANH)), K0=sizes[:6], outputs=["chi_0"])
    assert values.status == "ok"
    np.testing.assert_allclose(values["chi_0"][:, 1], slopes, rtol=2e-8)
    assert abs(values["chi_0"][4, 1] / (slopes[4] * 1.001) - 1) > 1e-4


def test_several_inputs_and_two_sets() -> None:
    rows = np.random.default_rng(0).normal(size=(4, 6)) * 1e6
    gram = rows @ rows.T / 6
    recursion = kernel(net(HARD_TANH), inputs=2)
    whole = evaluate(recursion, K0=gram, outputs="C")
    assert whole.status == "ok"
    deviations = np.sqrt(np.diag(gram))
    limit = 2 / math.pi * np.arcsin(gram / np.outer(deviations, deviations))
    np.testing.assert_allclose(whole["C"][0], limit, atol=3e-6)
    for j in (1, 3):
        own = evaluate(recursion, K0=gram[np.ix_([0, j], [0, j])], outputs="C")
        np.testing.assert_allclose(whole["C"][0, 0, j], own["C"][0, 0, 1], rtol=1e-10)


def test_a_grid_keeps_its_other_points() -> None:
    recursion = kernel(net(HARD_TANH), inputs=2)
    grid = np.array([[[1.0, 0.3], [0.3, 1.0]], [[1e9, 3e8], [3e8, 1e9]]])
    both, one = (evaluate(recursion, K0=start, outputs="C")["C"] for start in (grid, grid[0]))
    np.testing.assert_array_equal(both[0], one)
    assert without_limits(recursion) is not None
    assert without_limits(kernel(net("tanh"), inputs=2)) is None


def test_the_closed_form_alone_says_where_it_ends() -> None:
    law = activation_law(parse_expression(HARD_TANH))
    assert law.limited
    assert law.pair is not None
    assert law.without_limit().pair is None
    assert not activation_law("relu").limited
