"""The order 1/N of exact moments is the one-loop theory, in value and in what is left: 1/N^2.

Exact moments average polynomials, the one-loop theory propagates fluctuations of Gram matrices: two
derivations that share only the description of the network.
"""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from heavier import left_to_slow

from resexpand import Activation, Branch, Linear, ResNet, evaluate, exact_moments, one_loop

HUGE = 10**9
"""A width at which only the first order is left."""

NETS = {
    "linear": ResNet(Branch(Linear(1.2, 0.3)), scale=0.7, depth=6),
    "scales": ResNet(Branch(Linear(1.2, 0.3)), scale=[0.3, 1.1, 0.6]),
    "two linears": ResNet(Branch(Linear(1.3, 0.2), Linear(0.7, 0.1)), scale=0.7, depth=5),
    "relu inside": ResNet(
        Branch(Linear(1.5, 0.1), Activation("relu"), Linear(1.2, 0.3)), scale=0.6, depth=5
    ),
    "leaky inside": ResNet(
        Branch(Linear(1.5, 0.1), Activation("leaky_relu"), Linear(1.2, 0.3)), scale=0.6, depth=5
    ),
    "sign": ResNet(Branch(Activation("sign"), Linear(1.2, 0.3)), scale=0.6, depth=5),
    "abs": ResNet(Branch(Activation(sp.Abs(sp.Symbol("x"))), Linear(0.8, 0.2)), scale=0.6, depth=4),
    "read-out": ResNet(
        Branch(Linear(1.5, 0.1), Activation("relu"), Linear(1.2, 0.3)),
        scale=0.6,
        depth=3,
        read_out=Linear(0.9, 0.2),
    ),
}
ONE_BLOCK = ["erf", "tanh", "relu", "gelu", "sin"]


@pytest.mark.parametrize("name", NETS)
def test_order_one_over_n_of_exact_moments(name: str) -> None:
    net = NETS[name]
    exact = evaluate(exact_moments(net), K0=0.9, width=HUGE)
    first = evaluate(one_loop(net), K0=0.9)
    np.testing.assert_allclose(HUGE * exact["G_cov"], first["G_cov"], rtol=2e-7)
    own = np.diagonal(first["C_cov"])
    np.testing.assert_allclose(HUGE * exact["C_var"], own, rtol=2e-7, atol=1e-12)
    assert HUGE * exact["kurtosis"][-1] == pytest.approx(float(first["kurtosis"]), rel=2e-7)
    # The mean of a network whose length is Markovian is that of infinite width.
    np.testing.assert_allclose(first["C_mean"], 0.0, atol=1e-12)
    np.testing.assert_allclose(exact["C_mean"], first["C"], rtol=1e-12)


@pytest.mark.parametrize("activation", left_to_slow(ONE_BLOCK, ["gelu"]))
def test_one_block_of_any_activation(activation: str) -> None:
    net = ResNet(Branch(Activation(activation), Linear(1.3, 0.2)), scale=0.7, depth=1)
    exact = evaluate(exact_moments(net), K0=0.9, width=HUGE)
    first = evaluate(one_loop(net), K0=0.9)
    np.testing.assert_allclose(HUGE * exact["G_cov"], first["G_cov"], rtol=2e-7)
    assert HUGE * float(exact["C_var"]) == pytest.approx(first["C_cov"][0, 0], rel=1e-8)
    assert first["C_mean"][0] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("name", ["linear", "relu inside"])
def test_what_is_left_falls_like_the_square_of_the_width(name: str) -> None:
    net = NETS[name]
    first = evaluate(one_loop(net), K0=0.9)["G_cov"]
    widths = np.array([1000, 2000, 4000])
    exact = evaluate(exact_moments(net), K0=0.9, width=widths)["G_cov"]
    left = np.abs(exact - first / widths[:, None, None])[:, -1, -1]
    np.testing.assert_allclose(np.diff(np.log2(left)), -2, atol=0.02)
    # Control: without the theory the variance itself falls like 1/N.
    np.testing.assert_allclose(np.diff(np.log2(exact[:, -1, -1])), -1, atol=0.02)


def test_validity_bounds_what_is_left() -> None:
    """v/N states the relative error of the variance to within a factor of about two."""
    for name in ("linear", "relu inside"):
        net = NETS[name]
        width = 50
        first = evaluate(one_loop(net), K0=0.9, width=width)
        exact = evaluate(exact_moments(net), K0=0.9, width=width)["G_var"]
        left = np.abs(exact * width / np.diagonal(first["G_cov"]) - 1)
        assert (left <= 1.2 * first["relative_error"]).all()
        assert left[-1] >= 0.2 * first["relative_error"][-1]
