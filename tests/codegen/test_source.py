"""Source text: right values for any expression, any length, any name, and the same text always."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mpmath import mp

from resexpand.codegen import store
from resexpand.codegen.source import (
    argument_names,
    constant,
    module_source,
    operation_count,
    scalar_function,
)
from resexpand.errors import UnsupportedError

X, Y, Z = sp.symbols("x y z", real=True)
P = sp.Symbol("p", positive=True)


def plain(expressions, inputs=(X, Y, Z), **options):
    """The generated function, run as plain Python."""
    text = scalar_function("f", inputs, expressions, **options)
    return store.load(module_source([text], target="plain")).f


# --- values ---------------------------------------------------------------------------------------

numbers = st.builds(sp.Rational, st.integers(-9, 9), st.integers(1, 7))
leaves = st.sampled_from([X, Y, Z, sp.pi, sp.E, sp.sqrt(2)]) | numbers
BOUNDED = [sp.sin, sp.cos, sp.tanh, sp.erf, sp.atan, sp.sign, sp.Abs]


def grown(children):
    return st.one_of(
        st.builds(sp.Add, children, children),
        st.builds(sp.Mul, children, children),
        st.builds(lambda a: 1 / (1 + a**2), children),
        st.builds(lambda a, n: a**n, children, st.integers(2, 5)),
        st.builds(lambda a, n: (1 + a**2) ** sp.Rational(n, 2), children, st.integers(-5, 5)),
        st.builds(lambda a: (2 + a**2) ** sp.Rational(1, 3), children),
        st.builds(lambda f, a: f(a), st.sampled_from(BOUNDED), children),
        st.builds(lambda a: sp.exp(-(a**2)), children),
        st.builds(lambda a: sp.log(1 + a**2), children),
        st.builds(lambda a: sp.asin(a / sp.sqrt(1 + a**2)), children),
        st.builds(sp.Max, children, children),
        st.builds(
            lambda a, b, c: sp.Piecewise((a, c < b), (b, True)), children, children, children
        ),
    )


expressions = st.recursive(leaves, grown, max_leaves=8)
values = st.floats(-3.0, 3.0).map(lambda v: round(v, 3))


def scale_of(expression, point):
    """The largest partial result: what rounding errors are relative to."""
    parts = [part for part in sp.preorder_traversal(expression) if isinstance(part, sp.Expr)]
    sizes = [abs(sp.N(part.subs(point), 15)) for part in set(parts)]
    return max([1.0, *(float(s) for s in sizes if s.is_number and s.is_finite)])


@settings(max_examples=60)
@given(expressions, values, values, values)
def test_random_expressions(expression, x, y, z):
    exact_point = {X: sp.Rational(str(x)), Y: sp.Rational(str(y)), Z: sp.Rational(str(z))}
    assume(not expression.has(sp.zoo, sp.nan, sp.I))
    exact = sp.N(expression.subs(exact_point), 50)
    assume(exact.is_Float or exact.is_Rational)
    scale = scale_of(expression, exact_point)
    assume(scale < 1e6)
    # A jump that the arguments hit exactly belongs to either side once they are rounded.
    switches = [a.lhs - a.rhs for a in expression.atoms(sp.core.relational.Relational)]
    switches += [a.args[0] for a in expression.atoms(sp.sign)]
    assume(all(abs(sp.N(s.subs(exact_point), 30)) > 1e-9 for s in switches))
    value = plain([expression])(x, y, z)
    assert abs(value - float(exact)) <= 1e-9 * scale


@pytest.mark.parametrize(
    ("expression", "point"),
    [
        (sp.Pow(P, sp.Rational(-7, 2)), 1.7),
        (sp.Pow(P, sp.Rational(3, 4)), 1.7),
        (sp.Pow(P, sp.Rational(-5, 4)), 1.7),
        (sp.Pow(P, sp.Rational(1, 3)), 1e300),
        (sp.Pow(P, sp.Rational(-2, 7)), 1e-300),
        (P**13, 1.1),
        (P**-64, 1.1),
        (P**P, 3.3),
        (P**sp.pi, 3.3),
        (2**P, 3.3),
        (sp.log(1 + P), 1e-12),
        (sp.erfc(P) / sp.sqrt(sp.pi), 5.0),
        (sp.atan2(P, -2), 0.7),
        (sp.acos(P) - sp.pi / 3, 0.7),
        (sp.tan(P) * sp.sinh(P) * sp.cosh(P), 1.2),
        (sp.Min(P, 2, sp.sqrt(P)), 3.0),
        (sp.Heaviside(P - 1) + sp.Heaviside(1 - P, 1), 1.0),
        (sp.Piecewise((1, P < 1), (2, (P < 2) | (P > 9)), (3, ~(P > 4)), (4, True)), 3.0),
        (sp.Piecewise((5, sp.Ne(P, 3)), (6, sp.Eq(P, 3))), 3.0),
    ],
)
def test_each_kind_of_node(expression, point):
    with mp.workdps(50):
        exact = float(sp.N(expression.subs(P, sp.Rational(*point.as_integer_ratio())), 50))
    assert plain([expression], [P])(point) == pytest.approx(exact, rel=2e-14)


def test_piecewise_without_default_is_nan():
    assert np.isnan(plain([sp.Piecewise((X, X < 0))], [X])(1.0))


def test_outputs_keep_their_order():
    assert plain({"b": X + 1, "a": X * Y, "c": sp.Integer(3)}, [X, Y])(2.0, 5.0) == (3.0, 10.0, 3.0)


def test_helpers_are_called():
    inner = scalar_function("inner", [X], [X**2])
    outer = scalar_function("outer", [X], [1 + sp.Function("Q")(X + 1)], helpers={"Q": "inner"})
    assert store.load(module_source([inner, outer], target="plain")).outer(2.0) == 10.0


# --- constants and names --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (sp.Rational(2, 3), "(2.0/3.0)"),
        (sp.Rational(-2, 3), "(-(2.0/3.0))"),
        (sp.Rational(-3, 8), "(-0.375)"),
        (sp.Integer(7), "7.0"),
        (sp.pi, "3.141592653589793"),
        (2 / sp.pi, "0.6366197723675814"),
        (sp.sqrt(sp.pi) / 2, "0.886226925452758"),
    ],
)
def test_constants_are_nearest_doubles(value, text):
    assert constant(value) == text


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**30))
def test_rationals_are_correctly_rounded(p, q):
    numerator, _, denominator = constant(sp.Rational(p, q)).partition("/")
    value = float(numerator.replace("(", "").strip(")")) / float(denominator.strip(")") or 1)
    assert value == p / q


@pytest.mark.parametrize("value", [sp.oo, sp.zoo, sp.nan, sp.I, sp.Integer(10) ** 400, sp.sqrt(-2)])
def test_what_is_no_double_is_refused(value):
    with pytest.raises(UnsupportedError):
        constant(value)


def test_names_are_mangled_without_collision():
    symbols = sp.symbols(r"K_{12} K_12 lambda \rho σ Σ 1x t3 fn_exp math if ρ")
    symbols += (sp.Symbol("K_12", positive=True),)
    names = argument_names(symbols)
    assert len(set(names)) == len(symbols)
    assert all(name.isidentifier() and name.isascii() for name in names)
    assert names[:3] == ("K_12", "K_12_2", "lambda_")
    function = plain([sum((i + 1) * s for i, s in enumerate(symbols))], symbols)
    assert function(*map(float, range(len(symbols)))) == sum(
        i * (i + 1) for i in range(len(symbols))
    )


def test_name_of_the_function_is_no_argument():
    assert plain([sp.Symbol("f") + 1], [sp.Symbol("f")])(1.0) == 2.0


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        (sp.gamma(X), r"gamma\(x\).*erfc"),
        (sp.DiracDelta(X), "DiracDelta"),
        (X + Y, "symbol y is not among the inputs"),
        (sp.Integral(sp.exp(-(X**2) * Y), (Y, 0, 1)), "Integral"),
        (sp.Function("Q")(X), "no helper computes the function Q"),
        (sp.I * X, "ImaginaryUnit"),
        (X * sp.oo, "real"),
        (sp.Heaviside(X, Y), "Heaviside"),
    ],
)
def test_unsupported_expressions_are_named(expression, named):
    with pytest.raises(UnsupportedError, match=named):
        scalar_function("f", [X], [expression])


def test_text_is_no_expression():
    with pytest.raises(UnsupportedError, match="str is no scalar"):
        scalar_function("f", [X], ["x + 1"])


def test_no_output_is_refused():
    with pytest.raises(UnsupportedError, match="at least one"):
        scalar_function("f", [X], [])


# --- sharing, length, determinism -----------------------------------------------------------------


def test_operations_are_counted_once():
    root = sp.sqrt(1 + X**2)
    assert operation_count([root]) == 3
    assert operation_count([root, 1 / root, sp.erf(root)]) == 5
    assert operation_count([X**8]) == 3


def test_quotient_is_one_division():
    text = scalar_function("f", [X, Y, P], [X / (Y * sp.sqrt(P) * (1 + X))])
    assert text.count("/") == 1


def long_expression(terms):
    """A sum without structure; SymPy is kept from spending its time on canonical forms."""
    parts = []
    for i in range(terms):
        factors = [sp.Rational(i % 7 + 1, i % 5 + 1), X ** (i % 4), Y + i, Z - i, 1 / (i + 1 + P)]
        parts.append(sp.Mul(*factors, evaluate=False))
    return sp.Add(*parts, evaluate=False)


def test_long_expression_is_cut_into_parts():
    expression = long_expression(2_000)
    text = scalar_function("f", [X, Y, Z, P], [expression, X], operation_cap=500)
    functions = ast.parse(text).body
    operations = (ast.BinOp, ast.Call)
    sizes = [sum(isinstance(n, operations) for n in ast.walk(f)) for f in functions[:-1]]
    assert sum(sizes) > 15_000
    # Division of constants and the decorator count here and not in the cap.
    assert max(sizes) <= 700
    value = store.load(module_source([text], target="plain")).f(1.25, -0.5, 0.75, 2.0)[0]
    exact = sum(
        Fraction(i % 7 + 1, i % 5 + 1)
        * Fraction(5, 4) ** (i % 4)
        * (i - Fraction(1, 2))
        * (Fraction(3, 4) - i)
        / (i + 3)
        for i in range(2_000)
    )
    assert value == pytest.approx(float(exact), rel=1e-14)


def test_deep_expression_needs_no_recursion():
    expression = X
    for _ in range(300):
        expression = sp.Add(1, sp.Pow(sp.Add(Y, expression, evaluate=False), -1), evaluate=False)
    value = plain([expression])(1.0, 1.0, 0.0)
    assert value == pytest.approx(_continued(300), rel=1e-13)


def _continued(depth):
    value = 1.0
    for _ in range(depth):
        value = 1.0 + 1.0 / (1.0 + value)
    return value


DRIVER = """
@driver
def run(x, y, out):
    for i in range(x.size):
        out[i] = f(x[i], y[i])
