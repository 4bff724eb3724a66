"""Stated errors bound the true ones: many activations, variances, correlations and quantities.

Two sources of right values. Where the activation is a sum of exponentials, every average of the
order 1/N is a finite sum, taken in 40 digits: sine, exponential and hyperbolic cosine. Averages of
the other activations are constants, the integrals of `integral` in 30 digits, typed here.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from heavier import left_to_slow

from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel
from resexpand.activations import activation_law
from resexpand.numbers.one_loop import hermite_averages
from resexpand.numbers.one_loop.panel_averages import _as_series, covariances

X = sp.Symbol("x", real=True)

# -- four variables -----------------------------------------------------------------------

EXPRESSIONS = {"sine": sp.sin(X), "exponential": sp.exp(X), "catenary": 1 + sp.cosh(X)}
TERMS = {
    "sine": ((-0.5j, 1j), (0.5j, -1j)),
    "exponential": ((1, 1),),
    "catenary": ((0.5, 1), (0.5, -1), (1, 0)),
}
"""Amplitudes and rates."""

CORRELATIONS = (0.0, 0.9, 1 - 1e-6, 1 - 1e-12, 1.0, -1.0)
ORDERS = ((0, 0, 2, 3), (0, 1, 2, 2), (0, 0, 2, 2))
VARIANCES = {"sine": (1e-6, 0.5, 3.0), "exponential": (1e-4, 1.0, 5.0), "catenary": (0.01, 1.0)}


def joint(variance: float, correlation: float, order: tuple[int, ...]) -> np.ndarray:
    """Return the covariance of a later and an earlier pair of a stream."""
    early = variance * np.array([[1, correlation], [correlation, 1]])
    more = early if abs(correlation) == 1 else np.array([[1, 0.95 * correlation]] * 2)
    if abs(correlation) < 1:
        more = variance * np.array([[1, 0.95 * correlation], [0.95 * correlation, 1]])
    whole = np.block([[early + 0.3 * more, early], [early, early]])
    return whole[np.ix_(order, order)]


def exact(name: str, sigma: np.ndarray, same: bool) -> list[mp.mpf]:
    """Return the covariance of the products and its derivatives, sums over exponentials."""
    total = [mp.mpf(0)] * 4
    s = [[mp.mpf(float(v)) for v in row] for row in sigma]

    def exponent(rates: list[mp.mpc], at: tuple[int, ...]) -> mp.mpc:
        return sum(rates[i] * rates[j] * s[i][j] for i in at for j in at) / 2

    for chosen in product(TERMS[name], repeat=4):
        rates = [mp.mpc(rate) for _, rate in chosen]
        whole = mp.exp(exponent(rates, (0, 1, 2, 3)))
        apart = mp.exp(exponent(rates, (0, 1)) + exponent(rates, (2, 3)))
        value = mp.fprod(mp.mpc(a) for a, _ in chosen) * (whole - apart)
        weights = (1, rates[0] ** 2 / 2, rates[0] * rates[1], rates[1] ** 2 / 2)
        total = [t + mp.re(value * w) for t, w in zip(total, weights, strict=True)]
    return [total[0], mp.mpf(0), sum(total[1:]), mp.mpf(0)] if same else total


def relative_errors(
    name: str, variance: float, correlation: float, order: tuple[int, ...]
) -> tuple[float, float, float]:
    """Return the true error of the covariance, the largest one of a derivative, the stated one."""
    sigma, same = joint(variance, correlation, order), order[0] == order[1]
    law = activation_law(EXPRESSIONS[name])
    found, stated = covariances(law, sigma[None], (same, order[2] == order[3]), slopes=True)
    with mp.workdps(40):
        right = exact(name, sigma, same)
        later, earlier = (
            exact(name, sigma[np.ix_(p, p)], False)[0] for p in ((0, 1, 0, 1), (2, 3, 2, 3))
        )
        size = mp.sqrt(later * earlier)
        wrong = [abs(mp.mpf(f) - r) / size for f, r in zip(found[:, 0], right, strict=True)]
    return float(wrong[0]), variance * max(map(float, wrong[1:])), stated


POINTS = [
    (name, variance, correlation, order)
    for name, variances in VARIANCES.items()
    for variance in variances
    for correlation in CORRELATIONS
    for order in ORDERS
    if (order != (0, 0, 2, 2) or correlation == 0)
    # Where exp(x) exp(-x) is constant nothing varies.
    and (name, correlation) != ("exponential", -1.0)
]


@pytest.mark.parametrize("name", left_to_slow(list(EXPRESSIONS), ["catenary"]))
def test_pairs_of_inputs(name: str) -> None:
    """Every stated error bounds the true one, and is small. Counted: 98 points, 196 values."""
    points = [point for point in POINTS if point[0] == name]
    assert len(POINTS) == 98
    for point in points:
        wrong, slope, stated = relative_errors(*point)
        assert wrong <= stated, point
        # Derivatives are stated relative to their own size, here in units of the variance.
        assert slope <= 100 * stated, point
        assert stated < 1e-9, point


def test_a_wrong_covariance_is_beyond_the_stated_error() -> None:
    law, sigma = activation_law(sp.sin(X)), joint(0.5, 0.9, (0, 0, 2, 3))
    found, stated = covariances(law, 1.0001 * sigma[None], (True, False), slopes=False)
    with mp.workdps(40):
        right = exact("sine", sigma, True)[0]
        assert abs(found[0, 0] / right - 1) > 100 * stated


@pytest.mark.parametrize("correlation", CORRELATIONS[:-1])
@pytest.mark.parametrize(("name", "variance"), [("sine", 0.5), ("exponential", 1.0)])
def test_four_variables(name: str, variance: float, correlation: float) -> None:
    wrong, slope, stated = relative_errors(name, variance, correlation, (0, 1, 2, 3))
    assert wrong <= stated
    assert slope <= 100 * stated
    assert stated < 1e-7


COARSE = {
    "few terms": ((8, (0.17, 0.22)),),
    "long steps": ((48, (0.6, 0.7)),),
    "short grid": ((48, (0.17, 0.22)),),
}


@pytest.mark.parametrize("case", COARSE)
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 0, 2, 3), (0, 1, 2, 2)])
def test_a_series_cut_short_says_so(
    case: str, order: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound of the tail, the two rules and the end of the grid each notice what is missing."""
    monkeypatch.setattr(hermite_averages, "LEVELS", COARSE[case])
    monkeypatch.setattr(hermite_averages, "KNOWN", np.inf)
    monkeypatch.setattr(hermite_averages, "_fits", lambda *_: True)
    if case == "short grid":
        monkeypatch.setattr(hermite_averages, "REACH", 4.0)
    hermite_averages._grid.cache_clear()
    try:
        wrong, slope, stated = relative_errors("sine", 3.0, 0.9, order)
    finally:
        hermite_averages._grid.cache_clear()
    assert wrong > 1e-12
    assert wrong <= stated
    assert slope <= 100 * stated
    assert stated > 1e-10


