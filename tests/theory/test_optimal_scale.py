"""Optimal scales against the retyped conditions, and the order at which finite depth gets there."""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from heavier import left_to_slow

from resexpand import Activation, Branch, Linear, ResNet, evaluate, optimal_scale, response
from resexpand.codegen.values import Values
from resexpand.conventions import DEPTH, K0, RHO, SIGMA_B2, SIGMA_W2
from resexpand.errors import HyperparameterError, KernelError, UnsupportedError
from resexpand.theory.closure import close_elementary
from resexpand.theory.optimal_scale import K_STAR

Q = mp.pi / 2
"""``q = 2 a^2`` of the error function with slope one at the origin."""


def network(name: str | sp.Expr = "erf_unit") -> ResNet:
    return ResNet(Branch(Activation(name), Linear()), scale=RHO, depth=DEPTH)


def optimum(name: str | sp.Expr = "erf_unit", kind: str = "variance", **changed: float) -> Values:
    given = {"K0": 0.05, "depth": 20, "sigma_w2": 1.0, "sigma_b2": 0.0, **changed}
    return evaluate(optimal_scale(network(name), kind), **given)


def moment(k: mp.mpf) -> mp.mpf:
    return 2 / mp.pi * mp.asin(Q * k / (1 + Q * k))


def first(k: mp.mpf) -> mp.mpf:
    return 2 * Q / mp.pi / ((1 + Q * k) * mp.sqrt(1 + 2 * Q * k))


def second(k: mp.mpf) -> mp.mpf:
    return -Q * first(k) * (1 / (1 + Q * k) + 1 / (1 + 2 * Q * k))


def growth(k: mp.mpf, w: float, b: float) -> mp.mpf:
    return mp.mpf(w) * moment(k) + mp.mpf(b)


def variance_star(w: float = 1.0, b: float = 0.0) -> mp.mpf:
    return mp.findroot(
        lambda k: second(k) * growth(k, w, b) + mp.mpf(w) * first(k) ** 2,
        (1e-3, 3.0),
        solver="anderson",
    )


def covariance_star(w: float = 1.0, b: float = 0.0) -> mp.mpf:
    u = mp.sin(1 - mp.pi / 2 * mp.mpf(b) / mp.mpf(w))
    return u / (Q * (1 - u))


def constant(start: float, star: mp.mpf, w: float = 1.0, b: float = 0.0) -> mp.mpf:
    inner = [mp.mpf(start) * (star / mp.mpf(start)) ** (mp.mpf(i) / 8) for i in range(9)]
    return mp.sqrt(mp.quad(lambda k: 1 / growth(k, w, b), inner))


@pytest.mark.parametrize(("w", "b"), [(1.0, 0.0), (1.3, 0.02), (0.5, 0.1)])
def test_variance(w: float, b: float) -> None:
    star = variance_star(w, b)
    found = optimum(sigma_w2=w, sigma_b2=b, K0=0.03)
    assert found.status == "ok"
    assert found["K_star"] == pytest.approx(float(star), rel=1e-12)
    assert found["c"] == pytest.approx(float(constant(0.03, star, w, b)), rel=1e-12)


@pytest.mark.parametrize(("w", "b"), [(1.0, 0.0), (1.3, 0.02), (0.5, 0.1)])
def test_covariance(w: float, b: float) -> None:
    star = covariance_star(w, b)
    found = optimum(kind="covariance", sigma_w2=w, sigma_b2=b)
    assert found["K_star"] == pytest.approx(float(star), rel=1e-12)
    assert found["c"] == pytest.approx(float(constant(0.05, star, w, b)), rel=1e-12)
    closed = optimal_scale(network(), "covariance").kernel_star
    assert closed is not None
    at = {SIGMA_W2: sp.Rational(str(w)), SIGMA_B2: sp.Rational(str(b))}
    with mp.workdps(40):
        exact = covariance_star(mp.mpf(str(w)), mp.mpf(str(b)))
        # `Q` was made at 15 digits; the ratio to it is what is closed.
        assert mp.almosteq(mp.mpf(sp.N(closed.rhs.subs(at), 30)), exact, 1e-14)


def test_the_published_numbers() -> None:
    assert f"{optimum()['K_star']:.4f}" == "0.3888"
    assert f"{optimum(kind='covariance')['K_star']:.3f}" == "3.379"


