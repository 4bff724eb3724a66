"""A network is described exactly, prints as what it is, and refuses what cannot exist."""

from __future__ import annotations

import copy
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy as sp
from uncompiled import evaluate

from resexpand import Activation, Branch, Linear, ResNet, kernel
from resexpand.activations import ACTIVATIONS
from resexpand.conventions import SIGMA_B2, SIGMA_W2, exact
from resexpand.errors import DescriptionError, ExpressionError, UnsupportedError

X, A, RHO, DEPTH = sp.symbols("x a rho L")
BRANCH = Branch(Activation("erf"), Linear())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1, sp.Rational(1, 10)),
        (1.2, sp.Rational(6, 5)),
        (1e-3, sp.Rational(1, 1000)),
        (1e300, sp.Integer(10) ** 300),
        (3, sp.Integer(3)),
        (np.float64(0.3), sp.Rational(3, 10)),
        (np.int64(7), sp.Integer(7)),
        (np.array(0.25), sp.Rational(1, 4)),
        (Fraction(1, 3), sp.Rational(1, 3)),
        (Decimal("0.1"), sp.Rational(1, 10)),
        (sp.Rational(2, 7), sp.Rational(2, 7)),
        (sp.Float("0.1") * A, A / 10),
        (sp.pi / 2, sp.pi / 2),
    ],
)
def test_numbers_are_exact(value: Any, expected: sp.Expr) -> None:
    assert exact(value) == expected
    assert not exact(value).atoms(sp.Float)


@pytest.mark.parametrize("value", [True, "0.1", None, [1.0], 1j, object()])
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(TypeError, match="expected a number or a SymPy expression"):
        exact(value)


def test_a_linear_keeps_its_variances() -> None:
    linear = Linear(weight_variance=1.2, bias_variance=0.05)
    assert (linear.weight_variance, linear.bias_variance) == (sp.Rational(6, 5), sp.Rational(1, 20))
    assert repr(linear) == "Linear(weight_variance=6/5, bias_variance=1/20)"
    assert (Linear().weight_variance, Linear().bias_variance) == (SIGMA_W2, SIGMA_B2)
    assert Linear(0, 0) == Linear(0.0, 0)
    assert hash(Linear(1.2, 0)) == hash(Linear(sp.Rational(6, 5), 0))


@pytest.mark.parametrize("name", ["weight_variance", "bias_variance"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "must not be below 0"),
        (-1e-30, "must not be below 0"),
        (float("nan"), "not a finite real number"),
        (float("inf"), "not a finite real number"),
        (sp.I, "not a finite real number"),
        (1j, "expected a number"),
        ("-1", "must not be below 0"),
        (True, "expected a number"),
        (None, "expected a number"),
    ],
)
def test_bad_variances(name: str, value: Any, message: str) -> None:
    with pytest.raises(DescriptionError, match=rf"{name} = .*{message}"):
        Linear(**{name: value})


def test_activations_by_name_and_by_expression() -> None:
    assert len(ACTIVATIONS) == 10
    for name, law in ACTIVATIONS.items():
        activation = Activation(name)
        assert activation.name == name
        assert repr(activation) == f'Activation("{name}")'
        # The same function written out is the same activation, whatever the symbol is called.
        written = law.expression.subs(activation.variable, sp.Symbol("u", real=True))
        assert Activation(written) == activation
    assert Activation(0.1 * X).expression == Activation(X / 10).expression
    assert Activation(X**3).name == "x**3"
    assert Activation(X**3).derivative(2).subs(Activation(X**3).variable, 2) == 12


@pytest.mark.parametrize(
    ("expression", "kinks", "jumps"),
    [
        (sp.Abs(X), [0], []),
        (sp.Max(0, X - 1), [1], []),
        (sp.Min(1, X) + sp.Abs(X + 1), [-1, 1], []),
        (sp.Heaviside(X - 1), [], [1]),
        (sp.sign(X**2 - 2), [], [-sp.sqrt(2), sp.sqrt(2)]),
        (X * sp.Abs(X), [0], []),
        (sp.Piecewise((X**2, X > 0), (0, True)), [0], []),
        (sp.Piecewise((1, X > 2), (0, True)), [], [2]),
        (sp.Piecewise((X, X > 0), (sp.Integer(-1) + X, True)), [], [0]),
        (sp.tanh(X), [], []),
        (sp.Abs(X) ** 2, [], []),
    ],
)
def test_kinks_and_jumps_are_found(expression: sp.Expr, kinks: list, jumps: list) -> None:
    activation = Activation(expression)
    assert list(activation.kinks) == kinks
    assert list(activation.jumps) == jumps


