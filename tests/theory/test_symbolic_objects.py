"""SymPy's objects at every door that takes expressions: functions work, what is no scalar is named.

An object that is no scalar expression was once taken for a constant: its derivative is zero, so
all orders from the second on were zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    Linear,
    Majorant,
    ResNet,
    gated_path_sum,
    majorant_of,
    order_profile,
    parse_expression,
    quantile_law,
    remainder_bound,
    residual_expansion,
    sample,
)
from resexpand.conventions import exact
from resexpand.errors import ResexpandError
from resexpand.network.inputs import validated_kernel

x, y, s = sp.symbols("x y s")
A = sp.MatrixSymbol("A", 2, 2)
BRANCH = Branch(Activation("erf"), Linear(1, 0))
NET = ResNet(BRANCH, scale=s, depth=2)

NO_SCALARS: dict[str, Any] = {
    "Tuple": sp.Tuple(x, 1),
    "relation": x > 0,
    "equation": sp.Eq(x, 1),
    "Poly": sp.Poly(x**2, x),
    "Integral": sp.Integral(x, (x, 0, 1)),
    "Sum": sp.Sum(x, (x, 0, 3)),
    "Product": sp.Product(x, (x, 1, 3)),
    "Derivative": sp.Derivative(sp.Function("f")(x), x),
    "Limit": sp.Limit(sp.sin(x) / x, x, 0),
    "Subs": sp.Subs(sp.Derivative(sp.Function("f")(x), x), x, 1),
    "Order": sp.O(x),
    "Piecewise with a gap": sp.Piecewise((x, x > 0)),
    "Piecewise with nan": sp.Piecewise((x, x > 0), (sp.nan, True)),
    "truth": sp.true,
    "FiniteSet": sp.FiniteSet(1, 2),
    "Interval": sp.Interval(0, 1),
    "MatrixSymbol": A,
    "matrix product": A * A,
    "matrix element": A[0, 0],
    "trace": sp.Trace(A),
    "quaternion": sp.Quaternion(1, 0, 0, 0),
    "bounds": sp.AccumBounds(0, 1),
    "Dict": sp.Dict({x: 1}),
    "operator": sp.Symbol("q", commutative=False),
    "sum with an integral": sp.sin(x) + sp.Integral(x**2, x),
    "integral inside": sp.exp(sp.Sum(x, (x, 0, 3))),
    "Python truth": True,
    "complex": 1j,
    "set": {1, 2},
}

DOORS: dict[str, Callable[[Any], Any]] = {
    "exact": exact,
    "block": lambda v: residual_expansion(2, [v, v], variables=x),
    "block without variables": lambda v: residual_expansion(2, [v, v]),
    "entry of a block": lambda v: residual_expansion(2, [[v, x]], variables=(x, y)),
    "blocks": lambda v: residual_expansion(2, v),
    "scale of an expansion": lambda v: residual_expansion(2, 2, scales=v),
    "one of the scales": lambda v: residual_expansion(2, 2, scales=[v, 1]),
    "state": lambda v: residual_expansion(2, [x, x], variables=x).expression(v),
    "number of blocks": lambda v: residual_expansion(2, 2).counts(v),
    "derivative": lambda v: residual_expansion(2, 2).diff(v),
    "activation": Activation,
    "weight variance": lambda v: Linear(v, 0),
    "bias variance": lambda v: Linear(1, v),
    "scale": lambda v: ResNet(BRANCH, scale=v, depth=2),
    "scales": lambda v: ResNet(BRANCH, scale=[v, 1], depth=2),
    "depth": lambda v: ResNet(BRANCH, scale=1, depth=v),
    "kernel": lambda v: validated_kernel(v, matrix=False),
    "quantile": quantile_law,
    "weights": lambda v: sample(NET, "kernel", 4, 2, s=1, K0=1, weights=v),
    "text": parse_expression,
    "variable of a text": lambda v: parse_expression("x", v),
    "majorant": lambda v: Majorant.analytic(v, 1),
    "function of a majorant": lambda v: majorant_of(v, 1),
    "depth of a bound": lambda v: remainder_bound(2, v, 1, Majorant.analytic(1, 1)),
    "scale of a bound": lambda v: remainder_bound(2, 2, v, Majorant.analytic(1, 1)),
    "depth of paths": lambda v: gated_path_sum("relu", v),
    "scale of paths": lambda v: gated_path_sum("relu", 2, v),
    "order of a profile": lambda v: order_profile(NET, v),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", NO_SCALARS)
def test_no_door_takes_it_for_a_constant(door: str, kind: str) -> None:
    error = TypeError if door == "exact" else ResexpandError
    with pytest.raises(error):
        DOORS[door](NO_SCALARS[kind])


MORE = {
    "Matrix": (sp.Matrix([1, 2]), ("exact", "scale", "weight variance", "depth", "activation")),
    "Array": (sp.Array([1, 2]), ("exact", "weight variance", "depth", "activation", "scale")),
    "Indexed": (sp.IndexedBase("l")[1], ("exact", "scale", "weight variance", "activation")),
    "function": (sp.Function("f"), ("exact", "scale", "weight variance", "depth", "activation")),
    "sine": (sp.sin, ("exact", "scale", "weight variance", "depth", "quantile", "state")),
    "Lambda": (sp.Lambda(x, x**2), ("exact", "scale", "weight variance", "depth", "quantile")),
    "Lambda of two": (sp.Lambda((x, y), x * y), ("block", "activation", "scale")),
    "Mod": (sp.Mod, ("block", "activation", "scale")),
}


@pytest.mark.parametrize(
    ("kind", "door"), [(kind, door) for kind, (_, doors) in MORE.items() for door in doors]
)
def test_what_has_a_meaning_elsewhere_has_none_here(kind: str, door: str) -> None:
    with pytest.raises(TypeError if door == "exact" else ResexpandError):
        DOORS[door](MORE[kind][0])


def test_the_message_names_the_object() -> None:
    for kind, name in (("Integral", "Integral"), ("Tuple", "Tuple"), ("MatrixSymbol", "MatrixSym")):
        with pytest.raises(ResexpandError, match=name):
            Linear(NO_SCALARS[kind], 0)
    with pytest.raises(ResexpandError, match=r"by \.doit\(\)"):
        Activation(sp.Integral(x**2, x) + x)


def test_functions_of_sympy_are_blocks() -> None:
    square = residual_expansion(3, [x**2, x**2], variables=x)
    for block in (sp.Lambda(y, y**2), lambda z: z**2):
        found = residual_expansion(3, [block, block])
        assert sp.expand(found.expression(x) - square.expression(x)) == 0
        assert [len(found[k]) for k in found] == [len(square[k]) for k in square]
    other = residual_expansion(3, [sp.Lambda(y, y**3)] * 2)
    assert sp.expand(other.expression(x) - square.expression(x)) != 0
    # Order by order: (1 + l2 f)(1 + l1 f) x with f = x^2 is x + l1 x^2 + l2 (x + l1 x^2)^2.
    l1, l2 = sp.symbols("lambda_1 lambda_2")
    whole = sp.expand(x + l1 * x**2 + l2 * (x + l1 * x**2) ** 2)
    assert sp.expand(residual_expansion(3, [sp.Lambda(y, y**2)] * 2).expression(x) - whole) == 0
    sine = residual_expansion(3, [sp.sin, sp.sin]).expression(x)
    assert sine == residual_expansion(3, [sp.Lambda(y, sp.sin(y))] * 2).expression(x)


def test_a_lambda_of_a_vector_and_one_with_parameters() -> None:
    turn = residual_expansion(2, [sp.Lambda((x, y), (y, -x))] * 2, scales=s)
    found = turn.expression(sp.Matrix([x, y]))
    step = sp.Matrix([[1, s], [-s, 1]])
    assert sp.expand(found - step**2 * sp.Matrix([x, y])) == sp.zeros(2, 1)
    with pytest.raises(ResexpandError, match="uses s"):
        residual_expansion(2, [sp.Lambda(x, s * x)])
    residual_expansion(2, [sp.Lambda(x, s * x)], parameters=[s])
    with pytest.raises(ResexpandError, match="nested"):
        residual_expansion(2, [sp.Lambda(((x, y),), x * y)])


def test_functions_of_sympy_are_activations() -> None:
    assert Activation(sp.tanh) == Activation("tanh") == Activation(sp.Lambda(y, sp.tanh(y)))
    assert Activation(sp.Lambda(y, y * sp.tanh(y))) == Activation("x*tanh(x)")
    assert Activation("x*tanh(x)").expression == Activation(x * sp.tanh(x)).expression
    assert Activation("x*tanh(x)") != Activation("x*sin(x)")
    assert Activation("x") == Activation("identity")
    for wrong in ("x*", "y**2", "tanhh(x)", "__import__('os')", "", "reluu"):
        with pytest.raises(ResexpandError):
            Activation(wrong)


def test_pieces_that_cover_the_line_are_taken() -> None:
    real = sp.Symbol("x", real=True)
    for whole in (
        sp.Piecewise((real, real > 0), (0, real <= 0)),
        sp.Piecewise((-1, real < -1), (real, (real >= -1) & (real < 1)), (1, real >= 1)),
        sp.Piecewise((x, sp.Abs(x) > 1), (0, True)),
    ):
        assert exact(whole).free_symbols == whole.free_symbols
    assert exact(sp.CRootOf(x**5 - x - 1, 0)).is_number


def test_indexed_scales_keep_their_meaning() -> None:
    base = sp.IndexedBase("a")
    assert residual_expansion(2, 2, scales=base).scales == (base[1], base[2])
    assert residual_expansion(2, 2, scales=[base[1], base[2]]).scales == (base[1], base[2])