def test_closed_form_of_the_sine() -> None:
    # V = (1 - e^{-2K})/2: the condition is linear in e^{-2K}.
    closed = optimal_scale(network("sin")).kernel_star
    assert closed is not None
    expected = sp.log(2 * SIGMA_W2 / (SIGMA_W2 + 2 * SIGMA_B2)) / 2
    for w, b in [(1, 0), (2, sp.Rational(1, 3))]:
        difference = (closed.rhs - expected).subs({SIGMA_W2: w, SIGMA_B2: b})
        assert abs(sp.N(difference, 40)) < 1e-38
    found = optimum("sin", sigma_w2=2.0, sigma_b2=1 / 3)
    assert found["K_star"] == pytest.approx(np.log(4 / (2 + 2 / 3)) / 2, rel=1e-12)


def test_the_condition_is_the_retyped_one() -> None:
    condition = optimal_scale(network()).condition
    assert condition.rhs == 0
    for k in (0.1, 0.5, 2.0):
        at = {sp.Symbol("K", positive=True): k, SIGMA_W2: 1.25, SIGMA_B2: 0.25}
        derived = float(close_elementary(condition.lhs, condition.laws).subs(at))
        typed = second(k) * growth(k, 1.25, 0.25) + 1.25 * first(k) ** 2
        assert derived == pytest.approx(float(typed), rel=1e-12)
        wrong = second(k) * growth(k, 1.25, 0.25) + 1.25 * first(k) ** 2 / 2
        assert derived != pytest.approx(float(wrong), rel=1e-2)


def simpson_error(ratio: float) -> float:
    """Relative error of Simpson's rule for ``c^2`` if ``K* / K0`` is `ratio`."""
    theory, star = optimal_scale(network()), variance_star()
    at = {K0: float(star) / ratio, K_STAR: float(star), SIGMA_W2: 1, SIGMA_B2: sp.Rational(1, 5)}
    approximate = float(theory.simpson.closed().subs(at))
    return abs(approximate / float(constant(float(star) / ratio, star, 1.0, 0.2)) ** 2 - 1)