"""


@pytest.mark.parametrize("cap", [1000, 60], ids=["inlined", "in parts"])
def test_compiled_equals_plain(cap):
    expression = long_expression(12).subs({Z: X * Y, P: X**2 + 1})
    text = scalar_function("f", [X, Y], [expression], operation_cap=cap)
    compiled = store.load(module_source([text, DRIVER]))
    function = store.load(module_source([text], target="plain")).f
    x, y = np.linspace(-1, 1, 37), np.linspace(0.1, 2, 37)
    out = np.empty_like(x)
    compiled.run(x, y, out)
    expected = [function(a, b) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(out, expected, rtol=1e-13, atol=1e-12)


@pytest.mark.fullscale
def test_a_hundred_thousand_operations_compile():
    text = scalar_function("f", [X, Y, Z, P], [long_expression(12_800)])
    driver = "@driver\ndef run(x):\n    return f(x, -0.5, 0.75, 2.0)\n"
    compiled = store.load(module_source([text, driver])).run(1.25)
    plain_value = store.load(module_source([text], target="plain")).f(1.25, -0.5, 0.75, 2.0)
    assert compiled == pytest.approx(plain_value, rel=1e-12)


def test_text_does_not_depend_on_the_hash_seed():
    code = """
import sympy as sp
from resexpand.codegen.source import scalar_function
a, b, c, d = sp.symbols("a b c lambda", positive=True)
e = sp.Max(a, b, c * d, sp.sin(a)) + sp.Piecewise((a, (a > b) & (c < d) & (d > a)), (b * c, True))
e += sum(sp.sqrt(a + i) * sp.erf(b / (c + i)) * (c * d * b) ** i for i in range(9)) * sp.pi
print(scalar_function("f", [a, b, c, d], [e, e.diff(b), a * b * c * d, b * c * d + a]))
"""
    texts = set()
    for seed in ("0", "1", "31"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            check=True,
            text=True,
        )
        texts.add(run.stdout)
    assert len(texts) == 1
    assert "fn_erf" in texts.pop()


# --- definitions ----------------------------------------------------------------------------------


def test_definitions_are_what_substituting_them_gives():
    a, b, c, unused = sp.symbols("a b c unused")
    definitions = [
        (a, X * Y + 1),
        (b, a**2 + sp.exp(X * Y)),
        (unused, sp.log(a)),
        (c, b * a + sp.Integer(3)),
    ]
    outputs = [b * c + sp.exp(X * Y), a + X * Y, c]
    flat = outputs
    for symbol, value in reversed(definitions):
        flat = [e.xreplace({symbol: value}) for e in flat]
    point = (0.3, -1.7, 0.0)
    assert plain(outputs, definitions=definitions)(*point) == pytest.approx(
        plain(flat)(*point), rel=1e-15
    )
    assert "fn_log" not in scalar_function("f", (X, Y), outputs, definitions=definitions)
    assert operation_count(outputs, definitions) <= operation_count(flat)


def test_a_chain_of_definitions_keeps_its_length():
    # Substituted, the last of these would be a sum of 2^60 products.
    names = sp.symbols("d:60")
    chain = [(names[0], X * Y)]
    chain += [(new, old * X + old * Y) for old, new in pairwise(names)]
    value = plain([names[-1]], definitions=chain)(0.5, 0.75, 0.0)
    assert value == pytest.approx(0.375 * 1.25**59, rel=1e-13)
    assert operation_count([names[-1]], chain) < 250


def test_a_definition_of_a_later_one_is_refused():
    a, b = sp.symbols("a b")
    with pytest.raises(UnsupportedError, match="not among the inputs"):
        scalar_function("f", (X,), [a], definitions=[(a, b + X), (b, X**2)])
