"""Closed averages by class, against integrals over the plane and finite differences."""

from __future__ import annotations

import copy
import copyreg
import math

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from closed_values import mean, number, pair, pair_slope, variance
from oracles import plane_average

from resexpand import Activation, Branch, Linear, ResNet, kernel, to_latex
from resexpand.activations import ACTIVATIONS, activation_law
from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.activations.arcsine import elementary
from resexpand.activations.collection import normal_form
from resexpand.activations.singularities import breakpoints
from resexpand.activations.stepwise_parts import parts_of
from resexpand.conventions import PAIR, K
from resexpand.gaussian.expectation import slope_moment
from resexpand.theory.closure import close

R = sp.Rational
COVARIANCES = ((1.0, 0.3, 2.0), (0.5, -0.6, 1.5), (3.0, 1.2, 0.8))

STEPWISE = (
    sp.sqrt(2) * sp.Max(0, X),
    sp.Max(-1, sp.Min(1, X)),
    sp.Min(6, sp.Max(0, X)),
    sp.Max(0, sp.Min(1, X / 6 + R(1, 2))),
    sp.Heaviside(X - 1),
    sp.sign(X + R(1, 3)),
    sp.Max(0, X) ** 3,
    sp.Abs(X - 1),
    sp.Piecewise((X**2, X < -1), (1, X < 2), (5 - X, True)),
    3 * sp.erf(X / 2),
    sp.erf(2 * X - 1),
    X * (1 + sp.erf(sp.sqrt(2) * X)) / 2,
)
EXPONENTIAL = (
    2 * sp.sin(3 * X / 2 + R(1, 3)) - R(1, 2),
    sp.exp(-((X - 3) ** 2)),
    X * sp.exp(-(X**2)),
    sp.sin(X) ** 2,
    X + sp.sin(X) ** 2,
    sp.exp(X / 3) - 1,
    sp.exp(-(X**2)) * sp.sin(X),
    X**3 - 3 * X,
    sp.exp(X**2 / 50),
    X * sp.sin(X),
    sp.exp(X / 3) + sp.cos(X),
    sp.exp(-(X**2)) + 2 * sp.exp(-3 * X**2),
)
# The reference ends at nine deviations, which shows where a function grows.
GROWING = 1e-13


def plane(expression: sp.Expr):
    """Return the function on arrays, and the points at which the reference must be cut."""
    function = sp.lambdify(X, expression, modules=["scipy", "numpy"])
    return function, tuple(float(b) for b in breakpoints(expression, X)) or (0.0,)