def test_simpson_is_good_to_its_order() -> None:
    # The error of c^2 falls like the fifth power of ln(K*/K0), c^2 itself like the first.
    errors = [simpson_error(np.exp(h)) for h in (1.6, 0.8, 0.4)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders == pytest.approx([4, 4], abs=0.6)


def brute_force(name: str, depth: int, start: float, around: float) -> float:
    """Scale of the largest output response on a grid, refined by a parabola through the top."""
    scales = around * np.linspace(0.5, 4.0, 3001)
    given = {"depth": depth, "sigma_w2": 1.0, "sigma_b2": 0.0, "K0": start}
    eta = evaluate(response(network(name)), rho=scales, **given)["eta"]
    top = int(eta.argmax())
    assert 0 < top < eta.size - 1
    left, middle, right = np.log(eta[top - 1 : top + 2])
    shift = (left - right) / (2 * (left - 2 * middle + right))
    return float(scales[top] + shift * (scales[1] - scales[0]))


@pytest.mark.parametrize("depth", [1, 3, 20])
@pytest.mark.parametrize("name", ["erf_unit", "sin"])
def test_finite_depth_is_the_argmax_of_the_response(name: str, depth: int) -> None:
    found = optimum(name, depth=depth)
    searched = brute_force(name, depth, 0.05, float(found["c"] / np.sqrt(depth)))
    assert found["rho"] == pytest.approx(searched, rel=1e-6)


@pytest.mark.parametrize("kind", ["variance", "covariance"])
def test_finite_depth_approaches_the_limit_at_first_order(kind: str) -> None:
    depths = np.array([100, 200, 400, 800])
    found = [optimum(kind=kind, depth=int(depth)) for depth in depths]
    errors = np.array(
        [v["rho"] * np.sqrt(d) / v["c"] - 1 for v, d in zip(found, depths, strict=True)]
    )
    assert (errors > 0).all()
    ratios = errors[1:] / errors[:-1]
    assert ratios == pytest.approx([0.5, 0.5, 0.5], abs=0.03)
    # The ratios themselves tend to one half.
    assert abs(ratios[-1] - 0.5) < abs(ratios[0] - 0.5)


def test_the_sizes_stated_for_finite_depth() -> None:
    deep, shallow = optimum(depth=400), optimum(depth=10)
    assert 0 < deep["rho"] * 20 / deep["c"] - 1 < 0.004
    assert 0.04 < shallow["rho"] * np.sqrt(10) / shallow["c"] - 1 < 0.16


NO_INTERIOR: dict[str, tuple[Callable[[], Values], float, str]] = {
    "relu": (lambda: optimum("relu"), np.nan, "grows with the residual scale without bound"),
    "identity": (lambda: optimum("identity"), np.nan, "without bound"),
    "relu covariance": (lambda: optimum("relu", "covariance"), np.nan, "without bound"),
    "relu tangent": (lambda: optimum("relu", "tangent"), np.nan, "without bound"),
    "erf tangent": (lambda: optimum("erf_unit", "tangent"), np.nan, "without bound"),
    "tanh tangent": (lambda: optimum("tanh", "tangent"), np.nan, "without bound"),
    "sign": (lambda: optimum("sign"), np.nan, "is zero at every residual scale"),
    "sign covariance": (lambda: optimum("sign", "covariance"), 0.0, "falls at every kernel"),
    "large bias": (lambda: optimum(sigma_b2=1 / np.pi + 1e-3), 0.0, "falls at every kernel"),
    "large input": (lambda: optimum(K0=0.4), 0.0, "K0 is not below K*"),
}


@pytest.mark.parametrize("case", NO_INTERIOR)
def test_no_interior_optimum_and_why(case: str) -> None:
    call, rho, reason = NO_INTERIOR[case]
    found = call()
    np.testing.assert_equal(found["rho"], rho)
    np.testing.assert_equal(found["c"], rho)
    assert reason in found.status


def test_the_border_of_the_bias() -> None:
    # An interior optimum exists for sigma_b^2 < sigma_w^2 / pi, with K* -> 0 at the border.
    stars = [optimum(sigma_b2=1 / np.pi - gap, K0=1e-6)["K_star"] for gap in (1e-2, 1e-3)]
    assert 0 < stars[1] < stars[0] / 5
    assert np.isnan(optimum(sigma_b2=1 / np.pi + 1e-6)["K_star"])


X = sp.Symbol("x")
BUMP = X * sp.exp(-(X**2))


@pytest.mark.parametrize(
    ("name", "above"),
    left_to_slow([("erf_unit", 0.5), ("tanh", 0.9), (BUMP, 0.3)], [("tanh", 0.9)]),
    ids=str,
)
def test_an_input_above_the_optimum_has_passed_it(name: str | sp.Expr, above: float) -> None:
    # Far above K* the condition of a quadrature is rounding, whose signs mean nothing.
    below, passed = optimum(name), optimum(name, K0=above)
    assert below["K_star"] < above
    assert passed["K_star"] == pytest.approx(below["K_star"], rel=1e-9)
    assert passed["c"] == passed["rho"] == 0.0
    assert "K0 is not below K*" in passed.status


def test_what_falls_from_the_start_may_rise_again() -> None:
    # Tangents with large biases: the read-out saturates first, the product of factors wins later.
    found = optimum(kind="tangent", sigma_b2=3.0)
    assert np.isnan(found["rho"])
    assert "grows with the residual scale without bound" in found.status
    given = {"depth": 20, "sigma_w2": 1.0, "sigma_b2": 3.0, "K0": 0.05}
    eta = evaluate(response(network(), "tangent"), rho=np.array([0.0, 0.1, 3.0]), **given)["eta"]
    assert eta[1] < eta[0] < eta[2]


def test_the_optimum_of_a_bump() -> None:
    # V = K / (1 + 4 K)^(3/2), so that (V V')' = 0 is 16 K^2 - 16 K + 1 = 0.
    star = (2 - np.sqrt(3)) / 4
    assert optimum(BUMP)["K_star"] == pytest.approx(star, rel=1e-9)


@pytest.mark.parametrize("bump", left_to_slow([sp.exp(-(X**2)), sp.cos(X)], [sp.cos(X)]), ids=str)
def test_a_response_below_zero_is_judged_by_its_magnitude(bump: sp.Expr) -> None:
    net = ResNet(Branch(Activation(bump), Linear(1, 0)), scale=RHO, depth=10)
    found = evaluate(optimal_scale(net), K0=[0.1, 1.0])
    eta = evaluate(response(net), K0=[[0.1], [1.0]], rho=np.linspace(0, 0.8, 33))["eta"]
    assert (eta[:, 0] < 0).all()
    assert np.abs(eta).argmax(axis=1).tolist() == [0, 0]
    np.testing.assert_array_equal(found["rho"], [0.0, 0.0])
    assert "falls" in found.status


def test_a_grid_has_every_answer_of_its_points() -> None:
    biases, starts = np.array([0.0, 0.1, 0.4]), np.array([[0.05], [0.35]])
    grid = optimum(sigma_b2=biases, K0=starts)
    assert grid["rho"].shape == (2, 3)
    for i, start in enumerate(starts[:, 0]):
        for j, bias in enumerate(biases):
            point = optimum(sigma_b2=bias, K0=start)
            for name in ("K_star", "c", "rho"):
                np.testing.assert_allclose(grid[name][i, j], point[name], rtol=1e-12)
    assert "at 2 of 6 points" in grid.status
    assert "at 1 of 6 points" in grid.status


def test_the_answer_depends_on_the_ratio_of_variances_alone() -> None:
    # Multiplying both variances by s is dividing rho by sqrt(s).
    one, four = optimum(sigma_b2=0.1), optimum(sigma_w2=4.0, sigma_b2=0.4)
    assert four["K_star"] == pytest.approx(one["K_star"], rel=1e-12)
    assert 2 * four["rho"] == pytest.approx(one["rho"], rel=1e-11)
    # The read-out weight variance multiplies the response and moves nothing.
    branch = network().branch
    net = ResNet(branch, scale=RHO, depth=20, read_out=branch.followed_by(Linear(7, 0)))
    assert evaluate(optimal_scale(net), K0=0.05, sigma_w2=1, sigma_b2=0.1)["rho"] == pytest.approx(
        one["rho"], rel=1e-12
    )


def test_what_has_no_optimal_scale() -> None:
    with pytest.raises(UnsupportedError, match="blocks with different scales"):
        optimal_scale(ResNet(network().branch, scale=(0.1, 0.2)))
    ends = Branch(Linear(), Activation("erf"))
    with pytest.raises(UnsupportedError, match="ends in an activation"):
        optimal_scale(ResNet(ends, scale=RHO, depth=3))
    with pytest.raises(HyperparameterError, match="'diagonal': it is unknown"):
        optimal_scale(network(), "diagonal")  # type: ignore[arg-type]
    with pytest.raises(HyperparameterError, match=r"rho = 0\.5: it is what is looked for"):
        optimum(rho=0.5)
    with pytest.raises(KernelError, match="give K0 > 0"):
        optimum(K0=0.0)
    with pytest.raises(UnsupportedError, match="this average is infinite"):
        optimal_scale(network("sign"), "tangent")


@pytest.mark.parametrize("kind", ["variance", "covariance"])
@pytest.mark.parametrize("bias", [0, 0.1])
def test_the_optimum_of_sine_is_closed(kind: str, bias: float) -> None:
    """K* and c of the sine are elementary; the numbers come from root finding and quadrature."""
    net = ResNet(Branch(Activation("sin"), Linear()), scale=1, depth=100)
    optimum = optimal_scale(net, kind)
    found = evaluate(optimum, K0=0.1, sigma_w2=1.2, sigma_b2=bias)
    assert optimum.kernel_star is not None
    assert optimum.closed_constant is not None
    values = {"K0": 0.1, "sigma_w2": 1.2, "sigma_b2": bias, "K_star": float(found["K_star"])}

    def number(expression: sp.Expr) -> complex:
        at = {s: sp.Float(values[s.name], 30) for s in expression.free_symbols}
        return complex(expression.xreplace(at).evalf(20))

    assert number(optimum.kernel_star.rhs) == pytest.approx(found["K_star"], rel=1e-12)
    assert number(optimum.closed_constant.rhs) == pytest.approx(found["c"] ** 2, rel=1e-12)


def test_no_closed_constant_is_claimed_where_there_is_none() -> None:
    for name in ("erf", "tanh"):
        net = ResNet(Branch(Activation(name), Linear()), scale=1, depth=10)
        assert optimal_scale(net).closed_constant is None
