"""Gaussian averages by quadrature against values at high precision: the stated error bounds theirs.

The cases are those that a fixed rule misses: steep and narrow features, kinks that no `Abs` spells,
singular slopes, nearly parallel inputs under a step, mass far from the origin, and averages that do
not exist.
"""

from __future__ import annotations

from dataclasses import replace

import mpmath as mp
import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel, response
from resexpand.activations import activation_law
from resexpand.activations.singularities import breakpoints
from resexpand.codegen.exponentials import stable_exponentials
from resexpand.errors import ExpressionError
from resexpand.expressions.arrays import array_values
from resexpand.gaussian.panels import panel_edges

X = sp.Symbol("x", real=True)
STEP = sp.Rational(37, 100)


def found(function: sp.Expr | Activation, start: object, inputs: int = 1):
    activation = function if isinstance(function, Activation) else Activation(function)
    net = ResNet(Branch(activation, Linear(1, 0)), scale=0, depth=1)
    return evaluate(kernel(net, inputs=inputs), K0=start)


def without_closed_forms(function: sp.Expr) -> Activation:
    """Return an activation whose averages are left to quadrature.

    Routines are kept by expression: give one that no other test evaluates by its closed form.
    """
    activation = Activation(function)
    law = replace(activation.law, pair=None, variance=None, mean=None)
    activation.__dict__["law"] = law
    return activation


def exact(function, variance: float, breaks=(), far: int = 16) -> mp.mpf:
    with mp.workdps(25):
        scale = mp.sqrt(variance)
        inside = [mp.mpf(b) / scale for b in breaks if abs(b) < far * scale]
        edges = sorted({*map(mp.mpf, range(-far, far + 1)), *inside})
        return mp.quad(lambda z: function(scale * z) ** 2 * mp.npdf(z), edges)


HALVES = tuple(mp.mpf(k) / 2 for k in range(-80, 81))
CASES = {
    "steep": (
        sp.tanh(1000 * (X - STEP)),
        lambda t: mp.tanh(1000 * (t - mp.mpf(37) / 100)),
        (0.36, 0.37, 0.38),
        (0.1, 1.0, 3e4),
    ),
    "hidden kink": (sp.sqrt(X**2 - 2 * X + 1), lambda t: abs(t - 1), (1,), (1.0, 20.0)),
    "infinite slope": (
        X * sp.log(sp.Abs(X)),
        lambda t: t * mp.log(abs(t)) if t else mp.mpf(0),
        (0,),
        (1e-6, 1.0),
    ),
    "growth": (sp.exp(X + sp.tanh(X)), lambda t: mp.exp(t + mp.tanh(t)), HALVES, (1.0, 20.0)),
    "softplus": (
        sp.log(1 + sp.exp(X)),
        lambda t: mp.log1p(mp.exp(t)) if t < 60 else t,
        HALVES,
        (1.0, 3e4),
    ),
}
QUICK = ("steep", "growth")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in CASES]
)
def test_the_stated_error_bounds_the_true_one(name: str) -> None:
    expression, function, breaks, variances = CASES[name]
    values = found(expression, np.array(variances))
    assert values.status == "ok"
    assert values.quadrature_error["C"] < 1e-9
    for value, variance in zip(values["C"][:, 0], variances, strict=True):
        error = abs(value / exact(function, variance, breaks, 30) - 1)
        assert error <= values.quadrature_error["C"]
        # A value that is wrong by twice the stated error is caught.
        assert abs(error + 2 * values.quadrature_error["C"]) > values.quadrature_error["C"]


@pytest.mark.parametrize("gap", [1e-6, 1e-12])
def test_nearly_parallel_inputs_under_a_step(gap: float) -> None:
    start = np.array([[1, 1 - gap], [1 - gap, 1]])
    evaluated = found(without_closed_forms(sp.Heaviside(2 * X - 2)), start, inputs=2)
    values = evaluated["C"][0]
    assert evaluated.quadrature_error["C"] < 1e-13
    # Owen's T: <step step> = Phi(-1) - 2 T(1, sqrt((1 - c)/(1 + c))).
    with mp.workdps(30):
        left = 1 - mp.mpf(float(start[0, 1]))
        slope = mp.sqrt(left / (2 - left))
        owen = mp.quad(lambda t: mp.exp(-(1 + t**2) / 2) / (1 + t**2), [0, slope]) / (2 * mp.pi)
    difference = values[0, 0] - values[0, 1]
    allowed = evaluated.quadrature_error["C"] * values[0, 0]
    assert difference == pytest.approx(float(2 * owen), abs=allowed)
    assert difference != pytest.approx(1.001 * float(2 * owen), abs=allowed)


def test_identical_inputs_stay_identical_under_a_step() -> None:
    step = without_closed_forms(sp.Heaviside(2 * X - 2))
    net = ResNet(Branch(step, Linear(1, 0.1)), scale=1, depth=12)
    values = evaluate(kernel(net, inputs=2), K0=np.full((2, 2), 0.7))["K"]
    assert (values[:, 0, 1] == values[:, 0, 0]).all()


@pytest.mark.slow
def test_an_average_that_is_infinite_is_named() -> None:
    function = sp.exp(X**2 / 10) * (2 + sp.tanh(X))
    values = found(function, np.array([1.0, 2.6]))
    assert np.isfinite(values["C"][0, 0])
    assert np.isinf(values["C"][1, 0])
    assert "the Gaussian average of its square is infinite from a variance of 2.5 on" in (
        values.status
    )


