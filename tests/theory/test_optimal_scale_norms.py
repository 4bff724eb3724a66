"""Optimal scales of normalised branches: optima by hand and by search, and why there are none.

A branch that normalises without eps adds a constant ``C`` to the kernel. With relu, ``A = 1/(2 (K +
eps))`` and ``G = w / (2 (K + eps))`` for the tangent response, so that its logarithm changes with K
by

    -1/(K + eps) + (w/2) / (w K/2 + b (K + eps)),        zero at  K* = eps (w/(2 b) - 1).
"""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from uncompiled import evaluate

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Dropout,
    LayerNorm,
    Linear,
    ResNet,
    RMSNorm,
    Scale,
    optimal_scale,
    response,
)
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.theory.inversion import solve_for

K = sp.Symbol("K", positive=True)
RELU, W, B, EPS = Activation("relu"), 1.5, 0.1, 0.1


def network(norm, bias=B, head=None, scale=1) -> ResNet:
    read_out = None if head is None else [*head, Linear(1, 0)]
    return ResNet(Branch(norm, RELU, Linear(W, bias)), scale=scale, depth=12, read_out=read_out)


def test_the_optimum_of_tangents_by_hand_and_by_search() -> None:
    net = network(LayerNorm(EPS))
    found = evaluate(optimal_scale(net, "tangent"), K0=0.2)
    by_hand = EPS * (W / (2 * B) - 1)
    assert found["K_star"] == pytest.approx(by_hand, rel=1e-9)
    # c^2 is the integral of 1/B, B = w K / (2 (K + eps)) + b.
    kernels = np.linspace(0.2, by_hand, 20_001)
    integral = np.trapezoid(1 / (W * kernels / (2 * (kernels + EPS)) + B), kernels)
    assert found["c"] == pytest.approx(np.sqrt(integral), rel=1e-7)
    scales = found["rho"] * np.linspace(0.9, 1.1, 41)
    levels = [
        float(evaluate(response(net.with_scale(s), "tangent"), K0=0.2)["eta"]) for s in scales
    ]
    assert np.argmax(levels) == 20
    # The control: the plain branch has no such optimum.
    plain = ResNet(Branch(RELU, Linear(W, B)), scale=1, depth=12)
    assert not np.isfinite(evaluate(optimal_scale(plain, "tangent"), K0=0.2)["K_star"])


@pytest.mark.parametrize(
    ("net", "kind", "trend", "said"),
    [
        (network(LayerNorm()), "variance", "vanishing", "is zero at every"),
        (network(RMSNorm(), head=[RELU]), "variance", "constant", "is the same at every"),
        (network(RMSNorm(), bias=0), "tangent", "constant", "is the same at every"),
    ],
)
def test_there_is_none_where_the_response_does_not_depend_on_the_scale(
    net: ResNet, kind: str, trend: str, said: str
) -> None:
    optimum = optimal_scale(net, kind)
    assert (optimum.trend, said in optimum.reason) == (trend, True)
    found = evaluate(optimum, K0=0.5)
    assert np.isnan(found["rho"])
    assert said in found.status
    levels = [float(evaluate(response(net.with_scale(s), kind), K0=0.5)["eta"]) for s in (0.1, 0.9)]
    np.testing.assert_allclose(levels, levels[0], rtol=1e-12, atol=1e-15)
    assert (abs(levels[0]) < 1e-14) == (trend == "vanishing")


