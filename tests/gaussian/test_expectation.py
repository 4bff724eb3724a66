"""Price's theorem: derivatives of formal averages are derivatives of the integrals.

The witnesses do not know the theorem. One variable: differences of integrals at 50 digits. Two
variables: the derivative of the Gaussian density, averaged in the plane.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations_with_replacement, product

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from heavier import left_to_slow
from oracles import PHI, PLANE, line_average, plane_average, reference_average
from sympy.core.function import ArgumentIndexError

from resexpand.activations import ACTIVATIONS, activation_law
from resexpand.activations.activation_law import ActivationLaw
from resexpand.conventions import PAIR, K
from resexpand.errors import UnsupportedError
from resexpand.gaussian.expectation import (
    GaussianExpectation,
    Nonlinearity,
    integration_variables,
    mean_value,
    pair_moment,
    second_moment,
    slope_moment,
)
from resexpand.gaussian.quadrature import panel_rule
from resexpand.theory.closure import close

LABEL = sp.Symbol("phi")
(X1D,) = integration_variables(1)
X1, X2 = integration_variables(2)
A, B = sp.symbols("a b", positive=True)
U = sp.Symbol("u", real=True)

CUSTOM: dict[str, tuple[sp.Expr, Callable, Callable]] = {
    "bump": (U * sp.exp(-(U**2)), lambda x: x * mp.exp(-(x**2)), lambda x: x * np.exp(-(x**2))),
    "abs": (sp.Abs(U), abs, np.abs),
    "shifted": (sp.Max(0, U - 1), lambda x: max(x - 1, mp.mpf(0)), lambda x: np.maximum(x - 1, 0)),
    "step": (
        sp.Heaviside(U - sp.Rational(1, 2)),
        lambda x: mp.mpf(x > 0.5),
        lambda x: np.where(x > 0.5, 1.0, 0.0),
    ),
}
NAMES = [*ACTIVATIONS, *CUSTOM]


def law_of(name: str) -> ActivationLaw:
    return ACTIVATIONS[name] if name in ACTIVATIONS else activation_law(CUSTOM[name][0])


def breaks_of(law: ActivationLaw) -> tuple[float, ...]:
    return tuple(float(p) for p in (*law.kinks, *law.jumps))


def mp_function(name: str) -> Callable:
    return PHI[name] if name in PHI else CUSTOM[name][1]


def plane_function(name: str) -> Callable:
    return PLANE[name] if name in PLANE else CUSTOM[name][2]


def line_value(expression: sp.Expr, law: ActivationLaw, variance: mp.mpf) -> mp.mpf:
    """Value of a formal expression in `K`: closed forms, else the averages that are left."""
    at = close(expression, ((LABEL, law),)).subs(K, sp.Float(variance, 60))
    averages = {}
    for node in at.atoms(GaussianExpectation):
        function = sp.lambdify(node.variables, node.integrand, modules="mpmath")
        value = line_average(function, variance, breaks_of(law))
        averages[node] = sp.Float(value, 60)
    return mp.mpf(sp.N(at.xreplace(averages), 50))


def difference(function: Callable[[mp.mpf], mp.mpf], at: mp.mpf, order: int) -> mp.mpf:
    """Central difference in 50 digits: 20 digits for the first order, 12 for the second."""
    if order == 1:
        h = mp.mpf(10) ** -11
        return (function(at + h) - function(at - h)) / (2 * h)
    h = mp.mpf(10) ** -7
    return (function(at + h) - 2 * function(at) + function(at - h)) / h**2


AVERAGES = {
    "variance": (second_moment, lambda phi: lambda x: phi(x) ** 2),
    "mean": (mean_value, lambda phi: phi),
}


@pytest.mark.parametrize("shape", AVERAGES)
@pytest.mark.parametrize("name", NAMES)
def test_one_variable(name: str, shape: str) -> None:
    law, (node, integrand) = law_of(name), AVERAGES[shape]
    with mp.workdps(50):
        variance = mp.mpf("0.7")

        def integral(k: mp.mpf) -> mp.mpf:
            return line_average(integrand(mp_function(name)), k, breaks_of(law))

        assert mp.almosteq(
            line_value(node(LABEL, K), law, variance), integral(variance), 1e-40, 1e-40
        )
        first = difference(integral, variance, 1)
        assert mp.almosteq(line_value(node(LABEL, K).diff(K), law, variance), first, 1e-18, 1e-18)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("tanh", "relu", "shifted") else [pytest.mark.slow])
        for name in NAMES
    ],
)
def test_one_variable_second_order(name: str) -> None:
    law = law_of(name)
    with mp.workdps(50):
        variance = mp.mpf("0.7")
        expected = difference(
            lambda k: line_average(lambda x: mp_function(name)(x) ** 2, k, breaks_of(law)),
            variance,
            2,
        )
        derived = line_value(second_moment(LABEL, K).diff(K, 2), law, variance)
        assert mp.almosteq(derived, expected, 1e-11, 1e-11)


def test_a_missing_one_half_is_noticed() -> None:
    with mp.workdps(50):
        variance = mp.mpf("0.7")
        expected = difference(lambda k: line_average(lambda x: mp.tanh(x) ** 2, k), variance, 1)
        derived = line_value(second_moment(LABEL, K).diff(K), ACTIVATIONS["tanh"], variance)
        assert mp.almosteq(derived, expected, 1e-18)
        assert not mp.almosteq(2 * derived, expected, 0.1)


def density_ratio(orders: tuple[int, int, int]) -> Callable:
    """``(d^n p / dK^n) / p`` of the Gaussian density in the plane, differentiated by SymPy."""
    a, b, c = sp.symbols("a b c")
    determinant = a * c - b**2
    exponent = -(c * X1**2 - 2 * b * X1 * X2 + a * X2**2) / (2 * determinant)
    density = sp.exp(exponent) / sp.sqrt(determinant)
    derived = density
    for symbol, order in zip((a, b, c), orders, strict=True):
        derived = sp.diff(derived, symbol, order)
    return sp.lambdify((X1, X2, a, b, c), sp.simplify(derived / density), modules="numpy")


RATIO = {n: density_ratio(n) for n in product(range(3), repeat=3) if 0 < sum(n) < 3}
COVARIANCE = (0.8, 0.35, 1.3)


def plane_value(expression: sp.Expr, law: ActivationLaw) -> float:
    at = close(expression, ((LABEL, law),)).subs(dict(zip(PAIR, COVARIANCE, strict=True)))
    averages = {}
    for node in at.atoms(GaussianExpectation):
        function = sp.lambdify(node.variables, node.integrand, modules=["scipy", "numpy"])
        averages[node] = plane_average(
            lambda x, y, f=function: np.broadcast_to(f(x, y), x.shape),
            COVARIANCE,
            (0.0, *breaks_of(law)),
        )
    return float(sp.N(at.xreplace(averages), 30))


@pytest.mark.parametrize("name", left_to_slow(NAMES, ["gelu"]))
def test_two_variables(name: str) -> None:
    law, phi = law_of(name), plane_function(name)
    checked = 0
    for orders, ratio in RATIO.items():
        node = GaussianExpectation(pair_moment(LABEL, PAIR).base, (X1, X2), PAIR, orders)
        expected = plane_average(
            lambda x, y, r=ratio: phi(x) * phi(y) * r(x, y, *COVARIANCE),
            COVARIANCE,
            (0.0, *breaks_of(law)),
        )
        assert plane_value(node, law) == pytest.approx(expected, rel=1e-10, abs=1e-11), orders
        checked += 1
    assert checked == 9


@pytest.mark.parametrize("name", ["erf", "tanh", "relu"])
def test_derivatives_commute(name: str) -> None:
    node, law = pair_moment(LABEL, PAIR), law_of(name)
    for a, b in combinations_with_replacement(PAIR, 2):
        assert node.diff(a).diff(b) == node.diff(b).diff(a)
    assert node.diff(PAIR[0], PAIR[1]).orders == (1, 1, 0)
    assert plane_value(node.diff(PAIR[0], PAIR[1]), law) == pytest.approx(
        plane_value(node.diff(PAIR[1], PAIR[0]), law)
    )


def test_the_integrand_of_a_multi_index() -> None:
    phi = [Nonlinearity(LABEL, n, x) for x in (X1, X2) for n in range(5)]
    first, second = phi[:5], phi[5:]
    node = GaussianExpectation(first[0] * second[0], (X1, X2), PAIR, (1, 1, 1))
    # d/dK11 gives phi''/2 at x_1, d/dK12 one more derivative at both, d/dK22 phi''/2 at x_2.
    assert sp.expand(node.integrand - first[3] * second[3] / 4) == 0
    squared = GaussianExpectation(Nonlinearity(LABEL, 0, X1D) ** 2, (X1D,), (K,), (1,))
    f0, f1, f2 = (Nonlinearity(LABEL, n, X1D) for n in range(3))
    assert sp.expand(squared.integrand - (f1**2 + f0 * f2)) == 0


def test_differentiation_follows_the_chain_rule() -> None:
    node = second_moment(LABEL, A**2 * B)
    raised = GaussianExpectation(node.base, node.variables, node.covariance, (1,))
    assert node.diff(A) == 2 * A * B * raised
    assert node.diff(B) == A**2 * raised
    assert node.diff(K) == 0
    inside = GaussianExpectation(sp.sin(A * X1D), (X1D,), (A * K,))
    expected = GaussianExpectation(X1D * sp.cos(A * X1D), (X1D,), (A * K,)) + K * (
        GaussianExpectation(sp.sin(A * X1D), (X1D,), (A * K,), (1,))
    )
    assert sp.expand(inside.diff(A) - expected) == 0


def test_bound_variables_are_not_symbols_of_the_value() -> None:
    node = pair_moment(LABEL, (A, B, A + 1))
    assert node.free_symbols == {A, B}
    assert node.bound_symbols == [X1, X2]
    assert GaussianExpectation(sp.cos(B * X1D), (X1D,), (K,)).free_symbols == {B, K}
    assert node.diff(X1) == 0


def test_substitution_reaches_the_covariance_and_spares_the_bound_variables() -> None:
    node = second_moment(LABEL, K)
    assert node.subs(K, 2 * A) == second_moment(LABEL, 2 * A)
    assert node.subs(X1D, 3) == node
    swapped = pair_moment(LABEL, PAIR).subs({PAIR[0]: PAIR[2], PAIR[2]: PAIR[0]}, simultaneous=True)
    assert swapped == pair_moment(LABEL, PAIR[::-1])
    differentiated = second_moment(LABEL, K).diff(K)
    assert differentiated.subs(K, A).orders == (1,)
    assert node.with_covariance((A,)) == second_moment(LABEL, A)
    inside = GaussianExpectation(sp.cos(B * X1D), (X1D,), (K,))
    assert inside.subs(B, 2) == GaussianExpectation(sp.cos(2 * X1D), (X1D,), (K,))


def test_what_cannot_be_an_average() -> None:
    with pytest.raises(ValueError, match="2 variables need 3 entries"):
        GaussianExpectation(X1 * X2, (X1, X2), (A, B))
    with pytest.raises(ValueError, match="one derivative order per covariance entry"):
        GaussianExpectation(X1D, (X1D,), (K,), (1, 0))
    with pytest.raises(ArgumentIndexError):
        Nonlinearity(LABEL, 0, X1D).fdiff(1)


def test_the_reference_average_and_the_rules() -> None:
    with mp.workdps(50):
        closed = 2 / mp.pi * mp.asin(mp.mpf(2) / 3)
        assert mp.almosteq(reference_average(lambda x: mp.erf(x) ** 2, (1.0,)), closed, 1e-48)
        kinked = reference_average(lambda x: abs(x - 1), (1.0,), (1.0,))
        assert mp.almosteq(kinked, 2 * mp.npdf(1) + 1 - 2 * mp.ncdf(-1), 1e-48)
    for resolution, degree in (("fine", 31), ("coarse", 23)):
        nodes, weights = panel_rule(resolution)
        assert weights @ nodes**degree == pytest.approx(1 / (degree + 1), rel=1e-13)
        # Far beyond its degree a rule fails.
        assert weights @ nodes ** (6 * degree) != pytest.approx(1 / (6 * degree + 1), rel=1e-6)


def test_averages_that_do_not_exist_are_refused() -> None:
    for law in (ACTIVATIONS["sign"], law_of("step")):
        with pytest.raises(UnsupportedError, match="without jumps"):
            close(slope_moment(LABEL, K), ((LABEL, law),))


@pytest.mark.parametrize("variance", [0.1, 1.0, 19.0])
def test_erf_against_ball_arithmetic(variance: float) -> None:
    flint = pytest.importorskip("flint", reason="python-flint is not installed")
    flint.ctx.dps = 40
    root = flint.acb(variance).sqrt()
    cover = flint.acb(1) / (2 * flint.acb.pi()).sqrt()

    def average(function: Callable) -> object:
        return flint.acb.integral(
            lambda z, _: function(root * z) * (-(z**2) / 2).exp() * cover, -14, 14
        )

    def psi(x: object) -> object:
        # erf'^2 + erf erf''
        slope = 2 * (-(x**2)).exp() / flint.acb.pi().sqrt()
        return slope**2 - 2 * x * slope * x.erf()

    law = ACTIVATIONS["erf"]
    with mp.workdps(50):
        pairs = [
            (second_moment(LABEL, K), average(lambda x: x.erf() ** 2)),
            (second_moment(LABEL, K).diff(K), average(psi)),
        ]
        for expression, ball in pairs:
            value = line_value(expression, law, mp.mpf(variance))
            assert abs(mp.mpf(ball.real.mid().str(40, radius=False)) - value) < mp.mpf(10) ** -35