NARROW = {
    "spike": X / 10 + sp.exp(-((1000 * (X - sp.Rational(37, 100))) ** 2)),
    "step": sp.tanh(40 * (X - sp.Rational(1, 3))),
    "wave": sp.sin(60 * X),
}


@pytest.mark.parametrize("name", NARROW)
def test_narrow_features_are_left_to_panels(name: str) -> None:
    """The series is not used where its grid could miss something; for tanh itself it is."""
    for expression, used in ((NARROW[name], False), (sp.tanh(X), True)):
        for order in ORDERS[:2]:
            sigma = joint(1.0, 0.5, order)[None]
            same = order[0] == order[1], order[2] == order[3]
            values, _ = _as_series(activation_law(expression), sigma, same, np.array([0]))
            assert np.isfinite(values).all() == used


SMOOTH = {"tanh": "tanh", "silu": "silu", "softplus": sp.log(1 + sp.exp(X)), "gelu": "gelu"}


@pytest.mark.parametrize("name", left_to_slow(list(SMOOTH), ["silu", "softplus", "gelu"]))
def test_series_and_panels_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ways that share nothing but the activation, within the sum of their errors."""
    law = activation_law(SMOOTH[name])
    for variance, order in ((0.5, (0, 1, 2, 3)), (1.7, (0, 0, 2, 3)), (1.0, (0, 1, 2, 2))):
        sigma, same = (
            joint(variance, 0.4, order)[None],
            (order[0] == order[1], order[2] == order[3]),
        )
        series, error = covariances(law, sigma, same, slopes=True)
        with monkeypatch.context() as patched:
            patched.setattr(hermite_averages, "LEVELS", ())
            panels, more = covariances(law, sigma, same, slopes=True)
        assert error < 1e-10
        assert not (series == panels).all()
        sizes = np.abs(series[:, 0]) + np.abs(series).max()
        assert (np.abs(series - panels)[:, 0] <= 100 * (error + more) * sizes).all()


def test_a_narrow_step() -> None:
    """``tanh(1000 (x - 0.37))`` at two layers: the double integral of `integral`, in 25 digits."""
    sigma = np.ones((1, 4, 4))
    sigma[:, :2, :2] = 1.3
    law = activation_law(sp.tanh(1000 * (X - sp.Rational(37, 100))))
    values, stated = covariances(law, sigma, (True, True), slopes=True)
    assert values[0, 0] == pytest.approx(5.90734621969791777e-7, rel=1e-12)
    assert values[2, 0] == pytest.approx(-1.63877256928889416e-6, rel=1e-9)
    assert 1e-12 < stated < 1e-6


# -- one variable -------------------------------------------------------------------------

KERNELS = (1e-6, 0.01, 0.5, 1.0, 4.0, 20.0, 1000.0, 3e4)
ONE = {
    "steep": sp.tanh(1000 * (X - sp.Rational(37, 100))),
    "softplus": sp.log(1 + sp.exp(X)),
    "infinite slope": X * sp.log(sp.Abs(X)),
    "mish": X * sp.tanh(sp.log(1 + sp.exp(X))),
    "softsign": X / (1 + sp.Abs(X)),
    "growth": sp.exp(X + sp.tanh(X)),
}
"""Activations without closed averages."""

SQUARES = {
    "steep": (
        *(1.0, 0.99999149996002296857, 0.99901598915400679841, 0.99925490362576529788),
        *(0.99960782657742451999, 0.99982219716476798367, 0.99997477040181527545),
        0.99999539342185113314,
    ),
    "softplus": (
        *(0.48045343720502177879, 0.48468839105428872471, 0.69722500441226327642),
        *(0.92124590885930027868, 2.3297814636243053165, 10.192605796606301763),
        *(500.03025381073643022, 15000.00553691893068),
    ),
    "infinite slope": (
        *(0.000043043721232757538458, 0.039886396196003424076, 0.11701671484320456263),
        *(0.36679314445693752412, 5.4119683795011858355, 74.065897881555076907),
        *(14816.141346035822803, 920889.50481301827551),
    ),
    "mish": (
        *(3.6000024959955678456e-7, 0.0036245251799874640602, 0.21358890547504023255),
        *(0.45234219237588277068, 1.9485626544131600972, 9.9680753203407795607),
        *(499.99501635456884304, 14999.999088243649966),
    ),
    "softsign": (
        *(9.9681743629925348965e-7, 0.0075106853456559954396, 0.1283791670955125739),
        *(0.18301402126654749909, 0.32311431356600694077, 0.50887317145967328030),
        *(0.84520582077128911932, 0.95648511481307023359),
    ),
    "growth": (
        *(1.000008000023999998, 1.0823979709443473374, 11.625358652455146538),
        *(45.140386806721643825, 22014.933244505092381, 1739274941520501034.2),
    ),
}
"""``<phi(x)^2>`` at the variances above."""


def integral(function: Callable[[mp.mpf], mp.mpf], variance: float, breaks: list[mp.mpf]) -> mp.mpf:
    """Return ``<phi^2>``: how the constants were made; breaks surround narrow features."""
    with mp.workdps(30):
        scale = mp.sqrt(mp.mpf(variance))
        inside = {b / scale for b in breaks if abs(b) < 13 * scale}
        edges = sorted({mp.mpf(j) / 2 for j in range(-26, 27)} | inside)
        return mp.quad(lambda z: function(scale * z) ** 2 * mp.npdf(z), edges)


@pytest.mark.parametrize("name", left_to_slow(list(ONE), [n for n in ONE if n != "softplus"]))
def test_averages_of_squares(name: str) -> None:
    net = ResNet(Branch(Activation(ONE[name]), Linear(1, 0)), scale=0, depth=1)
    values = evaluate(kernel(net), K0=np.array(KERNELS[: len(SQUARES[name])]))
    stated = values.quadrature_error["C"]
    errors = np.abs(values["C"][:, 0] / np.array(SQUARES[name]) - 1)
    assert (errors <= stated).all()
    assert not (np.abs(errors + 2 * stated) <= stated).any()
    assert stated < 1e-9


def test_how_the_constants_were_made() -> None:
    found = integral(lambda t: mp.log1p(mp.exp(t)), 0.5, [])
    assert found == pytest.approx(SQUARES["softplus"][2], rel=1e-15)
