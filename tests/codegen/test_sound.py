"""Range and cancellation: closed averages over 600 orders of magnitude, against mpmath."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from closed_values import mean, number, pair, pair_slope, variance

from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel, response
from resexpand.activations import ACTIVATIONS, activation_law
from resexpand.activations.activation_law import X
from resexpand.activations.arcsine import ArcCorrelation, Area
from resexpand.activations.orthant import orthant_probability
from resexpand.codegen.elementary.bivariate import area, orthant
from resexpand.codegen.sound import sound
from resexpand.conventions import PAIR, K

VARIANCES = (1e-300, 1e-160, 1e-17, 1e-3, 1.0, 1e5, 1e155, 1e300)
CORRELATIONS = (-1.0, -1 + 1e-12, -0.6, -1e-8, 0.0, 1e-8, 0.3, 1 - 1e-6, 1 - 1e-12, 1.0)
NAMES = ("identity", "erf", "erf_unit", "relu", "leaky_relu", "gelu", "sin", "sign")
DIGITS = 700


def angle(a: mp.mpf, b: mp.mpf, c: mp.mpf) -> mp.mpf:
    return mp.asin(c / mp.sqrt(a * b))


def rectified(a: mp.mpf, c: mp.mpf, b: mp.mpf, s: mp.mpf) -> mp.mpf:
    folded = mp.sqrt(a * b - c * c) + c * angle(a, b, c)
    return (1 + s) ** 2 / 4 * c + (1 - s) ** 2 / (2 * mp.pi) * folded


def gelu(a: mp.mpf, c: mp.mpf, b: mp.mpf) -> mp.mpf:
    first, last = 1 + a, 1 + b
    root = mp.sqrt(first * last - c * c)
    curved = c * angle(first, last, c) + (a * b * root + c * c / root) / (first * last)
    return c / 4 + curved / (2 * mp.pi)


RETYPED = {
    "identity": lambda a, c, b: c,
    "erf": lambda a, c, b: 2 / mp.pi * angle(1 + 2 * a, 1 + 2 * b, 2 * c),
    "erf_unit": lambda a, c, b: (
        2 / mp.pi * angle(1 + mp.pi * a / 2, 1 + mp.pi * b / 2, mp.pi * c / 2)
    ),
    "relu": lambda a, c, b: rectified(a, c, b, mp.mpf(0)),
    "leaky_relu": lambda a, c, b: rectified(a, c, b, mp.mpf(1) / 100),
    "gelu": gelu,
    "sin": lambda a, c, b: mp.exp(-(a + b) / 2) * mp.sinh(c),
    "sign": lambda a, c, b: 2 / mp.pi * angle(a, b, c),
}


def grid() -> list[tuple[float, float, float]]:
    """Covariances of equal and of very different variances, none beyond full correlation."""
    found = []
    for k in VARIANCES:
        for other in (k, 4 * k, 1.0):
            root = math.sqrt(k) * math.sqrt(other)
            for r in CORRELATIONS:
                c = r * root
                if Fraction(c) ** 2 <= Fraction(k) * Fraction(other):
                    found.append((k, c, other))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_pair_averages_over_the_range(name: str) -> None:
    law, cases = ACTIVATIONS[name], grid()
    assert len(cases) > 150
    product, square = pair(law), variance(law)
    with mp.workdps(DIGITS):
        for a, c, b in cases:
            exact = RETYPED[name](mp.mpf(a), mp.mpf(c), mp.mpf(b))
            scale = mp.sqrt(mp.mpf(square(a))) * mp.sqrt(mp.mpf(square(b)))
            assert abs(product(a, c, b) - exact) <= 2e-15 * scale, (a, c, b)


@pytest.mark.parametrize("name", NAMES)
def test_responses_over_the_range(name: str) -> None:
    law = ACTIVATIONS[name]
    slopes = [pair_slope(law, entry) for entry in (0, 1)]
    # The derivatives of GELU are quotients of polynomials whose squares must be numbers.
    variances = [k for k in VARIANCES if name != "gelu" or 1e-100 < k < 1e50]
    with mp.workdps(DIGITS):
        for k in variances:
            for r in (-0.6, 1e-8, 0.3, 1 - 1e-6):
                a, c, b = mp.mpf(k), mp.mpf(r * k), mp.mpf(k)
                step = a * mp.mpf(10) ** -200
                for slope, (da, dc) in zip(slopes, ((1, 0), (0, 1)), strict=True):
                    above = RETYPED[name](a + da * step, c + dc * step, b)
                    below = RETYPED[name](a - da * step, c - dc * step, b)
                    exact = (above - below) / (2 * step)
                    found = slope(k, r * k, k)
                    assert abs(found - exact) <= 1e-9 * abs(exact) + mp.mpf(10) ** -307, (k, r)


def test_a_determinant_that_overflows_is_caught() -> None:
    # The negative control: the plain root is no number where the sound one is.
    assert math.isinf(1e155 * 1e155)
    assert area(1e155, 1e155, 0.3e155) == pytest.approx(math.sqrt(1 - 0.09) * 1e155, rel=1e-15)
    assert area(1e-300, 1e300, 0.3) == pytest.approx(math.sqrt(1 - 0.09), rel=1e-15)
    a, c = 1.1, 1.1 * (1 - 1e-13)
    with mp.workdps(50):
        exact = float(mp.sqrt(mp.mpf(a) ** 2 - mp.mpf(c) ** 2))
    assert area(a, a, c) == pytest.approx(exact, rel=1e-15)
    assert math.sqrt(a * a - c * c) != pytest.approx(exact, rel=1e-5)


def test_a_constant_beside_large_variances_is_kept() -> None:
    a, c, b = PAIR
    root = number(Area(1 + 2 * a, 1 + 2 * b, 2 * c), PAIR)
    k = 1e20
    assert root(k, k, k) == pytest.approx(math.sqrt(4 * k), rel=1e-14)
    assert sound(ArcCorrelation(a, b, c)).has(sp.atan2)


@pytest.mark.parametrize("k", [1e-300, 1e-17, 1e-16, 1e-8, 1.0, 1e4])
def test_sums_of_exponentials_at_small_variance(k: float) -> None:
    for expression, exact in (
        (sp.sin(X), lambda k: -mp.expm1(-2 * k) / 2),
        (sp.sin(X) ** 2, lambda k: mp.expm1(-2 * k) ** 2 / 4 + mp.expm1(-4 * k) ** 2 / 8),
        (X + sp.sin(X) ** 2, lambda k: k + mp.expm1(-2 * k) ** 2 / 4 + mp.expm1(-4 * k) ** 2 / 8),
        (2 * sp.sin(3 * X), lambda k: -2 * mp.expm1(-18 * k)),
    ):
        law = activation_law(expression)
        with mp.workdps(50):
            value = float(exact(mp.mpf(k)))
        assert variance(law)(k) == pytest.approx(value, rel=1e-14)
        assert pair(law)(k, k, k) == pytest.approx(value, rel=1e-14)
    assert mean(activation_law(sp.sin(X) ** 2))(k) == pytest.approx(-math.expm1(-2 * k) / 2)


def test_orthants_near_full_correlation() -> None:
    with mp.workdps(40):
        for r in (0.0, 1e-8, -0.5, 0.95, 1 - 1e-6, 1 - 1e-12, -(1 - 1e-12)):
            for t, u in (
                (1.0, 1.0),
                (1.0, 1.0000001),
                (-0.5, 0.5),
                (0.0, 1.0),
                (0.0, 0.0),
                (3, -2),
            ):
                exact = orthant_probability(*map(mp.mpf, (1, 1, r, t, u)))
                assert abs(orthant(1.0, 1.0, r, float(t), float(u)) - exact) < 4e-16, (r, t, u)
    for r in (1.0, -1.0):
        tail = [math.erfc(x / math.sqrt(2)) / 2 for x in (0.5, 1.0)]
        assert orthant(1.0, 1.0, r, 0.5, 1.0) == pytest.approx(tail[1] if r > 0 else 0, abs=1e-16)


def test_nearly_parallel_inputs_at_a_jump() -> None:
    """``<H_1> - <H_1 H_2>`` is a strip of width ``sqrt(2 (1 - r))``, not a rounding error."""
    law, r = activation_law(sp.Heaviside(X - 1)), 1 - 1e-6
    with mp.workdps(30):
        one, c = mp.mpf(1), mp.mpf(r)
        exact = mp.ncdf(-1) - orthant_probability(one, one, c, one, one)
    assert variance(law)(1.0) - pair(law)(1.0, r, 1.0) == pytest.approx(float(exact), rel=1e-11)


def test_identical_inputs_stay_identical() -> None:
    for name in ("sign", "relu"):
        net = ResNet(Branch(Activation(name), Linear(1.3, 0.1)), scale=0.7, depth=50)
        found = evaluate(kernel(net, inputs=2), K0=np.full((2, 2), 2.3))
        for output in ("K", "C"):
            assert (found[output] == found[output][:, :1, :1]).all()


def test_a_thousand_doublings() -> None:
    """``K`` reaches 1e301; angle and response follow the recursion in the correlation alone."""
    net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=1000)
    theory, start = response(net, "covariance"), np.array([[1.0, 0.3], [0.3, 1.0]])
    found = evaluate(theory, K0=start)
    with mp.workdps(30):
        c, chi = mp.mpf("0.3"), mp.mpf(1)
        for _ in range(1000):
            chi *= (1 + (mp.pi - mp.acos(c)) / mp.pi) / 2
            c = (c + (mp.sqrt(1 - c * c) + (mp.pi - mp.acos(c)) * c) / mp.pi) / 2
    last = found["K"][-1]
    assert 1 - last[0, 1] / last[0, 0] == pytest.approx(float(1 - c), rel=1e-9)
    assert float(1 - c) == pytest.approx(1.698e-4, rel=1e-3)
    assert found["chi_0"][-1] / 2.0**1000 == pytest.approx(float(chi), rel=1e-9)
    assert K.is_positive
