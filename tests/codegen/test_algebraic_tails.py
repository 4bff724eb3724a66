"""Responses of functions that saturate or grow algebraically, at kernels up to the end of doubles.

Such averages weigh every power of ten of the argument alike. Right values are the expansions at
large deviations ``s = sqrt(K)``, exact up to ``log(s)/s``::

    K V'(K) = sqrt(2/pi) (log(s) + (log 2 - gamma)/2 - 3/2) / s    for x/(1 + |x|),
    K V'(K) = log(s) - (log 2 + gamma)/2                           for log(1 + |x|).

Functions that saturate faster than ``1/x`` have, at ``s -> inf``,
``s^3 V'(K) = -int (phi^2 - phi(inf)^2) dx / (2 sqrt(2 pi))``.

Controls: panels without edges at large arguments, a slope that is left a difference, and averages
that are differentiated on the function instead of the weight.
"""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, evaluate, response
from resexpand.activations.activation_law import X, of_one_fraction, pointwise
from resexpand.codegen import routine
from resexpand.codegen.resolution import BEYOND, resolution_of
from resexpand.expressions.arrays import array_values
from resexpand.gaussian.quadrature import composite_rule

KERNELS = np.array([1e40, 1e80, 1e150])
HALF = (np.log(2) - np.euler_gamma) / 2


def softsign(kernel: np.ndarray) -> np.ndarray:
    root = np.sqrt(kernel)
    return np.sqrt(2 / np.pi) * (np.log(root) + HALF - 1.5) / root / kernel


def logarithm(kernel: np.ndarray) -> np.ndarray:
    return (np.log(kernel) - np.log(2) - np.euler_gamma) / 2 / kernel


@pytest.mark.parametrize(
    ("name", "right", "kernels"),
    [("x/(1+abs(x))", softsign, KERNELS), ("log(1+abs(x))", logarithm, [*KERNELS, 1e250, 1e300])],
)
def test_responses_at_large_kernels(name: str, right: object, kernels: object) -> None:
    net = ResNet(Branch(Activation(name), Linear(1, 0)), scale=1, depth=1)
    values = evaluate(response(net), K0=np.array(kernels))
    assert values.status == "ok"
    wanted = right(np.array(kernels))  # type: ignore[operator]
    np.testing.assert_allclose(values["eta_layers"][..., 0], wanted, rtol=1e-13)


@pytest.mark.parametrize(
    ("name", "integral"),
    [
        ("1/(1+x**2)", -np.pi / 4),
        ("x/sqrt(1+x**2)", np.pi / 2),
        ("x/(1+x**2)", -np.pi / 4),
        ("tanh(x)", 1.0),
        ("1/(1+exp(-x))", 0.5),
    ],
)
def test_small_and_large_kernels_side_by_side(
    name: str, integral: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One grid over all of double precision: each point in the form that keeps its digits."""
    kernels = np.array([1e-300, 1e-20, 1e-3, 0.7, 1e20, 1e40, 1e100, 1e200])
    net = ResNet(Branch(Activation(name), Linear(1, 0)), scale=1, depth=1, skip=0)
    found = evaluate(response(net), K0=kernels)
    assert found.status == "ok"
    large = kernels >= 1e20
    wanted = integral / np.sqrt(2 * np.pi) * kernels[large] ** -1.5
    np.testing.assert_allclose(found["eta_layers"][large, 0], wanted, rtol=1e-9)
    one_by_one = [evaluate(response(net), K0=k)["eta_layers"][0] for k in kernels]
    np.testing.assert_allclose(found["eta_layers"][:, 0], one_by_one, rtol=1e-12)
    monkeypatch.setattr(routine, "improved", lambda found, *_: found)
    plain = evaluate(response(net), K0=kernels)
    assert plain.quadrature_error["eta"] > 1
    assert "the quadrature in eta is only good to" in plain.status


@pytest.mark.parametrize("kernel", KERNELS)
def test_edges_beyond_all_arguments_that_are_looked_at(kernel: float) -> None:
    function = X**2 / (1 + sp.Abs(X)) ** 3
    edges = resolution_of((function,), (function,)).edges
    root, wanted = np.sqrt(kernel), softsign(np.array(kernel)) * kernel

    def average(ends: np.ndarray) -> float:
        inside = ends[(ends > 0) & (ends < root / 8)]
        z, weights = composite_rule(np.array([0, *inside / root, *np.arange(0.25, 10, 0.5)]), 16)
        density = np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2)
        return float(weights @ (density * array_values(function, X, root * z)))

    assert average(edges) == pytest.approx(wanted, rel=1e-12)
    assert abs(average(edges[np.abs(edges) < BEYOND[0]]) / wanted - 1) > 1e-3


@pytest.mark.parametrize(
    ("name", "slope"),
    [
        ("x/(1+Abs(x))", "1/(1+Abs(x))**2"),
        ("Abs(x)/(1+Abs(x))", "sign(x)/(1+Abs(x))**2"),
        ("x/(1+Abs(x)**3)**Rational(1,3)", "(1+Abs(x)**3)**Rational(-4,3)"),
        ("x*Abs(x)/(1+x**2)", "2*Abs(x)/(1+x**2)**2"),
        ("1/(1+(Abs(x)-3)**2)", "-2*sign(x)*(Abs(x)-3)/(1+(Abs(x)-3)**2)**2"),
        ("x/sqrt(1+x**2)", "(1+x**2)**Rational(-3,2)"),
        ("x/(1+Abs(x-1))", "1/(1+Abs(x-1))-x*sign(x-1)/(1+Abs(x-1))**2"),
    ],
)
def test_slopes_of_one_fraction(name: str, slope: str) -> None:
    function, wanted = (sp.sympify(text, locals={"x": X}) for text in (name, slope))
    left = pointwise(sp.diff(function, X))
    found = of_one_fraction(left)
    x = np.array([-7.3, -0.4, 0.3, 2.0, 50.0])
    np.testing.assert_allclose(array_values(found, X, x), array_values(wanted, X, x), rtol=1e-13)
    if name == "x/(1+Abs(x-1))":
        assert array_values(found, X, np.array([1e13])) == 0.0
    if name == "x/(1+Abs(x))":
        far = np.array([1e13])
        assert array_values(found, X, far) == pytest.approx(1e-26, rel=1e-12, abs=0)
        assert array_values(left, X, far) != pytest.approx(1e-26, rel=1e-4, abs=0)
