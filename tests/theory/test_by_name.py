"""Symbols of formulas by name: a name works, or an error says which exist; never a silent zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, kernel, residual_expansion, response
from resexpand.conventions import SIGMA_B2, SIGMA_W2, K
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.theory.closure import close_elementary
from resexpand.theory.formula import Formula

RHO, DEPTH = sp.Symbol("rho"), sp.Symbol("L")
NET = ResNet(Branch(Activation("erf"), Linear()), scale=RHO, depth=DEPTH)
THEORY = kernel(NET)
(SYMBOL, VALUE), *_ = THEORY.definitions
FORMULA = Formula("covariance", SYMBOL, VALUE, laws=THEORY.laws)
# <erf(x)^2> over N(0, K) is (2/pi) asin(2K/(1 + 2K)).
CLOSED = SIGMA_B2 + SIGMA_W2 * 2 / sp.pi * sp.asin(2 * K / (1 + 2 * K))


def close(expression: sp.Expr) -> sp.Expr:
    return close_elementary(expression, THEORY.laws)


def test_sympy_itself_finds_nothing() -> None:
    """The fault that the methods of a formula are there for."""
    assert VALUE.diff(sp.Symbol("K")) == 0
    assert VALUE.subs({"sigma_w2": 2}) == VALUE


@pytest.mark.parametrize("wanted", ["K", sp.Symbol("K"), sp.Symbol("K", real=True), K])
def test_derivatives_by_name(wanted: Any) -> None:
    found = close(FORMULA.diff(wanted))
    at = {K: sp.Rational(3, 10), SIGMA_W2: sp.Rational(6, 5), SIGMA_B2: 1}
    assert abs((found - CLOSED.diff(K)).subs(at).evalf(30)) < 1e-28
    assert abs(found.subs(at).evalf(30)) > 0.1
    assert FORMULA.diff(wanted, "sigma_w2") == VALUE.diff(K, SIGMA_W2) != 0


def test_values_by_name() -> None:
    assert FORMULA.subs({"sigma_w2": 2}).rhs == VALUE.xreplace({SIGMA_W2: sp.Integer(2)})
    assert FORMULA.subs({sp.Symbol("sigma_w2"): 0.1}).rhs.has(sp.Rational(1, 10))
    for spelling in ({"sigma_w2": 2}, [("sigma_w2", 2)]):
        assert FORMULA.subs(spelling) == FORMULA.subs("sigma_w2", 2) != FORMULA
    both = FORMULA.subs({"sigma_w2": SIGMA_B2, "sigma_b2": SIGMA_W2})
    assert both.rhs == VALUE.xreplace({SIGMA_W2: SIGMA_B2, SIGMA_B2: SIGMA_W2})
    values = {"K": 0.3, "sigma_w2": 1.2, "sigma_b2": 1}
    at = {K: sp.Rational(3, 10), SIGMA_W2: sp.Rational(6, 5), SIGMA_B2: 1}
    assert FORMULA.evalf(subs=values) == FORMULA.subs(values).evalf()
    assert abs(FORMULA.evalf(30, values) - CLOSED.subs(at).evalf(30)) < 1e-28
    assert abs(FORMULA.evalf(30, {**values, "K": 0.31}) - CLOSED.subs(at).evalf(30)) > 1e-3
    function = FORMULA.lambdify("K", sp.Symbol("sigma_b2"), SIGMA_W2)
    grid = np.array([0.1, 0.3, 2.0])
    wanted = [float(CLOSED.subs({**at, K: sp.Float(k, 30)})) for k in grid]
    np.testing.assert_allclose(function(grid, 1.0, 1.2), wanted, rtol=1e-14)


@pytest.mark.parametrize("wanted", ["lambda_1", sp.Symbol("lambda_1", positive=True)])
def test_scales_of_an_expansion_by_name(wanted: Any) -> None:
    x, one = sp.symbols("x lambda_1")
    expansion = residual_expansion(3, [x**2, x**3], variables=x)
    assert expansion.diff(wanted).expression(x) == expansion.expression(x).diff(one).expand()
    for unknown in ("lambda_3", "x", sp.Symbol("mu"), 1, None):
        with pytest.raises(HyperparameterError, match="use one of lambda_1, lambda_2"):
            expansion.diff(unknown)


def test_unknown_and_missing_names_are_errors() -> None:
    unknown = ("k", "sigma_w", "Sigma_w2", sp.Symbol("z"), "x", 3, None, ("K", 2), "")
    for wanted in unknown:
        with pytest.raises(HyperparameterError, match="use one of K, sigma_b2, sigma_w2"):
            FORMULA.diff(wanted)
        if wanted != ("K", 2):
            with pytest.raises(HyperparameterError, match="does not occur"):
                FORMULA.lambdify("K", wanted)
            with pytest.raises(HyperparameterError, match="does not occur"):
                FORMULA.evalf(15, {wanted: 1})
    with pytest.raises(HyperparameterError, match="did you mean sigma_w2"):
        FORMULA.subs({"sigma_w": 2})
    for value in ("2", True, sp.Tuple(1), [1], None):
        with pytest.raises(HyperparameterError, match="sigma_w2 = "):
            FORMULA.subs({"sigma_w2": value})
    with pytest.raises(HyperparameterError, match="two values of sigma_w2"):
        FORMULA.subs({"sigma_w2": 1, SIGMA_W2: 2})
    with pytest.raises(HyperparameterError, match="K, sigma_b2 has no value"):
        FORMULA.evalf(15, {"sigma_w2": 1})
    with pytest.raises(HyperparameterError, match="sigma_w2 has no value"):
        FORMULA.lambdify("K", "sigma_b2")
    with pytest.raises(HyperparameterError, match="it takes K, sigma_b2, sigma_w2"):
        FORMULA.lambdify("K", "sigma_b2", "sigma_w2")(1.0)


def test_unrolled_expressions_with_values() -> None:
    whole = THEORY.unroll(2)
    found = THEORY.unroll(2, {"sigma_w2": 2, sp.Symbol("rho", positive=True): 0.5})
    at = {SIGMA_W2: sp.Integer(2), RHO: sp.Rational(1, 2)}
    assert found["K"] == [e.subs(at) for e in whole["K"]] != whole["K"]
    assert not {SIGMA_W2, RHO} & found["K"][-1].free_symbols
    pair = kernel(NET, inputs=2).unroll(1, {"sigma_w2": 2})["K"][1]
    assert pair.shape == (2, 2)
    assert SIGMA_W2 not in pair.free_symbols
    rows = response(NET).unroll(1, {"rho": 0})["chi"]
    assert sp.flatten(rows) == [1, 0, 1, 1]
    for wrong in ({"sigma_w": 2}, {"k": 1}, {"sigma_w2": "2"}):
        with pytest.raises(HyperparameterError):
            THEORY.unroll(2, wrong)
    with pytest.raises(HyperparameterError, match="no such depth"):
        THEORY.unroll(True)


def test_symbols_are_attributes_of_what_they_stand_in() -> None:
    symbols = THEORY.symbols
    assert symbols.K is K
    assert symbols["sigma_w2"] == SIGMA_W2
    assert VALUE.diff(symbols.K) == FORMULA.diff("K") != 0
    assert {"C", "K", "K0", "L", "rho", "sigma_b2", "sigma_w2"} == set(symbols) == set(dir(symbols))
    assert set(FORMULA.symbols) == {"C", "K", "sigma_b2", "sigma_w2"}
    assert repr(FORMULA.symbols) == "<Symbols: C, K, sigma_b2, sigma_w2>"
    with pytest.raises(AttributeError, match="did you mean sigma_w2"):
        _ = symbols.sigma_w
    with pytest.raises(KeyError, match="it does not occur there"):
        _ = symbols["gamma"]
    assert not hasattr(symbols, "gamma")
    assert not hasattr(symbols, "_repr_html_")


@pytest.mark.parametrize("modules", ["numpy", "mpmath", "math", ["scipy", "numpy"]])
def test_lambdify_of_a_formal_average_names_the_call_that_does(modules: Any) -> None:
    symbols = sorted(VALUE.free_symbols, key=str)
    with pytest.raises(UnsupportedError, match=r"Formula\.lambdify"):
        sp.lambdify(symbols, VALUE, modules=modules)
    # In closed form it is SymPy's own.
    own = sp.lambdify(symbols, FORMULA.closed(), modules="math")
    assert own(0.3, 1.0, 1.2) == pytest.approx(
        float(FORMULA.evalf(subs=dict(zip(symbols, (0.3, 1.0, 1.2), strict=True)))), rel=1e-14
    )
