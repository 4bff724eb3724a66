"""Responses of normalised branches, and branches that end in an activation: the sheet retyped."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from uncompiled import evaluate

from resexpand import Activation, Branch, LayerNorm, Linear, ResNet, RMSNorm, kernel, response

PAIR = np.array([[1.0, 0.3], [0.3, 0.7]])
RELU, W = Activation("relu"), 1.9
RHO = 0.65


def relu_pair(c: float) -> float:
    return (math.sqrt(1 - c * c) + (math.pi - math.acos(c)) * c) / (2 * math.pi)


def relu_slope(c: float) -> float:
    return (math.pi - math.acos(c)) / (2 * math.pi)


@pytest.mark.parametrize("norm", [LayerNorm, RMSNorm])
@pytest.mark.parametrize("eps", [0, 0.1])
def test_variance_and_tangent(norm: Callable[..., LayerNorm], eps: float) -> None:
    net = ResNet(Branch(norm(eps), RELU, Linear(W, 0.07)), scale=RHO, depth=4)
    found = evaluate(response(net), K0=0.7)
    K, steps = found["K"][:-1], found["chi_0"][1:] / found["chi_0"][:-1]
    np.testing.assert_allclose(steps, 1 + RHO**2 * W / 2 * eps / (K + eps) ** 2, rtol=1e-13)
    tangent = evaluate(response(net, "tangent"), K0=0.7)["chi_0"]
    factors = 1 + RHO**2 * W / 2 / (K + eps)
    np.testing.assert_allclose(tangent[1:] / tangent[:-1], factors, rtol=1e-13)


def test_covariance_without_eps_is_a_power_of_depth() -> None:
    net = ResNet(Branch(LayerNorm(), RELU, Linear(W, 0)), scale=RHO, depth=5)
    found = evaluate(response(net, "covariance"), K0=PAIR)
    K = evaluate(kernel(net, 2), K0=PAIR)["K"]
    roots = np.sqrt(K[:, 0, 0] * K[:, 1, 1])
    slopes = np.array([relu_slope(c) for c in K[:, 0, 1] / roots])
    product = np.cumprod(1 + RHO**2 * W * (slopes / roots)[:-1])
    np.testing.assert_allclose(found["chi_0"][1:], product, rtol=1e-12)
    step = 1e-5 * np.array([[0, 1], [1, 0]])
    moved = [evaluate(kernel(net, 2), K0=PAIR + s * step)["K"][:, 0, 1] for s in (1, -1)]
    np.testing.assert_allclose(found["chi_0"], (moved[0] - moved[1]) / 2e-5, rtol=1e-7)


@pytest.mark.parametrize("norm", [LayerNorm, RMSNorm])
def test_branches_that_end_in_an_activation(norm: Callable[..., LayerNorm]) -> None:
    """``K' = K + rho (m mu^T + mu m^T) + rho^2 Phi``, ``m' = m + rho mu``: LayerNorm needs m."""
    net = ResNet(Branch(norm(0.1), Linear(W, 0.07), RELU), scale=RHO, depth=4)
    K, m = PAIR, np.zeros(2)
    expected = [K]
    for _ in range(4):
        centre = np.outer(m, m) if norm is LayerNorm else np.zeros((2, 2))
        s = np.sqrt(np.diag(K - centre) + 0.1)
        C = W * (K - centre) / np.outer(s, s) + 0.07
        d = np.sqrt(np.diag(C))
        off = d[0] * d[1] * relu_pair(C[0, 1] / (d[0] * d[1]))
        image = np.array([[C[0, 0] / 2, off], [off, C[1, 1] / 2]])
        mean = d / math.sqrt(2 * math.pi)
        K = K + RHO * (np.outer(m, mean) + np.outer(mean, m)) + RHO**2 * image
        m = m + RHO * mean
        expected.append(K)
    np.testing.assert_allclose(evaluate(kernel(net, 2), K0=PAIR)["K"], expected, rtol=1e-13)
    one = evaluate(kernel(net), K0=0.7)
    np.testing.assert_allclose(one["K"], [k[1, 1] for k in expected], rtol=1e-13)
    centred = one["K"] - (one["m"] ** 2 if norm is LayerNorm else 0)
    tangent = evaluate(response(net, "tangent"), K0=0.7)["chi_0"]
    factors = 1 + RHO**2 * W / 2 / (centred + 0.1)[:-1]
    np.testing.assert_allclose(tangent[1:] / tangent[:-1], factors, rtol=1e-13)
    assert one["m"][-1] == pytest.approx(m[1], rel=1e-13)
    found = evaluate(response(net), K0=0.7)["chi_0"]
    moved = [evaluate(kernel(net), K0=0.7 + s)["K"] for s in (1e-5, -1e-5)]
    np.testing.assert_allclose(found, (moved[0] - moved[1]) / 2e-5, rtol=1e-8)


def test_inner_norms() -> None:
    """``C = v LN(<phi phi>, <phi>) + b`` of a norm between activation and Linear."""
    branch = Branch(Linear(1.2, 0.1), RELU, LayerNorm(0.2), Linear(W, 0.07))
    net = ResNet(branch, scale=RHO, depth=3)
    K, expected = 0.7, [0.7]
    for _ in range(3):
        C = 1.2 * K + 0.1
        spread = C / 2 - C / (2 * math.pi)
        K += RHO**2 * (W * spread / (spread + 0.2) + 0.07)
        expected.append(K)
    np.testing.assert_allclose(evaluate(kernel(net), K0=0.7)["K"], expected, rtol=1e-13)
