"""Growth of activations at large arguments, against what their expressions say."""

from __future__ import annotations

from math import inf

import pytest
import sympy as sp

from resexpand import Activation
from resexpand.activations.growth import growth

X = sp.Symbol("x")
REGISTERED = ("identity", "erf", "erf_unit", "relu", "leaky_relu", "tanh", "gelu", "silu", "sin")


@pytest.mark.parametrize("name", [*REGISTERED, "sign"])
def test_registered_activations_have_all_moments(name: str) -> None:
    found = growth(Activation(name).law)
    assert found.rate == 0
    assert found.polynomial
    assert found.largest_variance(4) == inf


@pytest.mark.parametrize(
    "expression", [X**7, X * sp.tanh(X), sp.log(1 + sp.exp(X)), sp.exp(-(X**2)), sp.log(1 + X**2)]
)
def test_powers(expression: sp.Expr) -> None:
    found = growth(Activation(expression).law)
    assert found.rate == 0
    assert found.polynomial


@pytest.mark.parametrize("expression", [sp.exp(X), sp.sinh(X / 2), sp.exp(sp.sqrt(sp.Abs(X)))])
def test_faster_than_powers(expression: sp.Expr) -> None:
    found = growth(Activation(expression).law)
    assert found.rate == 0
    assert not found.polynomial


@pytest.mark.parametrize(
    ("expression", "rate"),
    [
        (sp.exp(X**2 / 8), 0.125),
        (X**5 * sp.exp(X**2 / 8), 0.125),
        (sp.exp(X**2 / 4) * sp.erf(X), 0.25),
        (sp.cosh(X**2 / 16), 0.0625),
        (sp.Max(0, X) * sp.exp(X**2 / 10), 0.1),
        (sp.exp(X**2 / 8) * sp.sin(X), 0.125),
    ],
)
def test_gaussian_growth(expression: sp.Expr, rate: float) -> None:
    found = growth(Activation(expression).law)
    assert found.rate == pytest.approx(rate, rel=1e-6)
    assert found.largest_variance(4) == pytest.approx(1 / (8 * rate), rel=1e-6)


@pytest.mark.parametrize("expression", [sp.exp(X**4), sp.exp(sp.exp(X)), sp.exp(sp.exp(sp.exp(X)))])
def test_no_moment_at_all(expression: sp.Expr) -> None:
    found = growth(Activation(expression).law)
    assert found.rate == inf
    assert found.largest_variance(2) == 0


def test_the_edge_is_where_the_integral_stops_to_exist() -> None:
    """<exp(4 c x^2)> = (1 - 8 c K)^(-1/2) below the edge, without bound towards it."""
    c = sp.Rational(1, 8)
    edge = growth(Activation(sp.exp(c * X**2)).law).largest_variance(4)
    average = (1 - 8 * c * sp.Symbol("K")) ** sp.Rational(-1, 2)
    assert (1 / average).subs("K", sp.nsimplify(round(edge, 6))) == 0
