"""Infinite depth of smooth weights: known constants, the covariance in the limit, refusals."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    FractionalBrownian,
    Linear,
    Markov,
    ResNet,
    Smooth,
    depth_limit,
    evaluate,
    kernel,
    to_latex,
)
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.numbers.smooth_limit import solve_smooth_limit

L = sp.Symbol("L", integer=True, positive=True)
RES3 = Branch(Linear(1, 0), Activation("relu"), Linear(1, 0))
LAWS = [
    Smooth(k, sp.Symbol("v"), of) for k in ("rbf", "cosine") for of in ("increments", "process")
]


def limit_of(law, branch=RES3, constant=1):
    return depth_limit(ResNet(branch, scale=constant / L, depth=L, layers=law))


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_the_covariance_is_the_limit_of_the_lags(law) -> None:
    s, t = sp.symbols("s t", real=True)
    expression = limit_of(law).covariance.rhs
    gaps = []
    for depth in (200, 400):
        given = Smooth(*(law.values[0], 0.03, law.values[2]))
        lags = given.covariance(depth)[0]
        exact = [
            float(expression.subs({sp.Symbol("v"): 0.03, s: 0, t: sp.Rational(k, depth)}))
            for k in range(0, depth, 20)
        ]
        gaps.append(np.abs(lags[::20] - exact).max())
    assert gaps[0] < 2e-3
    assert gaps[1] < 0.27 * gaps[0] or gaps[0] < 1e-12


def test_constants_of_an_independent_program() -> None:
    for of, value in (("increments", 0.040465), ("process", 0.094467)):
        found = solve_smooth_limit(limit_of(Smooth("rbf", 0.01, of)), K0=1.0)
        assert found.K[-1] - 1 == pytest.approx(value, abs=1e-6)
        assert found.error < 2e-7


def test_common_weights_are_a_bessel_function() -> None:
    """c(s, t) -> 1, linear blocks: K(s, t) = K0 I_0(2 c sqrt(s t)), correction -K0 c I_2(2 c) c."""
    for constant in (1, 2):
        limit = limit_of(Smooth("rbf", 10**12, "process"), Branch(Linear(1, 0)), constant)
        found = solve_smooth_limit(limit, K0=0.6)
        grid = np.sqrt(np.outer(found.times, found.times))
        exact = [[0.6 * float(mpmath.besseli(0, 2 * constant * x)) for x in row] for row in grid]
        np.testing.assert_allclose(found.K_layers, exact, rtol=1e-7)
        slope = -0.6 * constant**2 * float(mpmath.besseli(2, 2 * constant))
        assert found.correction == pytest.approx(slope, rel=1e-5)
        assert np.abs(found.K_layers[-1, -1] / exact[-1][-1] - 1) < max(found.error, 1e-11)


def test_the_correction_is_that_of_deep_networks() -> None:
    law, depth = Smooth("rbf", 0.05), 1000
    solved = solve_smooth_limit(limit_of(law, Branch(Activation("erf"), Linear(1.3, 0.1))), K0=0.6)
    gaps = []
    for at in (depth // 2, depth):
        net = ResNet(
            Branch(Activation("erf"), Linear(1.3, 0.1)), scale=1 / at, depth=at, layers=law
        )
        gaps.append(at * (evaluate(kernel(net), K0=0.6, outputs="K")["K"][-1] - solved.K[-1]))
    assert 2 * gaps[1] - gaps[0] == pytest.approx(solved.correction, rel=0.02)
    assert abs(solved.correction) > 1e-3


def test_latex_and_text() -> None:
    limit = limit_of(Smooth("rbf", sp.Symbol("v", positive=True)), constant=sp.Symbol("a"))
    text = to_latex(limit)
    assert r"\partial_{s} \partial_{t} K_{s,t} = a^{2} c_{s,t}" in text
    assert r"\mathrm{d}H_{t} / \mathrm{d}t = c\, F_{t}(H_{t})" in text
    assert "SmoothLimit" in repr(limit)


@pytest.mark.parametrize(
    ("scale", "law", "said"),
    [
        (1 / L, Markov(0.5), "no smooth functions"),
        (1 / L, FractionalBrownian(0.9), "no smooth functions"),
        (1 / sp.sqrt(L), Smooth("rbf", 1), "give scale=c/L"),
        (L**-2, Smooth("rbf", 1), "give scale=c/L"),
    ],
    ids=str,
)
def test_refusals(scale, law, said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        depth_limit(ResNet(RES3, scale=scale, depth=L, layers=law))


def test_numbers_that_are_missing() -> None:
    with pytest.raises(HyperparameterError):
        solve_smooth_limit(limit_of(Smooth("rbf")), K0=1.0)
    with pytest.raises(HyperparameterError):
        solve_smooth_limit(limit_of(Smooth("rbf")), K0=1.0, v=[0.1, 0.2])


def test_what_has_no_smooth_limit() -> None:
    branch = Branch(Linear(1, 0), Activation("relu"), Linear(2, 0))
    depth = sp.Symbol("L", integer=True, positive=True)
    plain = depth_limit(ResNet(branch, scale=1 / sp.sqrt(depth), depth=depth))
    with pytest.raises(UnsupportedError, match="solve_depth_limit"):
        solve_smooth_limit(plain, K0=1.0)
    smooth = depth_limit(ResNet(branch, scale=1 / depth, depth=depth, layers=Smooth("rbf", 0.01)))
    for K0 in (0.0, [1.0, 2.0]):
        with pytest.raises(HyperparameterError, match="K0"):
            solve_smooth_limit(smooth, K0=K0)
