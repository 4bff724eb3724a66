"""One binding of values: `evaluate`, `sample` and the rest read and refuse the same numbers."""

from __future__ import annotations

import decimal
import fractions
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel, sample
from resexpand.codegen.binding import bind
from resexpand.conventions import exact
from resexpand.errors import DescriptionError, HyperparameterError, KernelError, ResexpandError
from resexpand.expressions.numeric import value_at
from resexpand.measure.given_network import read
from resexpand.montecarlo.concrete import concrete
from resexpand.montecarlo.input_kernel import input_kernel
from resexpand.network.inputs import validated_kernel
from resexpand.network.numbers import listed, real_array, whole_number

RHO, DEPTH, S = sp.Symbol("rho"), sp.Symbol("L"), sp.Symbol("s")
ERF = Activation("erf")
OPEN = ResNet(Branch(ERF, Linear()), scale=RHO, depth=DEPTH)
FIXED = ResNet(Branch(ERF, Linear(1, 0)), scale=RHO, depth=3)


class Tensor:
    """A tensor as PyTorch makes them: trainable, or of a type that NumPy does not know."""

    def __init__(self, values: Any, *, trainable: bool = True, kind: str = "float32") -> None:
        self.values, self.trainable, self.kind = np.asarray(values), trainable, kind
        self.ndim, self.shape = self.values.ndim, self.values.shape

    def detach(self) -> Tensor:
        return Tensor(self.values, trainable=False, kind=self.kind)

    def double(self) -> Tensor:
        return Tensor(self.values, trainable=self.trainable, kind="float64")

    def item(self) -> float:
        return float(self.values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if self.trainable:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        if self.kind == "bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.values if dtype is None else self.values.astype(dtype)


def bound_scale(value: Any) -> Any:
    """Return the scale that a theory is evaluated with."""
    recursion = kernel(FIXED)
    given = {"rho": value, "K0": 1.0}
    point = bind(FIXED, dict(recursion.bindings), {}, given, matrix=False)
    return point.values[RHO]


def sampled_scale(value: Any) -> Any:
    """Return the scale that networks are drawn with."""
    return concrete(FIXED, {"rho": value}).scales[0]


def measured_scale(value: Any) -> Any:
    """Return the scale at which orders of one network are measured."""
    return read(FIXED, np.ones((3, 2, 2)), np.ones(2), scales=value).scales[0]


def described_scale(value: Any) -> Any:
    """Return the scale of a description."""
    return float(ResNet(Branch(ERF, Linear()), scale=value, depth=1).scale)


DOORS = (bound_scale, sampled_scale, measured_scale, described_scale)

SAME = {
    "float": 0.5,
    "fraction": fractions.Fraction(1, 2),
    "decimal": decimal.Decimal("0.5"),
    "rational": sp.Rational(1, 2),
    "constant": sp.sqrt(2) / sp.sqrt(8),
    "float16": np.float16(0.5),
    "float32": np.float32(0.5),
    "longdouble": np.longdouble("0.5"),
    "array without axes": np.array(0.5),
    "trainable tensor": Tensor(0.5),
    "bfloat16 tensor": Tensor(0.5, kind="bfloat16"),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", SAME)
def test_a_half_is_a_half_at_every_door(door: Callable[..., Any], kind: str) -> None:
    assert float(door(SAME[kind])) == 0.5
    assert float(door(0.25)) != 0.5


NO_NUMBERS = {
    "text": "0.5",
    "bytes": b"0.5",
    "true": True,
    "numpy true": np.True_,
    "complex": 0.5 + 0j,
    "numpy complex": np.complex128(0.5),
    "complex array": np.array(0.5 + 0j),
    "masked": np.ma.masked,
    "masked array": np.ma.array(0.5, mask=True),
    "none": None,
    "object": object(),
    "type": float,
    "function": np.sin,
    "SymPy function": sp.sin,
    "SymPy truth": sp.true,
    "imaginary": sp.I,
    "nan": np.nan,
    "infinite": np.inf,
    "infinite decimal": decimal.Decimal("inf"),
    "SymPy nan": sp.nan,
    "duration": np.timedelta64(1, "s"),
    "date": np.datetime64("2020-01-01"),
    "set": {0.5},
    "mapping": {0: 0.5},
    "generator": (0.5 for _ in range(1)),
    "tuple of SymPy": sp.Tuple(0.5),
    "relation": sp.Symbol("x") > 0,
    "integral": sp.Integral(S, (S, 0, 1)),
    "ragged": [[1, 2], [3]],
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_what_is_no_real_number_is_refused_at_every_door(
    door: Callable[..., Any], kind: str
) -> None:
    if door is described_scale and kind == "text":
        # A description takes formulas, and these may be text.
        assert door(NO_NUMBERS[kind]) == 0.5
        return
    with pytest.raises(ResexpandError):
        door(NO_NUMBERS[kind])


def test_arrays_of_numbers() -> None:
    half = [0.5, 0.25]
    for value in (
        half,
        tuple(half),
        np.array(half, dtype=np.float32),
        [sp.Rational(1, 2), fractions.Fraction(1, 4)],
        [Tensor(0.5), Tensor(0.25)],
        Tensor(half),
        Tensor(half, kind="bfloat16"),
        np.array([sp.Rational(1, 2), 0.25], dtype=object),
    ):
        np.testing.assert_array_equal(real_array(value, "rho"), half)
    doubles = np.array(half)
    assert real_array(doubles, "rho") is doubles
    for value in (
        [0.5, True],
        [0.5, "0.5"],
        [0.5, np.ma.masked],
        [0.5, None],
        [0.5, 1j],
        np.ma.array(half, mask=[False, True]),
        np.array([True, False]),
        np.array(half) * 1j,
        [[0.5, 0.5], [0.25]],
    ):
        with pytest.raises(HyperparameterError, match="rho"):
            real_array(value, "rho")


def test_lists_of_scales_have_an_order() -> None:
    for value in ([0.5, 0.25], (0.5, 0.25), np.array([0.5, 0.25]), Tensor([0.5, 0.25])):
        net = ResNet(Branch(ERF, Linear()), scale=value)
        assert net.scale == (sp.Rational(1, 2), sp.Rational(1, 4))
    assert ResNet(Branch(ERF, Linear()), scale=range(1, 3)).depth == 2
    mixed = np.array([S, 0.25], dtype=object)
    assert ResNet(Branch(ERF, Linear()), scale=mixed).scale == (S, sp.Rational(1, 4))
    for value in (
        {0.5, 0.25},
        frozenset({0.5}),
        {0.5: 1},
        {0.5: 1}.keys(),
        iter([0.5]),
        (x for x in [0.5]),
        np.array([[0.5, 0.25]]).view(np.matrix),
        np.eye(2),
        sp.FiniteSet(1, 2),
        sp.Matrix([1, 2]),
        np.ma.array([0.5, 0.25], mask=[True, False]),
    ):
        with pytest.raises(ResexpandError):
            ResNet(Branch(ERF, Linear()), scale=value)
    assert listed(0.5, "scale") is None


@pytest.mark.parametrize("value", [1e3, 1000, np.int32(1000), np.float64(1e3), sp.Integer(1000)])
def test_whole_numbers_of_any_kind(value: Any) -> None:
    assert whole_number(value, "draws", 2) == 1000
    for wrong in (1, 2.5, "1000", True, None, np.array([1000]), 1e30, np.nan, 1 + 0j):
        with pytest.raises(HyperparameterError, match="draws"):
            whole_number(wrong, "draws", 2)


def test_kernels_are_read_like_hyperparameters() -> None:
    for value in (fractions.Fraction(1, 2), Tensor(0.5), sp.Rational(1, 2)):
        assert validated_kernel(value, matrix=False)[0] == 0.5
        assert input_kernel(value, None, None) == [[0.5]]
    for value in ("1", True, 1j, np.ma.masked, {1.0}):
        with pytest.raises(KernelError):
            validated_kernel(value, matrix=False)
        with pytest.raises(KernelError):
            input_kernel(value, None, None)


def bound(net: ResNet, **given: Any) -> Any:
    recursion = kernel(net)
    layered = dict(recursion.layer_bindings)
    return bind(net, dict(recursion.bindings), layered, given, matrix=False)


@pytest.mark.parametrize("call", [bound, lambda net, **given: concrete(net, given)])
def test_names_are_known_asked_for_and_suggested_alike(call: Callable[..., Any]) -> None:
    kernel_of = {"K0": 1.0} if call is bound else {}
    good = {"rho": 0.1, "sigma_w2": 1, "sigma_b2": 0, "depth": 2}
    with pytest.raises(HyperparameterError, match=r"a value of depth, rho, sigma_w2: .*pass depth"):
        call(OPEN, sigma_b2=0, **kernel_of)
    with pytest.raises(HyperparameterError, match=r"'sigma_w'.*did you mean sigma_w2"):
        call(OPEN, **{**good, "sigma_w": 1}, **kernel_of)
    with pytest.raises(HyperparameterError, match=r"'sgma', 'rh'.*mean .*rho"):
        call(OPEN, **{**good, "sgma": 1, "rh": 2}, **kernel_of)
    with pytest.raises(HyperparameterError, match="given twice"):
        call(OPEN, **good, L=2, **kernel_of)
    assert call(FIXED, rho=0.1, depth=3, **kernel_of).depth == 3
    for depth in (4, "3", True, [3]):
        with pytest.raises(HyperparameterError, match="described with depth 3"):
            call(FIXED, rho=0.1, depth=depth, **kernel_of)
    positive = ResNet(Branch(ERF, Linear(1, 0)), scale=sp.Symbol("r", positive=True), depth=3)
    with pytest.raises(HyperparameterError, match="non-negative"):
        call(positive, r=-1.0, **kernel_of)


def test_the_kernel_is_asked_for_with_the_rest() -> None:
    with pytest.raises(HyperparameterError, match=r"pass K0=\.\.\., depth=\.\.\., rho=\.\.\."):
        bound(OPEN, sigma_w2=1, sigma_b2=0)
    net = ResNet(Branch(ERF, Linear(sp.Symbol("K0_w"), 0)), scale=0.1, depth=2)
    assert bound(net, K0=1.0, K0_w=2.0).values[sp.Symbol("K0_w")] == 2.0


def test_a_name_in_another_form_of_unicode() -> None:
    net = ResNet(Branch(ERF, Linear(1, 0)), scale=sp.Symbol("ﬁ"), depth=2)
    assert concrete(net, {"fi": 0.5}).scales == concrete(net, {"ﬁ": 0.5}).scales == (0.5, 0.5)
    both = ResNet(Branch(ERF, Linear(sp.Symbol("fi"), 0)), scale=sp.Symbol("ﬁ"), depth=2)
    found = concrete(both, {"fi": 0.5, "ﬁ": 0.25})
    assert (found.scales[0], found.laws[1]) == (0.25, (0.5, 0.0))


def test_names_of_arguments_are_no_hyperparameters() -> None:
    """All that `evaluate` or `sample` gives a meaning to; K0 and width are symbols as well."""
    named = {*inspect.signature(evaluate).parameters, *inspect.signature(sample).parameters}
    for name in (named | {"depth"}) - {"K0", "width", "hyperparameters"}:
        with pytest.raises(DescriptionError, match=f"called {name}"):
            ResNet(Branch(ERF, Linear(sp.Symbol(name), 0)), scale=1, depth=2)
    named = sp.Symbol("depth")
    assert (
        concrete(ResNet(Branch(ERF, Linear(1, 0)), scale=1, depth=named), {"depth": 2}).depth == 2
    )


def test_expressions_have_the_value_that_sympy_gives() -> None:
    a, b = sp.symbols("a b", positive=True)
    grid = np.array([0.3, 0.7, 2.0])
    for expression in (
        a / sp.sqrt(b),
        sp.exp(-a) + sp.log(b) ** 2 - 3,
        sp.Max(a, b, 1) * sp.Abs(a - b),
        sp.gamma(a) + sp.erf(b),
        sp.Piecewise((a, a < 1), (b**2, True)),
        sp.Rational(1, 3) * sp.pi,
    ):
        found = np.broadcast_to(value_at(expression, {a: grid, b: grid[::-1].copy()}), 3)
        wanted = [
            float(expression.subs({a: sp.Float(x, 30), b: sp.Float(y, 30)}).evalf(30))
            for x, y in zip(grid, grid[::-1], strict=True)
        ]
        np.testing.assert_allclose(found, wanted, rtol=1e-14)
        at = {a: np.asarray(grid[0]), b: np.asarray(grid[1])}
        assert value_at(expression, at).shape == ()
    # A single point keeps its digits where doubles would cancel.
    tiny = value_at(1 - sp.cos(a), {a: np.asarray(1e-9)})
    assert float(tiny) == pytest.approx(5e-19, rel=1e-12)
    assert np.isnan(value_at(sp.log(-a), {a: np.asarray(1.0)}))


def test_exact_numbers() -> None:
    assert exact(decimal.Decimal("0.1")) == exact(fractions.Fraction(1, 10)) == sp.Rational(1, 10)
    assert exact(Tensor(0.1)) == sp.Rational(1, 10)
    assert exact(np.float32(0.5)) == sp.Rational(1, 2)
