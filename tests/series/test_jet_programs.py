"""Jets against Taylor coefficients of mpmath, at ordinary and at large arguments.

Errors are measured against the majorant: the same composition with the magnitudes of the Taylor
coefficients of phi and of h. It bounds every coefficient of the result, and no algorithm in
doubles can be asked for less than a few rounding errors of it.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp

from resexpand import parse_expression
from resexpand.activations import ACTIVATIONS
from resexpand.codegen import store
from resexpand.codegen.jet_source import jet_function
from resexpand.codegen.source import module_source, operation_count
from resexpand.errors import UnsupportedError
from resexpand.series import jets, recurrences
from resexpand.series.jets import jet_assignments

X = sp.Symbol("x", real=True)
ORDER = 12
LIMIT = 16
"""Units of 2^-52 of the majorant."""
REACH = (0.3, 1.0, 3.0, 9.0, 16.0)
# Beyond these arguments the values themselves leave the range of doubles or of the domain, or the
# argument of an inner function is rounded with an error that the function multiplies.
NEAR = {"(1 + tanh(x + x**3/20))*x/2": 1.0, "x**3*erfc(x)": 9.0, "exp(-x**2/2)": 9.0}
EXPRESSIONS = [
    "asin(x/(1 + x**2))",
    "acos(x/(2 + x**2))",
    "atan(x)",
    "log(1 + exp(x))",
    "x*tanh(log(1 + exp(x)))",
    "(1 + tanh(x + x**3/20))*x/2",
    "1/(1 + exp(-x))**3",
    "1/(1 + x**2)",
    "sqrt(1 + x**2)",
    "(1 + x**2)**(1/3)",
    "(1 + x**2)**(-3/2)",
    "exp(-x**2/2)",
    "sin(x)*cos(2*x)",
    "sinh(x/3)*cosh(x/3)",
    "tan(atan(x)/2)",
    "x**3*erfc(x)",
    "tanh(x)**2",
    "max(x, x**2/7)",
    "min(x, 1, x**3)",
    "abs(x)**3",
    "sign(x)*x**2 + heaviside(x)",
]


def evaluated(expression, order=ORDER):
    """The jet as plain Python on doubles."""
    text = jet_function("jet", expression, X, order)
    return store.load(module_source([text], "plain")).jet


def composed(outer, inner):
    """Coefficients of a composition, from those of the outer function at inner[0]."""
    result, power = [mp.mpf(0)] * len(inner), [mp.mpf(1)] + [mp.mpf(0)] * (len(inner) - 1)
    shifted = [mp.mpf(0), *inner[1:]]
    for coefficient in outer:
        result = [r + coefficient * p for r, p in zip(result, power, strict=True)]
        power = [sum(power[i] * shifted[k - i] for i in range(k + 1)) for k in range(len(inner))]
    return result


def largest_error(expression, function, reach=REACH, order=ORDER):
    """Largest error over random points, in units of 2^-52 of the majorant."""
    rng = np.random.default_rng(4)
    phi = sp.lambdify(X, expression, "mpmath")
    worst = 0.0
    for size in reach:
        h = rng.standard_normal(order + 1)
        h[0] = size * rng.choice([-1, 1]) * rng.uniform(0.7, 1)
        # mpmath differentiates by differences, which see the tail of erf with enough digits only.
        tail = int(h[0] ** 2) if expression.has(sp.erf, sp.erfc) else int(abs(h[0]))
        with mp.workdps(80 + tail):
            outer = mp.taylor(phi, mp.mpf(h[0]), order)
        with mp.workdps(50):
            inner = [mp.mpf(value) for value in h]
            exact = composed(outer, inner)
            bound = composed([abs(c) for c in outer], [abs(c) for c in inner])
            for value, wanted, scale in zip(function(*h), exact, bound, strict=True):
                error = abs(mp.mpf(float(value)) - wanted)
                worst = max(worst, float(error / scale) * 2**52 if scale else float(error))
    return worst


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_registered_activations_are_exact_to_rounding(name):
    expression = ACTIVATIONS[name].expression
    function = evaluated(expression)
    assert largest_error(expression, function, (0.3, 1.0, 3.0)) < LIMIT
    # exp(-u^2) multiplies the rounding error of its argument by u^2; what it is a tail of is one.
    tail = REACH[-1] ** 2 if expression.has(sp.erf) else 0
    assert largest_error(expression, function) < LIMIT + tail


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_expressions_are_exact_to_rounding(text):
    expression = parse_expression(text)
    reach = [size for size in REACH if size <= NEAR.get(text, 16.0)]
    assert largest_error(expression, evaluated(expression), reach) < LIMIT


def test_functions_beyond_the_reader():
    """asinh has a recurrence but no entry in the table of functions: it is written with log."""
    turned = sp.atan2(X - 2, X**2 - 1)
    for expression in (
        turned,
        sp.asinh(X),
        sp.Piecewise((X, X > 0), (sp.exp(X) - 1, True)),
        sp.pi**X,
    ):
        assert largest_error(expression, evaluated(expression), (0.3, 1.0, 3.0)) < LIMIT


@pytest.mark.parametrize(
    "wrong",
    [
        # The slope of tanh as a difference: no digit left where tanh is one.
        lambda p, u: recurrences._riccati(p, u, sp.tanh(u[0]), 1 - sp.tanh(u[0]) ** 2, 0, -1),
        # A recurrence with a wrong sign from order 3 on.
        lambda p, u: recurrences._riccati(p, u, sp.tanh(u[0]), 1 / sp.cosh(u[0]) ** 2, 0, 1),
    ],
    ids=["cancelling", "sign"],
)
def test_control_a_wrong_recurrence_is_caught(monkeypatch, wrong):
    monkeypatch.setitem(jets.RECURRENCES, sp.tanh, wrong)
    assert largest_error(sp.tanh(X), evaluated(sp.tanh(X))) > 1e6


# --- exact identities ---------------------------------------------------------------------------

fractions = st.fractions(min_value=-3, max_value=3, max_denominator=7)


def exactly(expression, h):
    """The jet at rational coefficients, in exact arithmetic."""
    jet = jet_assignments(expression, X, len(h) - 1)
    values = dict(zip(jet.inputs, map(sp.Rational, h), strict=True))
    for symbol, value in jet.assignments:
        values[symbol] = value.xreplace(values)
    return [sp.sympify(output, strict=True).xreplace(values) for output in jet.outputs]


@settings(max_examples=3)
@given(st.lists(fractions, min_size=6, max_size=6))
def test_rational_functions_are_exact(h):
    t = sp.Symbol("t")
    inner = sum(sp.Rational(c) * t**j for j, c in enumerate(h))
    expression = (X**3 - 2 * X) / (X**2 + 1) ** 2 + sp.Rational(1, 3) * X**5
    found = exactly(expression, h)
    outer = expression.xreplace({X: inner})
    wanted = [sp.diff(outer, t, k).subs(t, 0) / sp.factorial(k) for k in range(4)]
    assert found[:4] == wanted


@pytest.mark.parametrize(
    "chain",
    [
        sp.log(sp.exp(X), evaluate=False),
        sp.sin(X) ** 2 + sp.cos(X) ** 2 + X - 1,
        X - 1 / sp.cosh(X) ** 2 + 1 - sp.tanh(X) ** 2,
        sp.erf(X) + sp.erfc(X) + X - 1,
    ],
    ids=str,
)
def test_functions_that_undo_each_other(chain):
    h = [0.7, -0.3, 1.2, 0.4, -2.0, 0.1, 0.6]
    assert np.allclose(evaluated(chain, 6)(*h), h, rtol=0, atol=3e-15)


# --- kinks and switches ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "h", "wanted"),
    [
        ("relu(x)", (0.5, 2.0, 3.0), (0.5, 2.0, 3.0)),
        ("relu(x)", (-0.5, 2.0, 3.0), (0.0, 0.0, 0.0)),
        ("relu(x)", (0.0, 2.0, 3.0), (0.0, 1.0, 1.5)),
        ("abs(x)", (0.0, 2.0, 3.0), (0.0, 0.0, 0.0)),
        ("abs(x)", (-1.0, 2.0, 3.0), (1.0, -2.0, -3.0)),
        ("min(x, 2*x)", (0.0, 2.0, 3.0), (0.0, 3.0, 4.5)),
        ("sign(x)", (0.0, 2.0, 3.0), (0.0, 0.0, 0.0)),
        ("heaviside(x)", (0.0, 2.0, 3.0), (0.5, 0.0, 0.0)),
        ("max(-1, min(1, x))", (2.0, 2.0, 3.0), (1.0, 0.0, 0.0)),
        ("max(-1, min(1, x))", (0.5, 2.0, 3.0), (0.5, 2.0, 3.0)),
    ],
)
def test_switches_follow_the_zeroth_coefficient(text, h, wanted):
    assert evaluated(parse_expression(text), 2)(*h) == wanted


# --- form -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tanh", "erf", "gelu", "silu", "sin"])
def test_operations_grow_like_the_square_of_the_order(name):
    def count(order):
        jet = jet_assignments(ACTIVATIONS[name].expression, X, order)
        return operation_count(jet.outputs, jet.assignments)

    assert count(24) / count(12) < 4.2
    assert count(12) < 5 * 12**2


def test_parameters_stay_symbols_and_never_clash():
    a, h_1, jet_0 = sp.symbols("a h_1 jet_0", real=True)
    jet = jet_assignments(sp.tanh(a * X) + h_1 * X**2 + jet_0, X, 2)
    assert len({*jet.inputs, h_1}) == 4
    assert {a, h_1, jet_0}.isdisjoint({symbol for symbol, _ in jet.assignments} | {*jet.inputs})
    values = [sp.sympify(o, strict=True) for o in jet.outputs]
    for symbol, value in reversed(jet.assignments):
        values = [v.xreplace({symbol: value}) for v in values]
    zero, one = jet.inputs[:2]
    slope = a * (1 - sp.tanh(a * zero) ** 2) + 2 * h_1 * zero
    assert sp.simplify((values[1] - slope * one).rewrite(sp.exp)) == 0


def test_the_text_does_not_depend_on_the_hash_seed():
    code = (
        "from resexpand.codegen.jet_source import jet_function as f\n"
        "from resexpand.activations import ACTIVATIONS as A\n"
        "from resexpand.activations.activation_law import X\n"
        "print(f('f', A['gelu'].expression, X, 5), f('g', A['leaky_relu'].expression, X, 3))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


@pytest.mark.parametrize("order", [-1, 1.5, True, "2", None])
def test_an_order_that_is_none(order):
    with pytest.raises(UnsupportedError, match="order"):
        jet_assignments(sp.tanh(X), X, order)


def test_what_has_no_recurrence_is_named():
    with pytest.raises(UnsupportedError, match="no recurrence for gamma"):
        jet_assignments(sp.gamma(X), X, 3)
    with pytest.raises(UnsupportedError, match="no SymPy expression"):
        jet_assignments("tanh(x)", X, 3)
