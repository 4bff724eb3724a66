"""Averages at small variances: of functions whose terms cancel there, right digits or none.

``x - tanh(x)`` is a difference of numbers that agree to all digits below 1e-8; a sum over nodes is
zero there, both rules agree, and nothing but the function itself tells. Right values: the leading
term of the function at zero. Control: what the range of arguments with digits would let through.
"""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel, one_loop, response
from resexpand.activations.rounding import lost_below
from resexpand.codegen import resolution
from resexpand.codegen.routine import _compiled

X = sp.Symbol("x", real=True)
SIZES = np.array([1e-12, 1e-20, 1e-40, 1e-100])
DOUBLE = {2: 3, 1: 1, 3: 15}
"""By power ``p`` the average of ``z^(2 p)`` over a standard normal."""

ACCURATE = {
    "bend of an exponential": (sp.atan(sp.exp(X) - 1), 1.0, 1),
    "ratio of waves": (sp.sinh(X / 4) / (1 + sp.cosh(X / 4)), 0.125, 1),
    "logarithm with a shared sum": (X * sp.log(1 + X**2), 1.0, 3),
    "gate less a half": (X * (1 / (1 + sp.exp(-X)) - sp.Rational(1, 2)), 0.25, 2),
}
CANCELLING = {
    "tanh shrink": (X - sp.tanh(X), 1 / 3, 3),
    "root less one": (sp.sqrt(1 + X**2) - 1, 0.5, 2),
    "lorentzian less one": (1 / (1 + X**2) - 1, 1.0, 2),
    "logarithm of a wave": (sp.log(sp.cosh(X)), 0.5, 2),
    "bend of a cosine": (sp.tanh(1 - sp.cos(X)), 0.5, 2),
    "error function less its slope": (sp.erf(X) - 2 * X / sp.sqrt(sp.pi), 2 / 3 / np.pi**0.5, 3),
    "shifted tanh": (sp.tanh(X + 1) - sp.tanh(1), 1 / np.cosh(1) ** 2, 1),
}


def network(expression: sp.Expr) -> ResNet:
    return ResNet(Branch(Activation(expression), Linear(1, 0)), scale=1, skip=0, depth=1)


def leading(factor: float, power: int, sizes: np.ndarray) -> np.ndarray:
    return factor**2 * DOUBLE[power] * sizes**power


@pytest.mark.parametrize("name", ACCURATE)
def test_digits_at_small_variances(name: str) -> None:
    expression, factor, power = ACCURATE[name]
    law, tangent = kernel(network(expression)), response(network(expression))
    for size in SIZES[: 4 if power == 1 else 3]:
        found = evaluate(law, K0=size, outputs="K")["K"][1]
        assert found == pytest.approx(leading(factor, power, size), rel=3e-6, abs=0)
        if name == "gate less a half":  # whose second derivative is not written without rounding
            continue
        slope = evaluate(tangent, K0=size, outputs="chi")["chi"][1, 0]
        assert slope == pytest.approx(power * leading(factor, power, size) / size, rel=3e-6, abs=0)


@pytest.mark.parametrize("name", CANCELLING)
def test_rounding_is_no_average(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expression, factor, power = CANCELLING[name]
    law = kernel(network(expression))
    for size in SIZES[1:]:
        values = evaluate(law, K0=size)
        assert np.isnan(values["K"][1])
        assert "is a difference of larger terms, and rounding at arguments below" in values.status
    at = (10 * lost_below(expression)) ** 2
    found = evaluate(law, K0=at)["K"][1]
    assert found == pytest.approx(leading(factor, power, np.asarray(at)), rel=1e-3, abs=0)
    assert evaluate(law, K0=0.0)["K"][1] == 0
    monkeypatch.setattr(resolution, "lost_below", lambda _: 0.0)
    _compiled.cache_clear()
    try:
        let_through = evaluate(law, K0=1e-40)["K"][1]
    finally:
        _compiled.cache_clear()
    assert abs(let_through / leading(factor, power, np.asarray(1e-40)) - 1) > 0.5


@pytest.mark.parametrize("expression", [sp.tanh(X), sp.Max(0, X), X * sp.erf(X), sp.sin(3 * X)])
def test_ordinary_functions_have_all_their_digits(expression: sp.Expr) -> None:
    assert lost_below(expression) == 0


def test_the_order_one_over_width_of_larger_variances_stands() -> None:
    net = ResNet(Branch(Activation(X - sp.tanh(X)), Linear(1, 0)), scale=1, depth=2)
    values = evaluate(one_loop(net), K0=1.0)
    assert values.status == "ok"
    assert np.isfinite(values["K_mean"]).all()
    assert "K" in evaluate(one_loop(net), K0=1e-20).status


def test_pairs_with_a_small_variance() -> None:
    law = kernel(network(X - sp.tanh(X)), inputs=2)
    values = evaluate(law, K0=np.array([[1.0, 1e-21], [1e-21, 1e-40]]), outputs="K")
    assert np.isnan(values["K"][1, 0, 1])
    assert np.isfinite(values["K"][1, 0, 0])
