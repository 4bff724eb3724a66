"""Infinite depth: closed solutions, the expansion in 1/L, networks of finite width, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    Dropout,
    LayerNorm,
    Linear,
    Markov,
    ResNet,
    depth_limit,
    evaluate,
    kernel,
    response,
    sample,
    to_latex,
)
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.numbers.depth_limit import extrapolate_in_depth, solve_depth_limit

L = sp.Symbol("L", integer=True, positive=True)
RELU, ERF = Activation("relu"), Activation("erf")


def limit_of(*ops, c=1):
    return depth_limit(ResNet(Branch(*ops), scale=c / sp.sqrt(L), depth=L))


def test_closed_solutions() -> None:
    T, K0 = sp.Symbol("T", positive=True), sp.Symbol("K0", positive=True)
    found = limit_of(RELU, Linear(2, 0)).solution.rhs
    assert sp.simplify(found - K0 * sp.exp(T)) == 0
    biased = limit_of(Linear(1, sp.Rational(1, 5))).solution.rhs
    assert sp.simplify(biased.diff(T) - biased - sp.Rational(1, 5)) == 0
    assert biased.subs(T, 0) == K0
    assert limit_of(Activation("sign"), Linear(1, 0)).solution.rhs == K0 + T
    assert limit_of(ERF, Linear(1, 0)).solution is None


@pytest.mark.parametrize("ops", [(RELU, Linear(2, 0.3)), (ERF, Linear(1.3, 0.1))], ids=str)
def test_the_expansion_in_the_depth(ops) -> None:
    """L (K_L - K_T) tends to the stated correction, with an error that halves when L doubles."""
    theory = limit_of(*ops, c=sp.Rational(3, 2))
    solved = solve_depth_limit(theory, K0=0.6)
    gaps = []
    for depth in (100, 200):
        net = ResNet(Branch(*ops), scale=sp.Rational(3, 2) / sp.sqrt(depth), depth=depth)
        found = evaluate(response(net), K0=0.6, outputs=["K", "chi_0"])
        gaps.append(depth * (found["K"][-1] - solved.K[-1]))
    assert solved.error < 1e-8
    assert 2 * gaps[1] - gaps[0] == pytest.approx(solved.correction, rel=2e-3)
    errors = np.abs(np.array(gaps) - solved.correction)
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.1)
    # Control: without the logarithm the correction is another.
    assert abs(gaps[1] / solved.correction - 1) < 0.1
    assert found["chi_0"][-1] == pytest.approx(solved.chi_0[-1], rel=0.02)


def test_the_integral_is_the_closed_solution() -> None:
    theory, T = limit_of(RELU, Linear(2, 0.3), c=sp.Symbol("c")), 1.5**2
    solved = solve_depth_limit(theory, K0=0.6, times=[0, 0.5, 1], c=1.5)
    expected = [0.9 * math.exp(T * t) - 0.3 for t in (0, 0.5, 1)]
    np.testing.assert_allclose(solved.K, expected, rtol=1e-10)
    np.testing.assert_allclose(solved.chi_0, np.exp(T * np.array([0, 0.5, 1])), rtol=1e-9)
    np.testing.assert_allclose(solved.tangent, solved.chi_0, rtol=1e-9)


def test_log_normal_networks_of_finite_width() -> None:
    """res-3 relu: mean and variance of ln |h^L|^2 / N; A wrong order 1/N is seen."""
    theory = limit_of(Linear(1, 0), RELU, Linear(2, 0))
    width, depth = 10, 80
    net = ResNet(theory.net.branch, scale=1 / sp.sqrt(depth), depth=depth)
    run = sample(net, "log_kernel", width, 4000, K0=1.0, seed=2)["log_kernel"]
    start = run.mean[0]
    at = {sp.Symbol("T", positive=True): 1, sp.Symbol("N", integer=True, positive=True): width}
    mean = float(theory.log_mean.rhs.subs(at))
    # The discrete network differs by -(N-2)(N-4)(N+5) / 2 N^3 L.
    mean -= (width - 2) * (width - 4) * (width + 5) / (2 * width**3 * depth)
    error = math.sqrt(float(theory.log_variance.rhs.subs(at)) / 4000)
    assert abs(run.mean[-1] - start - mean) < 3.3 * error * 1.05
    assert abs(run.mean[-1] - start - (mean + 2 / width)) > 5 * error


def test_what_closes_at_finite_width() -> None:
    one = limit_of(Linear(1, 0), ERF, Linear(1, 0))
    assert one.drift is not None
    assert one.diffusion is not None
    assert one.log_mean is None
    features = limit_of(RELU, Linear(2, 0))
    assert features.drift is features.log_mean is None
    deep = limit_of(Linear(1, 0), RELU, Linear(2, 0), RELU, Linear(2, 0))
    # One input of a homogeneous branch closes at any depth of the branch, pairs do not.
    assert sp.expand(deep.drift.closed()) == sp.Symbol("G", positive=True)
    assert deep.covariation is deep.correlation_drift is None
    assert deep.log_mean is not None
    curved = limit_of(Linear(1, 0), ERF, Linear(2, 0), ERF, Linear(2, 0))
    assert curved.drift is curved.diffusion is None
    for theory, said in ((features, "X_{1}"), (curved, "E}[y"), (one, "G_12")):
        assert said in str(theory.covariance.rhs)


def ito_of_the_correlation(k: sp.Expr, s: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """Drift and square of the noise of r = G_12 / sqrt(G_11 G_22), from those of G."""
    a, b, d = entries = sp.symbols("G_11 G_12 G_22", positive=True)
    gram = sp.Matrix([[a, b], [b, d]])
    r, N = b / sp.sqrt(a * d), sp.Symbol("N", integer=True, positive=True)
    both = s * sp.sqrt(a * d) * k.subs(sp.Symbol("r", real=True), r)
    c = sp.Matrix([[s * a, both], [both, s * d]])
    places = ((0, 0), (0, 1), (1, 1))
    drift = sum(r.diff(e) * c[p] for e, p in zip(entries, places, strict=True))
    square = sp.Integer(0)
    for e, (i, j) in zip(entries, places, strict=True):
        for f, (m, n) in zip(entries, places, strict=True):
            shared = gram[i, m] * c[j, n] + gram[i, n] * c[j, m]
            shared = (shared + gram[j, m] * c[i, n] + gram[j, n] * c[i, m]) / N
            drift += r.diff(e, f) * shared / 2
            square += r.diff(e) * r.diff(f) * shared
    return drift, square


@pytest.mark.parametrize("ops", [(RELU,), ()], ids=["relu", "linear"])
def test_the_correlation_of_two_inputs_by_the_formula_of_ito(ops) -> None:
    theory, r = limit_of(Linear(1.5, 0), *ops, Linear(2, 0)), sp.Symbol("r", real=True)
    s = sp.Rational(3, 2) if ops else sp.Integer(3)
    k = theory.noise.correlation
    known = (sp.sqrt(1 - r**2) + r * (sp.pi - sp.acos(r))) / sp.pi if ops else r
    for value in (-0.9, -0.2, 0.5, 0.99):
        assert float((k - known).subs(r, value)) == pytest.approx(0, abs=1e-14)
        # Lengths drop out: two of them, and both widths.
        for a, d, n in ((1.3, 0.4, 5), (1, 1, 50)):
            at = {"G_11": a, "G_12": value * math.sqrt(a * d), "G_22": d}
            at = {sp.Symbol(name, positive=True): v for name, v in at.items()}
            at[sp.Symbol("N", integer=True, positive=True)] = n
            drift, square = (float(e.subs(at)) for e in ito_of_the_correlation(known, s))
            given = {r: value, sp.Symbol("N", integer=True, positive=True): n}
            own = [theory.correlation_drift, theory.correlation_diffusion]
            own = [float(formula.closed().subs(given)) for formula in own]
            assert own == pytest.approx([drift, square], rel=1e-9, abs=1e-12)
    # No input forgets its lengths where the activation is not homogeneous.
    assert limit_of(Linear(1, 0), ERF, Linear(1, 0)).correlation_drift is None
    assert limit_of(Linear(1, 0), RELU, Linear(2, 0.1)).correlation_drift is None


REFUSED = {
    "scale 1/L": lambda: depth_limit(ResNet(Branch(RELU, Linear(2, 0)), scale=1 / L, depth=L)),
    "scale L^-.3": lambda: depth_limit(
        ResNet(Branch(RELU, Linear(2, 0)), scale=L ** sp.Rational(-3, 10), depth=L)
    ),
    "numeric depth": lambda: depth_limit(ResNet(Branch(RELU, Linear(2, 0)), scale=1, depth=9)),
    "activation": lambda: limit_of(Linear(1, 0), RELU),
    "dropout": lambda: limit_of(RELU, Dropout(0.5), Linear(2, 0)),
    "norm": lambda: limit_of(LayerNorm(), RELU, Linear(2, 0)),
    "layers": lambda: depth_limit(
        ResNet(Branch(RELU, Linear(2, 0)), scale=1 / sp.sqrt(L), depth=L, layers=Markov(0.5))
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    with pytest.raises(UnsupportedError):
        REFUSED[case]()


@pytest.mark.parametrize("name", ["G", "T", "G_12", "r", "N"])
def test_names_of_its_own(name: str) -> None:
    with pytest.raises(HyperparameterError, match=f"called {name}"):
        limit_of(RELU, Linear(sp.Symbol(name, positive=True), 0))


def test_bad_numbers() -> None:
    theory = limit_of(RELU, Linear(2, 0), c=sp.Symbol("c"))
    for wrong in ({}, {"c": [1, 2]}, {"c": 1, "times": [0, 2]}, {"c": 1, "times": [1, 0]}):
        with pytest.raises(HyperparameterError):
            solve_depth_limit(theory, K0=1.0, **wrong)
    with pytest.raises(HyperparameterError):
        extrapolate_in_depth([1, 2], [10, 20])


def test_extrapolation() -> None:
    depths = [10, 20, 40, 80]
    exact = [3 + 2 / n - 5 / n**2 + 7 / n**3 for n in depths]
    value, error = extrapolate_in_depth(exact, depths)
    assert value == pytest.approx(3, abs=1e-12)
    assert 0 < error < 1e-3
    growing = [(1 + 1 / (2 * n)) ** n for n in depths]
    value, error = extrapolate_in_depth(growing, depths)
    assert abs(value - math.exp(0.5)) < error
    half, gap = extrapolate_in_depth([3 + 2 / n**0.5 for n in depths], depths, order=0.5)
    assert half == pytest.approx(3, abs=1e-12)
    assert gap < 1e-11


def test_latex_and_text() -> None:
    theory = limit_of(Linear(1, 0), RELU, Linear(2, 0))
    text = to_latex(list(theory))
    assert len(list(theory)) == 14
    assert text.count(r"\begin{equation}") >= 9
    assert r"\mathrm{d}K / \mathrm{d}t" in text
    assert "beta = 1/2" in repr(theory)
    assert [r.status for r in theory.regimes] == ["derived"] * 3
    assert kernel(theory.net).net == theory.net
