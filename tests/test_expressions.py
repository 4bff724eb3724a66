"""The language of expressions: exact values, the limits, and texts meant to do harm.

The reader is checked against SymPy's own objects written by hand, never against `sympify`, which
executes what it reads.
"""

from __future__ import annotations

import contextlib
import math
import re
import sys

import mpmath
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from resexpand import parse_expression
from resexpand.errors import ExpressionError
from resexpand.expressions import CONSTANTS, FUNCTIONS
from resexpand.expressions.bounds import MAX_BITS, MAX_EXPONENT, MAX_SIZE, tree_size
from resexpand.expressions.reader import MAX_DEPTH, MAX_LENGTH, MAX_NESTING, MAX_PARTS

X = sp.Symbol("x", real=True)

MEANINGS = {
    "x": X,
    "0.1": sp.Rational(1, 10),
    "1e-3": sp.Rational(1, 1000),
    ".5E+1": sp.Integer(5),
    "0.30000000000000004": sp.Rational(30000000000000004, 10**17),
    " 1/3 ": sp.Rational(1, 3),
    "-x**2": -(X**2),
    "--x": X,
    "2**-1": sp.Rational(1, 2),
    "x**3**1": X**3,
    "2*x + 3*(x - 1)": 5 * X - 3,
    "pi/4": sp.pi / 4,
    "E**x": sp.exp(X),
    "2**x": sp.Integer(2) ** X,
    "erf(sqrt(pi)*x/2)": sp.erf(sp.sqrt(sp.pi) * X / 2),
    "relu(x)": sp.Max(0, X),
    "Max(0, x)": sp.Max(0, X),
    "max(x, -x, 1)": sp.Max(X, -X, 1),
    "abs(x)": sp.Abs(X),
    "heaviside(x) - Heaviside(x)": sp.S.Zero,
    "x*sigmoid(x) - silu(x)": sp.S.Zero,
    "softplus(x)": sp.log(1 + sp.exp(X)),
    "gelu(x)": X * (1 + sp.erf(X / sp.sqrt(2))) / 2,
    "ln(x) - log(x)": sp.S.Zero,
    "sin(pi/6)": sp.Rational(1, 2),
    "cosh(0)": sp.S.One,
    "x # a comment": X,
}


@pytest.mark.parametrize(("text", "meaning"), MEANINGS.items())
def test_meaning(text, meaning):
    assert parse_expression(text) == meaning


def test_every_function_means_the_same_to_sympy_and_to_the_guard():
    assert len(FUNCTIONS) >= 24
    for name, function in FUNCTIONS.items():
        count = function.arity or 3
        numbers = [sp.Rational(1, 3), sp.Rational(2, 5), sp.Rational(-1, 7)][:count]
        exact = float(sp.N(function.build(*numbers), 30))
        assert math.isclose(exact, function.value(*map(float, numbers)), rel_tol=1e-14), name


def test_symbols():
    k = sp.Symbol("K", positive=True)
    assert parse_expression("sqrt(K**2)", variables=(k,)) == k
    assert parse_expression("t + 1", variables="t") == sp.Symbol("t", real=True) + 1
    assert parse_expression("rho*x", allow_symbols=True) == sp.Symbol("rho", real=True) * X
    assert parse_expression("E", variables=("E",)) == sp.Symbol("E", real=True)
    assert parse_expression("E") == CONSTANTS["E"]
    with pytest.raises(ExpressionError, match="unknown name x"):
        parse_expression("x", variables=())
    for bad in ("1x", "a b", "_a", "é", 3):
        with pytest.raises(ExpressionError, match="variable"):
            parse_expression("1", variables=(bad,))


