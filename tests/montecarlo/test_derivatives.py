"""Pathwise derivatives against central differences of the same networks.

The dense sampler keeps its weights when K0 moves, so the difference quotient of one network is its
derivative up to O(eps^2); halving eps must quarter the deviation.
"""

from __future__ import annotations

import numpy as np
import pytest
from heavier import left_to_slow

from resexpand import Activation, Branch, Linear, ResNet
from resexpand.errors import KernelError, UnsupportedError

W = Linear(1.3, 0.2)
SMOOTH = ["erf", "tanh", "gelu", "sin"]


def quotient(make, net, name: str, move, eps: float) -> np.ndarray:
    up, down = (
        make(net, name, 12, K0=move(step), method="dense").rows(0, 20)[name] for step in (eps, -eps)
    )
    return (up - down) / (2 * eps)


def derivative(make, net, name: str, K0) -> np.ndarray:
    return make(net, name, 12, K0=K0, method="dense").rows(0, 20)[name]


@pytest.mark.parametrize("activation", left_to_slow(SMOOTH, ["sin", "gelu"]))
def test_chi_and_response(activation, make) -> None:
    net = ResNet(Branch(Activation(activation), W), scale=0.6, depth=4)
    pairs = [("chi", "kernel", 1.0), ("response", "layer_covariance", 1.3)]
    for name, integral, variance in pairs:
        exact = variance * derivative(make, net, name, 0.8)
        errors = [
            np.abs(quotient(make, net, integral, lambda s: 0.8 + s, eps) - exact).max()
            for eps in (2e-2, 1e-2)
        ]
        assert errors[1] < 1e-3
        assert 3.5 < errors[0] / errors[1] < 4.5
        small = quotient(make, net, integral, lambda s: 0.8 + s, 1e-5)
        np.testing.assert_allclose(small, exact, rtol=1e-6, atol=1e-8)


def test_response_takes_the_variance_of_the_read_out(make) -> None:
    branch = Branch(Activation("erf"), W)
    net = ResNet(branch, scale=0.6, depth=3, read_out=branch.followed_by(Linear(2.5, 0.7)))
    unit = ResNet(Branch(Activation("erf"), W), scale=0.6, depth=3)
    exact = derivative(make, net, "response", 0.8)
    np.testing.assert_allclose(exact, 2.5 * derivative(make, unit, "response", 0.8), rtol=1e-12)
    last = quotient(make, net, "layer_covariance", lambda s: 0.8 + s, 1e-5)[:, -1]
    np.testing.assert_allclose(exact[:, -1], last, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_branch_with_two_weights(make) -> None:
    net = ResNet(Branch(Linear(0.9, 0.1), Activation("tanh"), W), scale=0.6, depth=3)
    exact = derivative(make, net, "chi", 0.8)
    small = quotient(make, net, "kernel", lambda s: 0.8 + s, 1e-5)
    np.testing.assert_allclose(small, exact, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("activation", ["erf", "tanh"])
def test_covariance_response(activation, make) -> None:
    net = ResNet(Branch(Activation(activation), W), scale=0.6, depth=4)
    move = lambda s: [[1.1, 0.4 + s], [0.4 + s, 0.9]]  # noqa: E731
    exact = derivative(make, net, "covariance_response", move(0.0))
    small = quotient(make, net, "kernel", move, 1e-5)[..., 0, 1]
    np.testing.assert_allclose(small, exact, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["chi", "response", "tangent"])
def test_no_derivative_through_a_jump(name, make) -> None:
    net = ResNet(Branch(Activation("sign"), W), scale=0.6, depth=2)
    with pytest.raises(UnsupportedError, match=r"sign jumps.*use a continuous"):
        make(net, name, 8)


def test_no_derivative_at_singular_kernels(make) -> None:
    net = ResNet(Branch(Activation("erf"), W), scale=0.6, depth=2)
    with pytest.raises(KernelError, match="K0 > 0"):
        make(net, "chi", 8, K0=0.0)
    with pytest.raises(KernelError, match="singular"):
        make(net, "covariance_response", 8, K0=[[1.0, 1.0], [1.0, 1.0]])