BAD_ACTIVATIONS = {
    "unknown name": (
        "softmax",
        DescriptionError,
        "no activation of this name.*use one of identity",
    ),
    "text of another variable": ("y**2", ExpressionError, "unknown name y"),
    "name that is code": ("__import__('os').system('true')", ExpressionError, "not a named"),
    "no name": (1.5, DescriptionError, "neither a name nor"),
    "two symbols": (A * X, ExpressionError, "exactly one symbol.*found a, x"),
    "no symbol": (sp.Integer(3), ExpressionError, "found none"),
    "pole": (1 / X, ExpressionError, "real and finite on the whole line"),
    "half line": (sp.sqrt(X), ExpressionError, "real and finite on the whole line"),
    "interval": (sp.erfinv(X), ExpressionError, "real and finite on the whole line"),
    "unknown function": (sp.Function("f")(X), ExpressionError, "real and finite"),
}


@pytest.mark.parametrize("case", BAD_ACTIVATIONS)
def test_bad_activations(case: str) -> None:
    function, error, message = BAD_ACTIVATIONS[case]
    with pytest.raises(error, match=message):
        Activation(function)


BAD_BRANCHES = {
    "empty": ((), DescriptionError, "a branch needs an operation"),
    "a name": (("erf",), DescriptionError, "'erf' in a branch: it is not an operation"),
    "a class": ((Linear,), DescriptionError, "it is not an operation"),
    "no weights": ((Activation("erf"),), UnsupportedError, "no random weights"),
    "two activations": (
        (Activation("erf"), Activation("relu"), Linear()),
        UnsupportedError,
        "one expression in x",
    ),
    "activation at both ends": (
        (Activation("erf"), Linear(), Activation("erf")),
        UnsupportedError,
        "begin or end the branch with a Linear",
    ),
}


@pytest.mark.parametrize("case", BAD_BRANCHES)
def test_bad_branches(case: str) -> None:
    ops, error, message = BAD_BRANCHES[case]
    with pytest.raises(error, match=message):
        Branch(*ops)


BAD_NETWORKS = {
    "no branch": ({"branch": Linear()}, "it is not a Branch"),
    "depth zero": ({"depth": 0}, "depth = 0: it must not be below 1"),
    "depth negative": ({"depth": -2}, "must not be below 1"),
    "depth not whole": ({"depth": 2.5}, "not an integer"),
    "depth nan": ({"depth": float("nan")}, "not a finite real number"),
    "depth text": ({"depth": "3.5"}, "depth = 3.5: it is not an integer"),
    "depth list": ({"depth": [3]}, "expected a number"),
    "no depth": ({"depth": None}, "give depth="),
    "scale nan": ({"scale": float("nan")}, "scale = nan: it is not a finite real number"),
    "scale infinite": ({"scale": float("inf")}, "scale = inf: it is not a finite real number"),
    "scale complex": ({"scale": sp.I}, "not a finite real number"),
    "scale infinite in one block": ({"scale": [0.1, float("inf"), 0.2]}, "not a finite real"),
    "too few scales": ({"scale": [0.1, 0.2]}, "2 scales for depth 3.*one scale per block"),
    "no scales": ({"scale": [], "depth": None}, "must not be below 1"),
    "scales for a symbolic depth": ({"scale": [0.1, 0.2], "depth": DEPTH}, "2 scales for depth L"),
    "read-in": ({"read_in": Activation("erf")}, "read_in .* it is not linear"),
    "read-out": ({"read_out": 1.0}, "read_out 1.0: it is not linear"),
    "one name, two symbols": (
        {"scale": sp.Symbol("sigma_w2")},
        "two different symbols called sigma_w2",
    ),
}


@pytest.mark.parametrize("case", BAD_NETWORKS)
def test_bad_networks(case: str) -> None:
    change, message = BAD_NETWORKS[case]
    fields: dict[str, Any] = {"branch": BRANCH, "scale": RHO, "depth": 3, **change}
    with pytest.raises(DescriptionError, match=message):
        ResNet(fields.pop("branch"), **fields)


@pytest.mark.parametrize("text", ["rho +", "a b", "open('f')", "1j", "nan", "-inf"])
def test_texts_that_are_no_expressions(text: str) -> None:
    with pytest.raises(ExpressionError, match="expression"):
        ResNet(BRANCH, scale=text, depth=3)
    assert ResNet(BRANCH, scale="1/2", depth="3") == ResNet(BRANCH, scale=0.5, depth=3)


