"""Short expressions that would never come back are refused at once, and ordinary ones are not.

The measures are bounds: what they say of the second derivative is compared with the derivative
itself. Values at a point are compared with SymPy's own evaluation, which is the one that takes
exponentially long in the nesting.
"""

from __future__ import annotations

import pytest
import sympy as sp

from resexpand import Activation, parse_expression
from resexpand.activations.activation_law import X
from resexpand.activations.at_point import value_at
from resexpand.activations.complexity import MAX_SIZE, _measured
from resexpand.errors import ExpressionError
from resexpand.expressions.bounds import tree_size


def nested(form: str, times: int) -> str:
    text = "x"
    for _ in range(times):
        text = form.replace("@", text)
    return text


REFUSED = {
    "exponential tower": "exp(exp(exp(exp(x))))",
    "tower of hyperbolic sines": "sinh(sinh(sinh(sinh(x))))",
    "tower over a power": "exp(exp(exp(x**64)))",
    "six gelu": nested("gelu(@)", 6),
    "four silu": nested("silu(@)", 4),
    "thirty sigmoid": nested("sigmoid(@)", 30),
    "thirty tanh": nested("tanh(@)", 30),
    "twenty sines": nested("sin(@)", 20),
    "thirty erf": nested("erf(@)", 30),
    "twenty abs": nested("abs(@-1)", 20),
    "fifteen maxima": nested("max(1-(@),x/2)", 15),
    "twenty signs": nested("x-sign(@-1)", 20),
    "power of a power": "((x+1)**64+x)**64",
    "degree 4096 in a switch": "abs((x**64+1)**64-2)",
    "power of a sum": "(tanh(x)+sin(x)+x+1)**64",
    "product of sums": "*".join(f"(sin({k}*x)+cos({k}*x)+x)" for k in range(1, 9)),
}

ACCEPTED = {
    "mish": "x*tanh(softplus(x))",
    "gelu by tanh": "0.5*x*(1+tanh(sqrt(2/pi)*(x+0.044715*x**3)))",
    "gelu of gelu": "gelu(gelu(x))",
    "silu of silu": "silu(silu(x))",
    "three tanh": nested("tanh(@)", 3),
    "three exponentials": "exp(exp(exp(x)))",
    "random features": " + ".join(f"sin({k}*x)/{k}" for k in range(1, 21)),
    "high power": "x**64",
    "power of a binomial": "(x+1)**64",
    "hard tanh": "max(-1, min(1, x))",
    "maximum of five": "max(0, x, 2*x-1, 3*x-3, -x)",
    "three abs": nested("abs(@-1)", 3),
    "bump": "exp(-(x-3)**2)*sin(5*x)",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_not_come_back_is_refused(name: str) -> None:
    expression = parse_expression(REFUSED[name])
    with pytest.raises(ExpressionError, match=r"seconds|neuron takes every real value") as caught:
        Activation(expression)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "factor",
    [sp.Integer(7) ** 5000, 1 / sp.Integer(7) ** 5000, sp.Float("1e400")],
    ids=["huge", "tiny", "float"],
)
def test_numbers_beyond_double_precision_are_named(factor: sp.Expr) -> None:
    with pytest.raises(ExpressionError, match="beyond double precision"):
        Activation(factor * X)
    Activation(sp.Float("1e300") * X)
    Activation(sp.Rational(1, 10**300) * X)


def test_a_maximum_of_many_arguments_is_refused() -> None:
    with pytest.raises(ExpressionError, match="seconds"):
        Activation(sp.Max(*(k * X - k * k for k in range(12))))


@pytest.mark.parametrize("name", ACCEPTED)
def test_ordinary_activations_are_not_refused(name: str) -> None:
    Activation(parse_expression(ACCEPTED[name]))


@pytest.mark.parametrize(
    "name", [n for n in ACCEPTED if not any(kind in n for kind in ("hard", "abs", "maximum"))]
)
def test_the_measure_bounds_the_second_derivative(name: str) -> None:
    expression = parse_expression(ACCEPTED[name])
    true = tree_size(sp.diff(expression, X, 2), {})
    bound = _measured(expression, {}).sizes[2]
    assert true <= bound <= MAX_SIZE
    assert bound < 20 * true


def test_deeper_than_python_recurses() -> None:
    expression = X
    for _ in range(150):
        expression = sp.tanh(expression)
    with pytest.raises(ExpressionError, match="deep"):
        Activation(expression)


@pytest.mark.parametrize("name", ACCEPTED)
@pytest.mark.parametrize("point", [sp.Rational(-16, 7), sp.S.Zero, sp.Rational(5, 7)])
def test_values_are_those_of_sympy(name: str, point: sp.Rational) -> None:
    expression = parse_expression(ACCEPTED[name])
    exact = expression.subs(X, point).evalf(30)
    found = value_at(expression, point)
    assert abs(found - exact) <= 1e-25 * (1 + abs(exact))
    assert abs(value_at(expression + X / 10**20, point + 1) - found) > 1e-25


def test_values_beyond_all_numbers() -> None:
    tower = parse_expression("exp(exp(exp(exp(x))))")
    assert value_at(tower, sp.Integer(10)) == sp.oo
    assert value_at(1 / (1 + tower), sp.Integer(10)) == 0
    assert float(value_at(sp.tanh(tower), sp.Integer(10))) == 1
    assert float(value_at(sp.tanh(-tower), sp.Integer(10))) == -1
    assert not value_at(sp.sin(tower), sp.Integer(10)).is_Float
    # Not beyond: numbers with a trillion digits in front of the point.
    big = value_at(sp.exp(X**2), sp.Integer(10) ** 6)
    assert abs(sp.log(big) - 10**12) < 1e-30
