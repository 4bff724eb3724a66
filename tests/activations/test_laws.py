"""Laws every registered activation obeys, against integrals at 50 digits and retyped formulas."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from oracles import CONDITIONAL, PHI, PLANE, SLOPE, line_average, pair_average

from resexpand.activations import ACTIVATIONS, activation_law
from resexpand.activations.activation_law import X
from resexpand.activations.arcsine import ArcCorrelation, Area, elementary, reduce_area
from resexpand.conventions import PAIR, K
from resexpand.errors import ExpressionError
from resexpand.gaussian.expectation import pair_moment, second_moment, slope_moment
from resexpand.theory.closure import close

LABEL = sp.Symbol("phi")
CLOSED = [name for name, law in ACTIVATIONS.items() if law.pair]
SMOOTH = [name for name, law in ACTIVATIONS.items() if law.is_smooth]
ODD = ["identity", "erf", "erf_unit", "tanh", "sin", "sign"]


def covariances(count: int) -> list[tuple[float, float, float]]:
    """Random covariances, the fourth to sixth close to full correlation."""
    draw = np.random.default_rng(20231)
    lengths = 10 ** draw.uniform(-1, 1, size=(count, 2))
    correlations = draw.uniform(-1, 1, size=count)
    correlations[3:6] = 0.9999, -0.9999, 1 - 1e-8
    return [
        (float(a * a), float(r * a * b), float(b * b))
        for (a, b), r in zip(lengths, correlations, strict=True)
    ]


def value(expression: sp.Expr, at: dict[sp.Symbol, float], digits: int = 50) -> mp.mpf:
    exact = {symbol: sp.Float(number, digits + 30) for symbol, number in at.items()}
    with mp.workdps(digits):
        return mp.mpf(sp.N(elementary(expression).subs(exact), digits))


def breaks(name: str) -> tuple[float, ...]:
    law = ACTIVATIONS[name]
    return tuple(float(p) for p in (*law.kinks, *law.jumps))


def test_every_activation_is_covered() -> None:
    assert list(ACTIVATIONS) == list(PHI) == list(PLANE)
    assert set(CLOSED) == set(CONDITIONAL)
    assert set(SLOPE) == set(PHI) - {"sign"}
    assert (len(CLOSED), len(SMOOTH), len(ACTIVATIONS)) == (8, 7, 10)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_expression_is_the_function(name: str) -> None:
    expression = ACTIVATIONS[name].expression
    with mp.workdps(30):
        for x in (-7.25, -1.5, -0.125, 0.375, 2.0, 9.5):
            assert mp.almosteq(
                mp.mpf(sp.N(expression.subs(X, sp.Float(x, 40)), 30)), PHI[name](mp.mpf(x)), 1e-25
            )
            assert PLANE[name](np.array(x)) == pytest.approx(float(PHI[name](mp.mpf(x))), rel=1e-13)


# A random one, one that is nearly -1 correlated and one that is nearly 1 in every run.
QUICK = (0, 4, 5)


@pytest.mark.parametrize(
    "covariance",
    [
        pytest.param(entries, marks=[] if index in QUICK else [pytest.mark.slow])
        for index, entries in enumerate(covariances(12))
    ],
)
@pytest.mark.parametrize("name", CLOSED)
def test_closed_pair_average(name: str, covariance: tuple[float, float, float]) -> None:
    derived = value(ACTIVATIONS[name].pair(*PAIR), dict(zip(PAIR, covariance, strict=True)))
    with mp.workdps(50):
        assert mp.almosteq(derived, pair_average(name, covariance), 1e-25, 1e-25)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_closed_variance_and_mean(name: str) -> None:
    law, checked = ACTIVATIONS[name], 0
    for variance in (0.03, 7.0):
        with mp.workdps(50):
            if law.variance:
                integral = line_average(lambda x: PHI[name](x) ** 2, variance, breaks(name))
                assert mp.almosteq(value(law.variance(K), {K: variance}), integral, 1e-40)
                checked += 1
            if law.mean:
                integral = line_average(PHI[name], variance, breaks(name))
                assert mp.almosteq(value(law.mean(K), {K: variance}), integral, 1e-40, 1e-40)
                checked += 1
    assert checked == (0 if name == "silu" else 2 if name == "tanh" else 4)


@pytest.mark.parametrize("name", CLOSED)
def test_the_variance_is_the_pair_at_coincidence(name: str) -> None:
    law = ACTIVATIONS[name]
    assert sp.simplify(elementary(law.pair(K, K, K) - law.variance(K))) == 0
    near = value(law.pair(*PAIR), {PAIR[0]: 0.7, PAIR[1]: 0.7 - 1e-14, PAIR[2]: 0.7})
    assert abs(near - value(law.variance(K), {K: 0.7})) < (1e-6 if name == "sign" else 1e-13)


@pytest.mark.parametrize("name", CLOSED)
def test_symmetries_of_the_pair_average(name: str) -> None:
    pair = ACTIVATIONS[name].pair
    at = dict(zip(PAIR, (0.4, -0.3, 1.7), strict=True))
    with mp.workdps(50):
        assert mp.almosteq(value(pair(*PAIR), at), value(pair(*PAIR[::-1]), at), 1e-45)
        flipped = value(pair(PAIR[0], -PAIR[1], PAIR[2]), at)
        assert mp.almosteq(flipped, -value(pair(*PAIR), at), 1e-45) == (name in ODD)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_parity(name: str) -> None:
    assert ACTIVATIONS[name].is_odd == (name in ODD)
    assert all((PHI[name](mp.mpf(-x)) == -PHI[name](mp.mpf(x))) == (name in ODD) for x in (0.5, 2))


@pytest.mark.parametrize("name", SLOPE)
def test_slope_moment_is_the_coincidence_limit(name: str) -> None:
    law = ACTIVATIONS[name]
    closed = close(slope_moment(LABEL, K), ((LABEL, law),))
    with mp.workdps(50):
        integral = line_average(lambda x: SLOPE[name](x) ** 2, 0.7, breaks(name))
        if name not in CLOSED:
            assert closed.integrand == sp.expand(
                law.derivative(1).subs(X, closed.variables[0]) ** 2
            )
            return
        assert mp.almosteq(value(closed, {K: 0.7}), integral, 1e-40)
        off = close(pair_moment(LABEL, PAIR).diff(PAIR[1]), ((LABEL, law),))
        near = value(off, {PAIR[0]: 0.7, PAIR[1]: 0.7 - 1e-14, PAIR[2]: 0.7})
        assert abs(near - integral) < 1e-6


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_chain(name: str) -> None:
    law = ACTIVATIONS[name]
    with mp.workdps(40):
        for order in range(1, 5):
            for x in (-1.25, 0.5):
                derived = mp.mpf(sp.N(law.derivative(order).subs(X, sp.Float(x, 50)), 40))
                assert mp.almosteq(derived, mp.diff(PHI[name], mp.mpf(x), order), 1e-15, 1e-15)


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_are_numbers_far_out(name: str) -> None:
    # x e^(-x) / (1 + e^(-x))^2 is infinity over infinity at x = -800.
    for order in range(5):
        function = sp.lambdify(X, ACTIVATIONS[name].derivative(order), modules=["scipy", "numpy"])
        with np.errstate(over="ignore"):
            values = [function(np.float64(x)) for x in (-800.0, -30.0, 30.0, 800.0)]
        assert np.isfinite(values).all(), order


def test_relu_off_the_diagonal() -> None:
    """The retyped arc-cosine formulas; ``<phi'' phi>`` is a delta function, not zero."""
    law = ((LABEL, ACTIVATIONS["relu"]),)
    node = pair_moment(LABEL, PAIR)
    for k11, k12, k22 in [(1.0, 0.3, 2.0), (0.5, -0.6, 1.5), (3.0, 1.2, 0.5)]:
        at = dict(zip(PAIR, (k11, k12, k22), strict=True))
        with mp.workdps(50):
            theta = mp.acos(mp.mpf(k12) / mp.sqrt(mp.mpf(k11) * k22))
            root = mp.sqrt(mp.mpf(k11) * k22)
            pair = root / (2 * mp.pi) * (mp.sin(theta) + (mp.pi - theta) * mp.cos(theta))
            slopes = (mp.pi - theta) / (2 * mp.pi)
            delta = mp.sqrt(mp.mpf(k22) / k11) * mp.sin(theta) / (4 * mp.pi)
            mirrored = mp.sqrt(mp.mpf(k11) / k22) * mp.sin(theta) / (4 * mp.pi)
            assert delta > 0.005
            for derived, typed in zip(
                (node, *(node.diff(k) for k in PAIR)), (pair, delta, slopes, mirrored), strict=True
            ):
                assert mp.almosteq(value(close(derived, law), at), typed, 1e-40)


@pytest.mark.parametrize(("name", "slope"), [("erf", 1), ("erf_unit", sp.sqrt(sp.pi) / 2)])
def test_error_functions_retyped(name: str, slope: sp.Expr) -> None:
    q = 2 * slope**2
    law = ((LABEL, ACTIVATIONS[name]),)
    first = 2 * q / sp.pi / ((1 + q * K) * sp.sqrt(1 + 2 * q * K))
    second = -q * first * (1 / (1 + q * K) + 1 / (1 + 2 * q * K))
    a, b, c = PAIR
    slopes = 2 * q / sp.pi / sp.sqrt((1 + q * a) * (1 + q * c) - q**2 * b**2)
    at = {K: 0.6, a: 0.6, b: -0.2, c: 1.1}
    pairs = [
        (second_moment(LABEL, K).diff(K), first),
        (second_moment(LABEL, K).diff(K, 2), second),
        (pair_moment(LABEL, PAIR).diff(b), slopes),
    ]
    for derived, typed in pairs:
        assert mp.almosteq(value(close(derived, law), at), value(typed, at), 1e-45)


def test_a_wrong_coefficient_is_noticed() -> None:
    at = dict(zip(PAIR, (1.0, 0.3, 2.0), strict=True))
    wrong = ACTIVATIONS["relu"].pair(*PAIR) + PAIR[1] / 10**9
    assert not mp.almosteq(value(wrong, at), pair_average("relu", (1.0, 0.3, 2.0)), 1e-11)


def test_area_and_its_normal_form() -> None:
    a, b, c = sp.symbols("a b c", positive=True)
    area, arc = Area(a, b, c), ArcCorrelation(a, b, c)
    at = {a: 1.3, b: 0.8, c: 0.5}
    for node in (area, arc):
        for symbol in (a, b, c):
            by_chain = sp.diff(elementary(node), symbol)
            assert mp.almosteq(value(node.diff(symbol), at), value(by_chain, at), 1e-40)
    quotient = (b - c**2 / a) / area
    assert reduce_area(quotient) == area / a
    for expression in (quotient, (area**3 + c) / area**2, arc.diff(a, 2), area * arc + c):
        assert mp.almosteq(value(reduce_area(expression), at), value(expression, at), 1e-40)
    assert Area(4, 9, 0) == 6
    assert ArcCorrelation(a, a, a) == sp.pi / 2
    assert ArcCorrelation(a, b, sp.Integer(0)) == 0


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        (1 / (X - sp.Rational(1, 3)), "pole at x = 1/3"),
        (X / (X**2 - 2), "pole at x = -sqrt\\(2\\)"),
        (sp.tan(X), "every period"),
        (sp.sqrt(X), "every real value"),
        (sp.log(X), "every real value"),
    ],
    ids=str,
)
def test_functions_that_are_not_finite_everywhere_are_refused(
    expression: sp.Expr, why: str
) -> None:
    with pytest.raises(ExpressionError, match=why):
        activation_law(expression)


def test_a_denominator_without_real_zeros_is_fine() -> None:
    assert activation_law(X / (1 + X**2)).is_smooth
