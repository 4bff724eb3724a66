"""Two-point averages of squared activations against integrals that are written down once more."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from oracles import PLANE, plane_average

from resexpand.activations import activation_law
from resexpand.gaussian import two_point_closed as closed
from resexpand.numbers.one_loop.panel_averages import covariances

X = sp.Symbol("x", real=True)

POINTS = [(0.5, 0.9, 0.5), (1.3, 0.7, 0.7), (0.7, 0.6, -0.3)]
WIDE = [(1e-6, 2e-6, 1e-6), (0.3, 0.31, 0.3), (2.0, 2.0, 2.0), (40.0, 41.0, 40.0), (1e4, 3e4, 1e4)]


def plane_covariance(f, g, point) -> float:
    a, b, c = point
    mean_f = plane_average(lambda x, y: f(x), (a, c, b))
    mean_g = plane_average(lambda x, y: g(y), (a, c, b))
    return plane_average(lambda x, y: (f(x) - mean_f) * (g(y) - mean_g), (a, c, b))


def integral_of_erf(a, b, c, q=2, digits=50):
    """Plackett's integral in the covariance itself, with what it holds left as matrices."""
    with mp.workdps(digits):
        a, b, c, q = map(mp.mpf, (a, b, c, q))
        noise = 1 / q

        def integrand(t):
            known = mp.matrix([[a + noise, t], [t, b + noise]])
            across = mp.matrix([[a, t], [t, b]])
            left = mp.matrix([[a + noise, t], [t, b + noise]]) - across.T * known**-1 * across
            angle = mp.asin(left[0, 1] / mp.sqrt(left[0, 0] * left[1, 1]))
            return angle / mp.sqrt(mp.det(known))

        steps = [1 - mp.mpf(10) ** -k for k in range(8)]
        return 16 / mp.pi**2 * mp.quad(integrand, [c * s for s in steps] + [c])


@pytest.mark.parametrize("point", POINTS)
def test_error_function_against_a_double_integral(point) -> None:
    f = lambda x: PLANE["erf"](x) ** 2  # noqa: E731
    expected = plane_covariance(f, f, point)
    found = float(closed.erf_covariance(*map(np.float64, point), 2.0))
    assert found == pytest.approx(expected, rel=2e-12)
    assert found != pytest.approx(1.0001 * expected, rel=2e-12)


@pytest.mark.parametrize("point", [*POINTS, *WIDE])
def test_error_function_at_fifty_digits(point) -> None:
    expected = integral_of_erf(*point)
    found = float(closed.erf_covariance(*map(np.float64, point), 2.0))
    assert abs(found / expected - 1) < 3e-14
    step = mp.mpf(10) ** -20 * point[0]
    with mp.workdps(50):
        above, below = (integral_of_erf(point[0] + s, *point[1:]) for s in (step, -step))
        slope = (above - below) / (2 * step)
    derivative = float(closed.erf_slope(*map(np.float64, point), 2.0))
    assert abs(derivative / slope - 1) < 3e-14


def test_many_pairs_at_once() -> None:
    a = np.linspace(0.1, 9, 5000).reshape(50, 100)
    found = closed.erf_covariance(a, 2 * a, a, 2.0)
    assert found.shape == a.shape
    one = closed.erf_covariance(a[7, 3], 2 * a[7, 3], a[7, 3], 2.0)
    assert found[7, 3] == pytest.approx(float(one), rel=1e-15)


ENDS = {"relu": (1, 0), "leaky_relu": (1, -0.01), "abs": (1, 1)}
"""Values at 1 and -1."""


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("point", POINTS)
def test_kinks(name: str, point) -> None:
    right, left = ENDS[name]
    even, odd = (right**2 + left**2) / 2, (right**2 - left**2) / 2
    f = lambda x: even * x**2 + odd * x * np.abs(x)  # noqa: E731
    bent = lambda x: even + odd * np.sign(x)  # noqa: E731
    arguments = tuple(map(np.float64, point))
    found = closed.kinked_covariance(*arguments, even, odd)
    assert found == pytest.approx(plane_covariance(f, f, point), rel=2e-12)
    slope = closed.kinked_slope(*arguments, odd)
    assert slope == pytest.approx(plane_covariance(bent, f, point), rel=2e-12, abs=1e-13)