@pytest.mark.parametrize("kind", ["variance", "tangent"])
def test_a_long_condition_is_searched(kind: str) -> None:
    """Behind a norm, arcsines of quotients: no closed solution is tried, which takes minutes."""
    branch = Branch(LayerNorm(0.1), Linear(1, 0.1), Activation("gelu"), Linear(1, 0.1))
    net = ResNet(branch, scale=sp.Symbol("rho"), depth=10)
    optimum = optimal_scale(net, kind)
    assert (optimum.trend, optimum.kernel_star) == ("interior", None)
    best = float(evaluate(optimum, K0=0.01)["rho"])
    scales = np.concatenate([[best], np.geomspace(1e-3, 10, 200)])
    levels = np.abs(evaluate(response(net, kind), K0=0.01, rho=scales)["eta"])
    assert best > 0
    assert np.all(levels[0] >= levels * (1 - 1e-10))
    assert levels[0] > 1.0001 * np.abs(
        float(evaluate(response(net, kind), K0=0.01, rho=1.2 * best)["eta"])
    )


def test_a_bias_lets_it_fall() -> None:
    found = evaluate(optimal_scale(network(LayerNorm()), "tangent"), K0=0.5)
    assert found["rho"] == 0
    assert "falls" in found.status


@pytest.mark.parametrize("kind", ["variance", "covariance"])
def test_a_factor_behind_a_branch_is_part_of_its_scale(kind: str) -> None:
    phi, linear = Activation("erf"), Linear(1.3, 0.02)
    plain = ResNet(Branch(phi, linear), scale=1, depth=30)
    scaled = ResNet(Branch(phi, linear, Scale(0.5)), scale=1, depth=30)
    one, two = (evaluate(optimal_scale(net, kind), K0=0.05) for net in (plain, scaled))
    assert two["K_star"] == pytest.approx(one["K_star"], rel=1e-9)
    for name in ("c", "rho"):
        assert two[name] == pytest.approx(2 * one[name], rel=1e-9)


def test_a_factor_in_front_of_a_branch_is_searched_for() -> None:
    net = ResNet(Branch(Scale(2), Activation("erf"), Linear(1, 0)), scale=1, depth=10)
    best = float(evaluate(optimal_scale(net), K0=0.01)["rho"])
    around = best * np.array([0.98, 1.0, 1.02])
    levels = [float(evaluate(response(net.with_scale(s)), K0=0.01)["eta"]) for s in around]
    assert levels[1] > max(levels[0], levels[2])


def test_what_vanishes_is_decided_by_numbers_not_by_rounding() -> None:
    eps = sp.Symbol("eps_1", nonnegative=True)
    optimum = optimal_scale(network(LayerNorm(eps)))
    assert np.isfinite(evaluate(optimum, K0=0.5, eps_1=0.1)["K_star"])
    with pytest.raises(HyperparameterError, match="describe the network with eps=0"):
        evaluate(optimum, K0=0.5, eps_1=[0.1, 0.0])


def test_noise_and_batches_have_none() -> None:
    for op in (Dropout(0.5), BatchNorm()):
        with pytest.raises(UnsupportedError, match=op.kind):
            optimal_scale(network(op))


def test_long_conditions_are_left_to_root_finding() -> None:
    """The same zero, of a condition that is written short and of one that is written long."""
    short = sp.exp(-2 * K) - sp.Rational(1, 4)
    found = solve_for(short, K)
    assert found is not None
    assert float(found) == pytest.approx(np.log(2))
    long = short * sp.Add(*(sp.sqrt(1 + n * K) for n in range(1, 60)))
    assert solve_for(long, K) is None


def test_powers_of_an_exponential_are_no_long_polynomials() -> None:
    """SymPy's own factors of the first condition have 4,609,609 coefficients."""
    rate = sp.Rational(4609609, 1000000)
    assert sp.simplify(solve_for(1 - 2 * sp.exp(-rate * K), K) - sp.log(2) / rate) == 0
    assert solve_for(1 - 2 * sp.exp(-rate * K) + sp.exp(-2 * rate * K) / 2, K) is not None
    assert solve_for(1 - sp.exp(-rate * K) - sp.exp(-K) / 2, K) is None
    net = ResNet(Branch(Activation("sin(2.147*x) + cos(1.3*x)"), Linear(1, 0)), scale=0.5, depth=9)
    assert optimal_scale(net).closed_constant is None