# Text -> what the message must say of it.
REFUSED = {
    "__import__('os').system('true')": "named function",
    "__import__('os')": "unknown function __import__",
    "x.__class__": "attribute access",
    "().__class__.__bases__[0]": "indexing",
    "x.diff(x)": "named function",
    "(lambda: 1)()": "named function",
    "lambda x: x": "a lambda",
    "[x for x in (1, 2)]": "a comprehension",
    "{x: 1}": "Dict",
    "(x, 1)": "Tuple",
    "x[0]": "indexing",
    "x if x else 1": "a conditional",
    "x > 0": "a comparison",
    "x and 1": "and/or",
    "(y := x)": "an assignment",
    "exp(x=1)": "by keyword",
    "exp(**x)": "by keyword",
    "exp(*x)": "a starred argument",
    "'x'": "a string",
    "b'x'": "a string",
    "f'{x}'": "a string",
    "exp('x')": "a string",
    "x // 2": "FloorDiv",
    "x % 2": "Mod",
    "x ^ 2": "BitXor",
    "x @ x": "MatMult",
    "~x": "Invert",
    "not x": "Not",
    "x; x": "not well formed",
    "x = 1": "not well formed",
    "import os": "not well formed",
    "": "empty",
    "  \n ": "empty",
    "x +": "not well formed",
    "(x": "not well formed",
    "x)": "not well formed",
    "2x": "not well formed",
    "1if x else 2": "not well formed",
    "007": "not well formed",
    "1_000": "not a decimal number",
    "0x10": "not a decimal number",
    "1j": "not a decimal number",
    "True": "not a decimal number",
    "None": "not a decimal number",
    "...": "not a decimal number",
    "y": "unknown name y",
    "oo": "unknown name oo",
    "I": "unknown name I",
    "exec(1)": "unknown function exec",
    "Symbol(x)": "unknown function Symbol",
    "exp": "without an argument",
    "exp()": "0 arguments",
    "exp(1, 2)": "2 arguments",
    "max()": "0 arguments",
    "max(1, 2, 3, 4, 5, 6, 7, 8, 9)": "9 arguments",
    "x(1)": "unknown function x",
    "x\x00": r"U\+0000",
    "\u0445 + 1": r"U\+0445",  # Cyrillic, looks like x
    "\uff45xp(1)": r"U\+FF45",  # full width, which Python itself reads as e
    "x\n+1": r"U\+000A",
    "x\u202e": r"U\+202E",
    "1/0": "divides by zero",
    "x/(x - x)": "divides by zero",
    "1/(sin(1)**2 + cos(1)**2 - 1)": "too small to tell from zero|not between",
    "0**-1": "not a real number",
    "0**0": "not a real number",
    "(-8)**(1/3)": "not a real number",
    "(-2)**x": "depends on a variable",
    "x**x": "depends on a variable",
    "sqrt(-1)": "not a real number",
    "sqrt(-x**2)": "infinite or not real",
    "log(0)": "not a real number",
    "log(x - x)": "not a real number",
    "asin(2)": "not a real number",
    "tan(pi/2)": "infinite or not real",
    "9**9**9": "exceeds 64",
    "9**99": "exceeds 64",
    "x**65": "exceeds 64",
    "x**-65": "exceeds 64",
    "(x**9)**9": "exceeds 64",
    "((9**9)**9)**9": "exceeds|not between|binary digits",
    "(9**60)*(9**60)": "not between",
    "((1.0000001**60)**60)**60": "binary digits",
    "exp(exp(exp(100)))": "not a real number below",
    "Max(exp(exp(exp(100))), 1)": "not a real number below",
    "exp(100 + 90) * exp(100)": "not between",
    "exp(-1000)": "not between|too small",
    "1e41": "more than 40 digits",
    "1e-41": "more than 40 digits",
    "1e999999999": "more than 40 digits",
    "1" * 41: "more than 40 digits",
    "0." + "1" * 41: "more than 40 digits",
    "9" * (MAX_LENGTH + 1): "characters",
    "(" * 500 + "x" + ")" * 490: "parentheses",
    "(" * (MAX_NESTING + 1) + "x" + ")" * (MAX_NESTING + 1): "parentheses",
    "[" * 900: "parentheses",
    "-" * 900 + "x": "levels|too deeply",
    "not " * 200 + "x": "levels|too deeply|Not",
    "x" + "**1" * 200: "parts|levels",
    "x" + "+x" * (MAX_DEPTH + 1): "levels",
    "max(" + ",".join(["x"] * MAX_PARTS) + ")": "parts",
    "silu(" * 38 + "x" + ")" * 38: "nodes",
    "gelu(" * 38 + "1" + ")" * 38: "nodes",
    "lambda:" * 140 + "1": "levels|too deeply|lambda",
}


