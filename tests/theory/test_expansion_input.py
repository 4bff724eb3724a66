"""Bad input: what was asked, why it cannot be, what would work; nothing fails deep inside."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    gated_path_sum,
    remainder_bound,
    residual_expansion,
)
from resexpand.combinatorics import LabelledTree, Tree, arguments
from resexpand.errors import (
    DescriptionError,
    ExpressionError,
    HyperparameterError,
    ResexpandError,
    UnsupportedError,
)

x, y, a = sp.symbols("x y a")


@pytest.mark.parametrize("order", [0, -1, 2.0, "3", None, True, sp.Rational(1, 2)])
def test_orders(order):
    with pytest.raises(HyperparameterError, match="order = "):
        residual_expansion(order, 3)
    with pytest.raises(HyperparameterError, match="order = "):
        residual_expansion(3, 3).truncate(order)


@pytest.mark.parametrize("blocks", [0, -2, 1.5, True, "4"])
def test_numbers_of_blocks(blocks):
    with pytest.raises(HyperparameterError, match="blocks = "):
        residual_expansion(2, blocks)


@pytest.mark.parametrize(
    ("blocks", "options", "error", "said"),
    [
        ([], {}, DescriptionError, "empty"),
        (sp.tanh, {}, DescriptionError, "one block"),
        (x**2, {}, DescriptionError, "one block"),
        ([3], {}, DescriptionError, "int is no block"),
        (["tanh"], {}, DescriptionError, "parse_expression"),
        ([x * y], {}, ExpressionError, "variables="),
        ([a * x], {"variables": x}, ExpressionError, "it uses a, neither"),
        ([x * y], {"variables": (x, y)}, DescriptionError, "list of 2 expressions"),
        ([[x, y]], {}, ExpressionError, "order of its variables"),
        ([[x, y, a]], {"variables": (x, y)}, DescriptionError, "3 expressions in 2"),
        ([[x, a * y]], {"variables": (x, y)}, ExpressionError, "it uses a"),
        ([sp.eye(2)], {"variables": (x, y)}, DescriptionError, "no vector"),
        ([["x", 1]], {"variables": (x, y)}, DescriptionError, "expected a number"),
        ([x], {"variables": "x"}, ExpressionError, "not a SymPy symbol"),
        ([x], {"variables": (x, x)}, ExpressionError, "twice"),
        ([sp.tanh], {"scales": [1, 2]}, HyperparameterError, "2 scales for 1"),
        ([sp.tanh], {"scales": ["b"]}, HyperparameterError, "scale 'b'"),
        ([sp.tanh], {"scales": "b"}, HyperparameterError, "scale 'b'"),
        ([sp.tanh], {"scales": float("nan")}, HyperparameterError, "finite"),
        (None, {"scales": [1, 2]}, HyperparameterError, "symbolic depth"),
    ],
)
def test_blocks_and_scales(blocks, options, error, said):
    with pytest.raises(error, match=said) as caught:
        residual_expansion(3, blocks, **options)
    assert isinstance(caught.value, ResexpandError)


@pytest.mark.parametrize(
    "block",
    [
        Activation("relu"),
        Activation("leaky_relu"),
        Activation("sign"),
        sp.Abs,
        sp.Heaviside,
        sp.Max(0, x),
        sp.Min(x, 1) + sp.tanh(x),
        sp.sqrt(x**2),
        sp.Piecewise((x, x > 0), (0, True)),
        sp.floor(x),
    ],
    ids=str,
)
def test_blocks_that_are_not_smooth_have_no_taylor_terms(block):
    with pytest.raises(UnsupportedError, match="gated_path_sum"):
        residual_expansion(2, [block, sp.tanh])


def test_networks_give_depth_and_scales():
    depth, rho = sp.symbols("L rho")
    net = ResNet(Branch(Activation("tanh"), Linear()), scale=rho, depth=depth)
    assert residual_expansion(2, net).depth == net.depth
    assert str(residual_expansion(2, net)[2][0]) == "rho**2 sum_{1<=i<j<=L} f_j'(f_i)"
    three = residual_expansion(2, ResNet(net.branch, scale=[0.5, rho, 1], depth=3))
    assert three[2][0].scale == rho / 2
    with pytest.raises(DescriptionError, match="its own"):
        residual_expansion(2, net, rho)
    rectified = ResNet(Branch(Linear(), Activation("relu"), Linear()), scale=rho, depth=depth)
    with pytest.raises(UnsupportedError, match=r"relu.*gated_path_sum"):
        residual_expansion(2, rectified)


def test_vectors_and_functions_that_are_not_smooth():
    with pytest.raises(UnsupportedError, match="gated_path_sum"):
        residual_expansion(2, [[x + y, sp.Abs(x)]], variables=(x, y))
    rectified = residual_expansion(2, [lambda state: state.applyfunc(lambda z: sp.Max(0, z))])
    with pytest.raises(UnsupportedError, match=r"gated_path_sum.*"):
        rectified.expression(sp.Matrix([x, y]))


def test_states():
    pair = residual_expansion(2, [[x * y, x + y]], variables=(x, y))
    for state, said in ((x, "a state of 1"), (np.ones(3), "a state of 3"), (1.0, "a state of 1")):
        with pytest.raises(DescriptionError, match=said):
            pair.expression(state)
    scalar = residual_expansion(2, [sp.tanh])
    for state in ("x", None, float("nan"), np.array([1.0, np.inf]), True, np.array([])):
        with pytest.raises(HyperparameterError, match="state"):
            scalar.expression(state)
    with pytest.raises(HyperparameterError, match="real and finite"):
        residual_expansion(2, [sp.log]).expression(0.0)
    with pytest.raises(HyperparameterError, match="real and finite"):
        residual_expansion(2, [sp.log]).expression(sp.Integer(0))
    root = residual_expansion(2, [lambda s: s.applyfunc(lambda z: 1 + sp.sqrt(z))] * 2)
    with pytest.raises(HyperparameterError, match="real and finite"):
        root.expression(sp.Matrix([1, 0]))
    with pytest.raises(UnsupportedError, match="symbolic depth"):
        residual_expansion(2)[2][0].value(sp.Matrix([x, y]))


def test_functions_that_are_no_blocks():
    for function, said in (
        (np.tanh, "TypeError"),
        (lambda state: [state, state], "returned 2"),
        (lambda state: "x", "expected a number"),
    ):
        with pytest.raises(DescriptionError, match=said):
            residual_expansion(2, [function]).expression(x)
    with pytest.raises(DescriptionError, match="returned 1"):
        residual_expansion(2, [lambda state: state[0]]).expression(sp.Matrix([x, y]))


def test_blocks_of_different_lengths():
    longer = sp.Matrix([x, y])
    with pytest.raises(DescriptionError, match="same length"):
        residual_expansion(2, [longer, [x]], variables=(x, y))


def test_more_labels_than_blocks():
    expansion = residual_expansion(3, 2)
    for tree, said in (
        (LabelledTree(3), "label 3, and there are 2 blocks"),
        (LabelledTree(2, [LabelledTree(1)] * 3), "ends at order 3"),
        (Tree(), "belongs to a LabelledTree"),
        ((2, 1), "belongs to a LabelledTree"),
    ):
        with pytest.raises(HyperparameterError, match=said):
            expansion.term(tree)
    with pytest.raises(HyperparameterError, match="coefficient is zero"):
        expansion.diff("lambda_1").term(LabelledTree(2))
    assert residual_expansion(4, 2).counts().distinct[4] == 0
    assert residual_expansion(4, 1)[4] == ()


def test_algebra_that_has_no_meaning():
    one, symbolic = residual_expansion(2, 1), residual_expansion(2)
    with pytest.raises(UnsupportedError, match="the whole network"):
        one.after(symbolic)
    with pytest.raises(UnsupportedError, match="differentiate then"):
        one.after(one.diff("lambda_1"))
    with pytest.raises(TypeError, match="@"):
        one @ 3
    with pytest.raises(DescriptionError, match="int"):
        one.after(3)
    with pytest.raises(HyperparameterError, match="use one of lambda_1"):
        one.diff("mu")
    with pytest.raises(UnsupportedError, match="scale lambda"):
        symbolic.diff("lambda_1")
    with pytest.raises(HyperparameterError, match="cannot be recovered"):
        one.truncate(3)
    shared = residual_expansion(2, [a * x], a, variables=x, parameters=[a])
    with pytest.raises(HyperparameterError, match="depends on it too"):
        shared.diff(a)
    hidden = residual_expansion(2, [lambda z: a * z], a).diff(a)
    with pytest.raises(HyperparameterError, match="f_1 depends on it too"):
        hidden.expression(x)


@pytest.mark.parametrize("depth", [0, -1, 1.5, "n"])
def test_depths_of_counts(depth):
    with pytest.raises(HyperparameterError, match="depth"):
        residual_expansion(2).counts(depth)


def test_what_memory_would_not_hold_is_refused_with_its_size(monkeypatch):
    with pytest.raises(UnsupportedError, match=r"would take about .* [TPE]iB"):
        residual_expansion(6, 100)
    with pytest.raises(UnsupportedError, match="ask for the counts or for symbolic depth"):
        residual_expansion(10**6, 10)
    with pytest.raises(UnsupportedError, match="rooted trees up to order 80"):
        residual_expansion(80)
    monkeypatch.setattr(arguments, "memory_size", lambda: 1000)
    with pytest.raises(UnsupportedError, match="at most 500 bytes"):
        residual_expansion(3, 3)


@pytest.mark.parametrize("blocks", [10**30, 10**9])
def test_absurd_numbers_of_blocks_are_refused_before_one_is_made(blocks):
    with pytest.raises(UnsupportedError, match=r"would take .*iB"):
        residual_expansion(3, blocks)
    with pytest.raises(UnsupportedError, match=r"would take .*iB"):
        gated_path_sum("relu", blocks)


def test_an_array_without_axes_is_one_scale():
    scale = np.array(0.25)
    assert residual_expansion(2, 3, scale).scales == (sp.Rational(1, 4),) * 3
    assert residual_expansion(2, None, scale).scales == sp.Rational(1, 4)
    assert remainder_bound(2, 3, scale).scales == sp.Rational(1, 4)


@pytest.mark.parametrize("block", [sp.nan, sp.zoo * x, sp.oo])
def test_infinite_blocks(block):
    with pytest.raises(ExpressionError, match="not finite"):
        residual_expansion(2, [block])


@pytest.mark.parametrize("block", [sp.Mod(x, 1), sp.frac(x), sp.arg(x)])
def test_blocks_that_jump(block):
    with pytest.raises(UnsupportedError, match="not smooth"):
        residual_expansion(2, [block])


@pytest.mark.parametrize(("block", "at"), [(1 / x, 0.0), (sp.exp(x), 500.0), (sp.exp(x), 1e3)])
def test_poles_and_overflow_give_no_number(block, at):
    expansion = residual_expansion(3, [block, sp.sin(x), block], scales=1)
    with pytest.raises(HyperparameterError, match="finite"):
        expansion.expression(at)
    with pytest.raises(HyperparameterError, match="finite"):
        expansion[3][0].value(at)


@pytest.mark.parametrize("state", [[[1, 2], [3]], [[x, 2], [3]]])
def test_ragged_states(state):
    with pytest.raises(HyperparameterError, match="length"):
        residual_expansion(2, [x**2]).expression(state)


@pytest.mark.parametrize("block", [sp.Abs(x), sp.Abs(x) ** 3])
def test_what_is_said_of_kinks_is_true_of_curved_pieces_too(block):
    with pytest.raises(UnsupportedError, match="no derivatives of every order"):
        residual_expansion(2, [block])