@pytest.mark.parametrize("point", POINTS)
def test_sine(point) -> None:
    f = lambda x: np.sin(x) ** 2  # noqa: E731
    bent = lambda x: np.cos(2 * x)  # noqa: E731
    arguments = tuple(map(np.float64, point))
    expected = plane_covariance(f, f, point), plane_covariance(bent, f, point)
    assert closed.sine_covariance(*arguments, 2.0) == pytest.approx(expected[0], rel=2e-12)
    assert closed.sine_slope(*arguments, 2.0) == pytest.approx(expected[1], rel=2e-12)


def by_panels(expression, early: float, late: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return covariances, slopes and the stated error of one earlier with several later layers."""
    sigma = np.full((late.size, 4, 4), early)
    sigma[:, :2, :2] = late[:, None, None]
    values, error = covariances(activation_law(expression), sigma, (True, True), slopes=True)
    return values[0], values[2], error


@pytest.mark.parametrize("early", [1e-10, 1e-4, 0.3, 3.0, 60.0, 1e6])
def test_panels_against_the_closed_form(early: float) -> None:
    late = early * np.array([1.0, 1.001, 1.5, 9.0])
    found, slope, error = by_panels("erf", early, late)
    start = np.full_like(late, early)
    expected = closed.erf_covariance(late, start, start, 2.0)
    scale = np.sqrt(closed.erf_covariance(late, late, late, 2.0) * expected[0])
    assert (np.abs(found - expected) <= error * scale).all()
    assert not (np.abs(1.001 * found - expected) <= error * scale).all()
    wrong = np.abs(slope - closed.erf_slope(late, start, start, 2.0))
    assert (wrong < 1e-10 * scale / np.sqrt(late * early)).all()
    assert error < 1e-9


def test_panels_of_a_kink_against_the_closed_form() -> None:
    early, late = 0.7, np.array([0.7, 0.71, 1.1, 4.0])
    found, slope, error = by_panels("relu", early, late)
    start = np.full_like(late, early)
    np.testing.assert_allclose(
        found, closed.kinked_covariance(late, start, start, 0.5, 0.5), rtol=1e-13
    )
    np.testing.assert_allclose(
        slope[1:], closed.kinked_slope(late, start, start, 0.5)[1:], rtol=1e-12
    )
    assert error < 1e-11


PAIRS = [(1.3, 1.0), (1.0001, 1.0), (1.2e-6, 1e-6), (18.0, 17.0), (1.0, 1.0)]


@pytest.mark.parametrize("point", PAIRS)
def test_a_square_with_a_kink_that_vanishes(point) -> None:
    """``|x - 1|^2`` is a polynomial: ``Cov = 2 c^2 + 4 c``, and its curvature is constant."""
    a, c = point
    found, slope, error = by_panels(sp.Abs(X - 1), c, np.array([a]))
    scale = np.sqrt((2 * a * a + 4 * a) * (2 * c * c + 4 * c))
    assert abs(found[0] - (2 * c * c + 4 * c)) <= error * scale
    assert abs(slope[0]) <= max(error, 1e-12) * max(scale, 1)
    assert error < 1e-9


@pytest.mark.parametrize("point", [*PAIRS, (30.0, 25.0)])
def test_growth(point) -> None:
    """``exp(x)``: ``Cov = e^{2(a+c)} (e^{4c} - 1)``, and the curvature is twice that."""
    found, slope, error = by_panels(sp.exp(X), point[1], np.array([point[0]]))
    with mp.workdps(40):
        a, c = map(mp.mpf, point)
        covariance, own, start = (
            mp.exp(2 * (p + q)) * mp.expm1(4 * r) for p, q, r in ((a, c, c), (a, a, a), (c, c, c))
        )
        scale = mp.sqrt(own * start)
        assert abs(found[0] - covariance) <= error * scale
        assert abs(slope[0] - 2 * covariance) <= 4 * error * scale
    # The rounding of an exponential grows with its argument, here up to 150.
    assert error < 2e-11


def test_nothing_moves() -> None:
    found, slope, error = by_panels("erf", 0.0, np.array([0.0, 1.0]))
    assert (found == 0).all()
    assert (slope == 0).all()
    assert error == 0
    assert closed.kinked_covariance(np.zeros(1), np.zeros(1), np.zeros(1), 0.5, 0.5) == 0