@pytest.mark.parametrize(("text", "why"), REFUSED.items(), ids=lambda t: ascii(t)[:40])
def test_refused_with_reason_and_remedy(text, why):
    with pytest.raises(ExpressionError, match=why) as caught:
        parse_expression(text)
    error = caught.value
    assert isinstance(error, ValueError)
    message = str(error)
    assert message.isascii()
    assert "\n" not in message
    assert len(message) < 700
    assert error.asked.startswith("expression ")
    assert "erf" in error.remedy
    assert "x" in error.remedy


@pytest.mark.parametrize("thing", [None, 3, 0.5, b"x", ["x"], X, object()])
def test_only_text_is_read(thing):
    with pytest.raises(ExpressionError, match="not text"):
        parse_expression(thing)


def test_limits_are_reached_not_undercut():
    """An expression right at a limit is accepted."""
    assert parse_expression("(" * MAX_NESTING + "x" + ")" * MAX_NESTING) == X
    assert parse_expression(f"x**{MAX_EXPONENT}") == X**MAX_EXPONENT
    assert parse_expression("x" + "+x" * (MAX_DEPTH - 2)) == (MAX_DEPTH - 1) * X
    assert parse_expression("x" + " " * (MAX_LENGTH - 1)) == X
    assert parse_expression("1e40") == sp.Integer(10) ** 40
    assert parse_expression("2**64") == 2**64
    assert parse_expression("1.5" + "0" * 38) == sp.Rational(3, 2)
    assert MAX_BITS > 64
    nested = parse_expression("silu(" * 7 + "x" + ")" * 7)
    assert MAX_SIZE / 20 < tree_size(nested, {}) <= MAX_SIZE
    assert tree_size(nested, {}) == sum(1 for _ in sp.preorder_traversal(nested))


def _read_all() -> None:
    for text in [*REFUSED, *MEANINGS]:
        with contextlib.suppress(ExpressionError):
            parse_expression(text)


def test_nothing_is_executed():
    """The interpreter itself reports no code run, file opened or module loaded by any text."""
    events = []
    listening = False

    def listen(event, arguments):
        if listening and event in {"exec", "import", "open", "os.system", "subprocess.Popen"}:
            events.append((event, arguments))

    sys.addaudithook(listen)  # stays for the life of the process; `listening` shuts it
    _read_all()  # SymPy loads parts of itself at first use
    listening = True
    _read_all()
    listening = False
    assert not events
    listening = True
    eval("1")  # noqa: S307 - the control: this is what would have been seen
    listening = False
    assert [event for event, _ in events] == ["exec"]


def test_texts_do_not_grow_the_stack():
    """The reader stays far from the recursion limit that the caller may be close to."""
    deepest = "exp(-" * (MAX_NESTING - 1) + "x" + ")" * (MAX_NESTING - 1)
    limit = sys.getrecursionlimit()
    assert isinstance(parse_expression(deepest), sp.Expr)
    assert sys.getrecursionlimit() == limit


def _sane(text: str) -> None:
    """Either an exact expression in x alone, or the one error with the one form of message."""
    try:
        expression = parse_expression(text)
    except ExpressionError as error:
        message = (error.asked, bool(error.why), bool(error.remedy))
        expression = None
    if expression is None:
        assert message[0].startswith("expression ")
        assert message[1:] == (True, True)
        return
    assert isinstance(expression, sp.Expr)
    assert expression.free_symbols <= {X}
    assert not expression.atoms(sp.Float)
    assert not expression.has(sp.nan, sp.zoo, sp.oo, sp.I)


@given(st.text(max_size=200))
def test_any_text_parses_or_is_refused(text):
    _sane(text)


@given(st.text(alphabet="x19.0e+-*/(),[]{}'\"_:=<>@!&|%~^# \\\n\x00aifлｘ", max_size=80))
def test_any_text_near_the_grammar_parses_or_is_refused(text):
    _sane(text)