KINKS = {
    "hidden": (sp.sqrt(X**2 - 2 * X + 1), (1,), ()),
    "celu": (sp.Max(0, X) + sp.Min(0, 2 * (sp.exp(X / 2) - 1)), (0,), ()),
    "elu": (sp.Heaviside(X) * X + (1 - sp.Heaviside(X)) * (sp.exp(X) - 1), (0,), ()),
    "hard": (
        sp.Heaviside(X - 1)
        - sp.Heaviside(-X - 1)
        + X * (sp.Heaviside(X + 1) - sp.Heaviside(X - 1)),
        (-1, 1),
        (),
    ),
    "late step": (sp.Heaviside(sp.exp(X) - 2), (), (sp.log(2),)),
    "nested": (sp.Abs(sp.Abs(X) - 1), (-1, 0, 1), ()),
    "smooth": (sp.log(1 + sp.exp(X)), (), ()),
}


@pytest.mark.parametrize("name", KINKS)
def test_singular_points_follow_from_the_function(name: str) -> None:
    expression, kinks, jumps = KINKS[name]
    law = activation_law(expression)
    assert (law.kinks, law.jumps) == (kinks, jumps)
    assert not law.derivative(1).has(sp.DiracDelta)


def test_a_periodic_kink() -> None:
    kinks = activation_law(sp.asin(sp.sin(X))).kinks
    assert sp.pi / 2 in kinks
    assert -sp.pi / 2 in kinks
    assert 0 not in kinks
    assert breakpoints(sp.Abs(sp.sin(X)), X)[:1] == (-12 * sp.pi,)


WAVES = {
    "asin of sin": (sp.asin(sp.sin(X)), lambda x: np.sign(np.cos(x)), (1.0, 4.0)),
    "acos of cos": (sp.acos(sp.cos(X)), lambda x: np.sign(np.sin(x)), (1.0,)),
    "asin of tanh": (sp.asin(sp.tanh(X)), lambda x: 1 / np.cosh(x), (0.1, 9.0)),
    "acos of the cosine of a bend": (
        sp.acos(sp.cos(2 * X + sp.tanh(X))),
        lambda x: np.sign(np.sin(2 * x + np.tanh(x))) * (2 + 1 / np.cosh(x) ** 2),
        (),
    ),
}


@pytest.mark.parametrize("name", WAVES)
def test_slopes_of_triangle_waves_keep_their_digits(name: str) -> None:
    """Where ``1 - sin(x)^2`` vanishes its root loses half of the digits. Control: that root."""
    expression, slope, variances = WAVES[name]
    law = activation_law(expression)
    near = np.array([p + side * 1e-7 for p in map(float, law.kinks) for side in (-1, 1)])
    x = np.concatenate([np.linspace(-9, 9, 300), near[np.abs(near) < 20]])
    np.testing.assert_allclose(array_values(law.derivative(1), X, x), slope(x), rtol=1e-13)
    if law.kinks:
        plain = pointwise_of(sp.diff(expression, X))
        assert np.abs(array_values(plain, X, near) / slope(near) - 1).max() > 1e-5
    for variance in variances:
        net = ResNet(Branch(Activation(expression), Linear(1, 0)), scale=1, skip=0, depth=1)
        found = evaluate(response(net, "tangent"), K0=variance, outputs="chi_0")["chi_0"][1]
        right = exact(mp.sech, variance) if "tanh" in name else 1
        assert found == pytest.approx(float(right), rel=2e-14)


def pointwise_of(derivative: sp.Expr) -> sp.Expr:
    return derivative.replace(sp.DiracDelta, lambda *_: sp.S.Zero)


def test_a_symbol_of_one_sign_is_refused() -> None:
    positive = sp.Symbol("x", positive=True)
    with pytest.raises(ExpressionError, match="is assumed positive"):
        activation_law(sp.Max(0, positive))
    assert activation_law(sp.Max(0, sp.Symbol("x"))).name == "relu"


def test_a_limit_at_a_point_is_enough() -> None:
    assert activation_law(X * sp.log(sp.Abs(X))).kinks == (0,)
    for expression in (sp.log(sp.Abs(X)), 1 / X):
        with pytest.raises(ExpressionError):
            activation_law(expression)


FORMS = {
    "softplus": sp.log(1 + sp.exp(X)),
    "logsigmoid": sp.log(1 / (1 + sp.exp(-X))),
    "silu": X / (1 + sp.exp(-X)),
    "mish": X * sp.tanh(sp.log(1 + sp.exp(X))),
    "tanh": (sp.exp(X) - sp.exp(-X)) / (sp.exp(X) + sp.exp(-X)),
    "logcosh": sp.log(sp.cosh(X)),
}


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("name", FORMS)
def test_stable_forms(name: str, order: int) -> None:
    plain = sp.diff(FORMS[name], X, order)
    stable = stable_exponentials(plain, (X,))
    near = np.linspace(-20, 20, 81)
    np.testing.assert_allclose(
        array_values(stable, X, near), array_values(plain, X, near), rtol=1e-12, atol=1e-14
    )
    far = np.array([-1e8, -2000.0, 2000.0, 1e8])
    assert np.isfinite(array_values(stable, X, far)).all()
    if order:
        assert not np.isfinite(array_values(plain, X, far)).all()


def test_edges_are_dense_where_a_function_is_steep() -> None:
    def edges_of(expression: sp.Expr, special: tuple[float, ...]) -> np.ndarray:
        return panel_edges(lambda x: array_values(expression, X, x)[None], special)

    steep = edges_of(sp.tanh(1000 * (X - STEP)), (0.37,))
    assert np.diff(steep)[np.searchsorted(steep, 0.37)] < 0.01
    plain = edges_of(sp.tanh(X), (0.0,))
    assert np.diff(plain).min() >= 0.5
    np.testing.assert_array_equal(plain, -plain[::-1])