@pytest.mark.parametrize("expression", STEPWISE + EXPONENTIAL, ids=str)
def test_averages_are_the_integrals(expression: sp.Expr) -> None:
    law, (phi, cuts) = activation_law(expression), plane(expression)
    product, square, average = pair(law), variance(law), mean(law)
    for a, c, b in COVARIANCES:
        scale = math.sqrt(square(a) * square(b))
        integral = plane_average(lambda x, y: phi(x) * phi(y), (a, c, b), cuts)
        assert product(a, c, b) == pytest.approx(integral, abs=GROWING * scale, rel=0)
        alone = plane_average(lambda x, y: phi(x) ** 2 + 0 * y, (a, 0.0, 1.0), cuts)
        assert square(a) == pytest.approx(alone, rel=1e-13)
        first = plane_average(lambda x, y: phi(x) + 0 * y, (a, 0.0, 1.0), cuts)
        assert average(a) == pytest.approx(first, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize(
    "expression",
    [STEPWISE[1], STEPWISE[4], STEPWISE[11], *EXPONENTIAL[:4], EXPONENTIAL[6]],
    ids=str,
)
def test_derivatives_are_those_of_the_averages(expression: sp.Expr) -> None:
    law, step = activation_law(expression), 1e-5
    product, at = pair(law), np.array(COVARIANCES[0])
    for entry in range(3):
        shift = step * np.eye(3)[entry]
        difference = (product(*(at + shift)) - product(*(at - shift))) / (2 * step)
        assert pair_slope(law, entry)(*at) == pytest.approx(difference, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize(
    ("expression", "slope"),
    [
        (sp.Max(-1, sp.Min(1, X)), lambda k: mp.erf(1 / mp.sqrt(2 * k))),
        (sp.Max(0, X - 1), lambda k: mp.erfc(1 / mp.sqrt(2 * k)) / 2),
        (2 * sp.sin(3 * X), lambda k: 18 * (1 + mp.exp(-18 * k))),
        (X**3, lambda k: 27 * k**2),
    ],
    ids=["hard_tanh", "relu", "sine", "cube"],
)
def test_slopes_at_equal_inputs(expression: sp.Expr, slope) -> None:
    """``<phi'^2>`` is the derivative with respect to the covariance, at equal inputs."""
    law = activation_law(expression)
    form = normal_form(law.pair(*PAIR).diff(PAIR[1])).subs(dict.fromkeys(PAIR, K))
    for k in (0.3, 2.0):
        assert number(form, (K,))(k) == pytest.approx(float(slope(mp.mpf(k))), rel=1e-14)


def test_a_wrong_coefficient_is_caught() -> None:
    law, (phi, cuts) = activation_law(STEPWISE[1]), plane(STEPWISE[1])
    wrong = number(law.pair(*PAIR) + PAIR[1] * R(1, 10**11), PAIR)
    integral = plane_average(lambda x, y: phi(x) * phi(y), COVARIANCES[0], cuts)
    assert abs(wrong(*COVARIANCES[0]) - integral) > 1e-12


def test_breaks_at_zero_give_the_arc_cosine_forms() -> None:
    for name, factor in (("relu", 3), ("leaky_relu", 2), ("erf", R(1, 2)), ("gelu", 5)):
        registered = ACTIVATIONS[name]
        parts = parts_of(factor * registered.expression, breakpoints(registered.expression, X))
        assert parts is not None
        derived = activation_law(factor * registered.expression)
        for k in ((1.0, 0.3, 2.0), (0.5, -0.4, 0.6)):
            expected = float(factor) ** 2 * pair(registered)(*k)
            assert pair(derived)(*k) == pytest.approx(expected, rel=1e-14)


def test_an_rbf_feature_is_the_rbf_kernel() -> None:
    law = activation_law(sp.sqrt(2) * sp.sin(sp.sqrt(2) * X + sp.pi / 4))
    a, c, b = PAIR
    assert law.pair(a, c, b) == sp.exp(2 * c - a - b)
    assert law.variance(K) == 1


@pytest.mark.parametrize(
    "expression",
    [
        sp.tanh(X),
        sp.exp(sp.sin(X)),
        sp.sin(X**2),
        sp.erf(X) ** 2,
        X - sp.sin(X),
        sp.exp(-sp.Abs(X)),
    ],
    ids=str,
)
def test_other_functions_are_left_to_quadrature(expression: sp.Expr) -> None:
    assert activation_law(expression).pair is None


def test_averages_that_do_not_exist_are_no_numbers() -> None:
    law = activation_law(sp.exp(X**2 / 10))
    assert variance(law)(2.4) == pytest.approx(1 / math.sqrt(1 - 0.4 * 2.4), rel=1e-13)
    at = number(law.variance(K), (K,))
    with pytest.raises(ValueError, match=r"math domain|expected"):
        at(2.6)


def test_growth_that_stops_has_a_limit_in_the_variance() -> None:
    law = activation_law(sp.Max(-1, sp.Min(1, X)))
    assert variance(law)(1e-20) == 1e-20
    with mp.workdps(30):
        k = mp.mpf(1e4)
        edge = mp.sqrt(k) * mp.npdf(1 / mp.sqrt(k))
        exact = k * mp.erf(1 / mp.sqrt(2 * k)) - 2 * edge + mp.erfc(1 / mp.sqrt(2 * k))
    assert variance(law)(1e4) == pytest.approx(float(exact), rel=1e-11)
    assert math.isnan(variance(law)(1e12))


def test_laws_with_closed_averages_travel_between_processes() -> None:
    law = activation_law(2 * sp.Max(0, X))
    assert copy.deepcopy(law) == law
    rebuild, arguments = copyreg.dispatch_table[ActivationLaw](law)
    assert rebuild(*arguments) is law
    assert elementary(law.variance(K)) == 2 * K


def test_the_bivariate_distribution_function_is_printed() -> None:
    net = ResNet(Branch(Activation(sp.Heaviside(X - 1)), Linear()), scale=1, depth=2)
    text = to_latex(kernel(net, inputs=2), "aligned", closed=True)
    assert r"\Phi_2\left(- \frac{1}{\sqrt{K_{11}^{l-1}}}" in text
    assert "Orthant" not in text


@pytest.mark.parametrize("low", ["1/20", "1/7", "3"])
def test_a_kink_that_is_found_numerically_is_no_jump(low: str) -> None:
    ramp = sp.Rational(40) * (X - sp.Rational(1, 3))
    law = activation_law(sp.Max(-sp.Rational(low), sp.Min(10, ramp)))
    assert law.pair is not None
    label = sp.Symbol("phi")
    slope = close(slope_moment(label, sp.Symbol("K")), ((label, law),))
    left, right = sp.Rational(1, 3) - sp.Rational(low) / 40, sp.Rational(7, 12)
    with mp.workdps(30):
        inside = 1600 * (mp.ncdf(mp.mpf(right.p) / right.q) - mp.ncdf(mp.mpf(left.p) / left.q))
    value = float(slope.xreplace({sp.Symbol("K"): sp.Integer(1)}).evalf(20))
    assert value == pytest.approx(float(inside), rel=1e-12)
    assert value != pytest.approx(1600 * float(right - left), rel=1e-3)