def _join(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    names = st.sampled_from([*FUNCTIONS, "x", "eval"])
    return st.one_of(
        st.tuples(children, st.sampled_from(["+", "-", "*", "/", "**", " - -"]), children).map(
            "".join
        ),
        children.map(lambda inner: f"({inner})"),
        st.tuples(names, st.lists(children, min_size=1, max_size=3)).map(
            lambda call: f"{call[0]}({', '.join(call[1])})"
        ),
    )


EXPRESSIONS = st.recursive(
    st.sampled_from(["x", "1", "0", "2", "9", "0.5", "1e-3", "1e40", "64", "pi", "E", "-x", "-1"]),
    _join,
    max_leaves=25,
)


@given(EXPRESSIONS)
def test_any_expression_of_the_grammar_is_bounded(text):
    """Mostly well-formed text, so that the bounds on constants are what decides."""
    _sane(text)


_DIGITS = re.compile(r"(?<![\w.])(\d+\.?\d*|\.\d+)(e[+-]?\d+)?")
MPMATH = {name: getattr(mpmath, name) for name in FUNCTIONS if hasattr(mpmath, name)} | {
    "abs": abs,
    "Abs": abs,
    "ln": mpmath.log,
    "arcsin": mpmath.asin,
    "arccos": mpmath.acos,
    "arctan": mpmath.atan,
    "max": lambda *x: max(x),
    "min": lambda *x: min(x),
    "Max": lambda *x: max(x),
    "Min": lambda *x: min(x),
    "relu": lambda x: max(x, mpmath.mpf(0)),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log(1 + mpmath.exp(x)),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "swish": lambda x: x / (1 + mpmath.exp(-x)),
    "gelu": lambda x: x * mpmath.ncdf(x),
    "arcsinh": mpmath.asinh,
    "sinc": mpmath.sinc,
    "elu": lambda x: x if x > 0 else mpmath.expm1(x),
    "celu": lambda x: x if x > 0 else mpmath.expm1(x),
    "selu": lambda x: _SELU[0] * (x if x > 0 else _SELU[1] * mpmath.expm1(x)),
    "mish": lambda x: x * mpmath.tanh(mpmath.log(1 + mpmath.exp(x))),
    "softsign": lambda x: x / (1 + abs(x)),
    "logsigmoid": lambda x: -mpmath.log(1 + mpmath.exp(-x)),
    "tanhshrink": lambda x: x - mpmath.tanh(x),
    "hardtanh": lambda x: max(-1, min(x, 1)),
    "relu6": lambda x: max(0, min(x, 6)),
    "hardsigmoid": lambda x: max(0, min((x + 3) / 6, 1)),
    "hardswish": lambda x: x * max(0, min((x + 3) / 6, 1)),
    "softshrink": lambda x: mpmath.sign(x) * max(abs(x) - mpmath.mpf(1) / 2, 0),
    "hardshrink": lambda x: x if abs(x) > mpmath.mpf(1) / 2 else mpmath.mpf(0),
}
with mpmath.workdps(150):
    _SELU = tuple(
        map(mpmath.mpf, ("1.0507009873554804934193349852946", "1.6732632423543772848170429916717"))
    )


def _by_python(text: str) -> mpmath.mpf | None:
    """Give the value at x = 0.37 by Python's own reading of the text, in 150-digit arithmetic."""
    with mpmath.workdps(150):
        names = MPMATH | {
            "N": mpmath.mpf,
            "x": mpmath.mpf(37) / 100,
            "pi": +mpmath.pi,
            "E": +mpmath.e,
        }
        try:
            # The text is made in this file, from this file's own parts.
            return eval(_DIGITS.sub(r"N('\g<0>')", text), {"__builtins__": {}}, names)  # noqa: S307
        except (ArithmeticError, ValueError):
            return None


# Rounding decides on which side of a jump an exact zero falls.
@given(EXPRESSIONS.filter(lambda text: "sign" not in text and "eaviside" not in text))
def test_value_is_that_of_python(text):
    try:
        expression = parse_expression(text)
    except ExpressionError:
        return
    expected = _by_python(text)
    if expected is None or isinstance(expected, mpmath.mpc) or not abs(expected) < 1e60:
        return
    found = expression.subs(X, sp.Rational(37, 100)).evalf(30, maxn=200)
    assert found.is_real
    with mpmath.workdps(150):
        error = abs(mpmath.mpf(str(found)) - expected)
        assert error <= 1e-25 * abs(expected) + mpmath.mpf("1e-110")


def test_the_check_by_python_sees_a_wrong_reading():
    """The control: powers taken from the left, as a careless reader would."""
    assert _by_python("2**3**2") == 512
    assert parse_expression("(2**3)**2") != parse_expression("2**3**2") == 512