def test_a_network_says_what_it_is() -> None:
    net = ResNet(BRANCH, scale=0.5, depth=4, read_in=Linear(1, 0), read_out=Linear(2, 0))
    assert repr(net) == (
        'ResNet(Branch(Activation("erf"), Linear(weight_variance=sigma_w2, '
        "bias_variance=sigma_b2)), scale=1/2, depth=4, "
        "read_in=Linear(weight_variance=1, bias_variance=0), "
        "read_out=Linear(weight_variance=2, bias_variance=0))"
    )
    assert net.free_symbols == {SIGMA_W2, SIGMA_B2}
    assert net._repr_latex_() == (
        r"$\displaystyle \begin{aligned} h^{l} &= h^{l-1} + \frac{1}{2} \, \left[ W^{l} "
        r"\phi(h^{l-1}) + b^{l} \right], \qquad l = 1, \dots, 4 \\ "
        r"y &= W_{\mathrm{out}} h^{4} \\ "
        r"\phi(x) &= \operatorname{erf}(x) \\ "
        r"W_{ij}^{l} &\sim \mathcal{N}\!\left(0, \sigma_{w}^{2} / N_{\mathrm{in}}\right), "
        r"\qquad b_{i}^{l} \sim \mathcal{N}\!\left(0, \sigma_{b}^{2}\right) \\ "
        r"W_{\mathrm{in},ij} &\sim \mathcal{N}\!\left(0, 1 / N_{\mathrm{in}}\right) \\ "
        r"W_{\mathrm{out},ij} &\sim \mathcal{N}\!\left(0, 2 / N_{\mathrm{in}}\right) "
        r"\end{aligned}$"
    )
    with pytest.raises(AttributeError):
        net.depth = 5  # type: ignore[misc]
    assert net == ResNet(BRANCH, scale=0.5, depth=4, read_in=Linear(1, 0), read_out=Linear(2, 0))
    assert net != ResNet(BRANCH, scale=0.5, depth=4)


@pytest.mark.parametrize("function", [*ACTIVATIONS, X * sp.tanh(X), sp.Max(-1, sp.Min(1, X))])
def test_a_description_travels_to_another_process(function: str | sp.Expr) -> None:
    net = ResNet(Branch(Activation(function), Linear()), scale=A, depth=4, read_in=Linear(1, 0))
    for sent in (net, kernel(net)):
        assert pickle.loads(pickle.dumps(sent)) == copy.deepcopy(sent) == sent  # noqa: S301


def test_the_branch_keeps_the_order_of_the_data() -> None:
    branch = Branch(Linear(1, 0), Activation("relu"), Linear(2, 0))
    assert [type(op).__name__ for op in branch.ops] == ["Linear", "Activation", "Linear"]
    assert [op.weight_variance for op in branch.linears] == [1, 2]
    assert branch.opening == ()
    assert len(BRANCH.opening) == 1


def test_scales_may_differ_between_blocks() -> None:
    net = ResNet(BRANCH, scale=(A, 0.5, 2 * A))
    assert net.scale == (A, sp.Rational(1, 2), 2 * A)
    assert net.depth == 3
    assert net.free_symbols == {A, SIGMA_W2, SIGMA_B2}
    assert ResNet(BRANCH, scale=np.array([0.1, 0.2])).scale == (
        sp.Rational(1, 10),
        sp.Rational(1, 5),
    )
    assert ResNet(BRANCH, scale=np.array(0.3), depth=2).scale == sp.Rational(3, 10)
    # A negative or vanishing scale is a network like any other.
    assert ResNet(BRANCH, scale=-0.5, depth=2).scale == -sp.Rational(1, 2)


def test_texts_are_expressions_with_the_depth_as_a_name() -> None:
    branch = Branch(Activation("relu"), Linear("3/2", "s_b"))
    given = {"s_b": 0.1, "K0": 1.0}
    for depth in (5, sp.Symbol("L"), "L", sp.Symbol("D")):
        net = ResNet(branch, scale="c/sqrt(L)", depth=depth)
        more = {} if depth == 5 else {"depth": 5}
        last = evaluate(kernel(net), c=2, **given, **more)["K"][-1]
        number = ResNet(branch, scale=2 / sp.sqrt(5), depth=5)
        assert last == pytest.approx(evaluate(kernel(number), **given)["K"][-1], rel=1e-14)
        assert last != pytest.approx(evaluate(kernel(net), c=2.1, **given, **more)["K"][-1])
    per_block = ResNet(branch, scale=["1/L", "2/L"], depth=2)
    assert per_block.scale == (sp.Rational(1, 2), 1)
    with pytest.raises(ExpressionError, match="never closed"):
        ResNet(branch, scale="1/sqrt(L", depth=2)
