"""Dense and function-space samplers have the same law: two-sample tests at small width.

Every activation, branch shape and observable is drawn with both samplers and different seeds;
means are compared in standard errors, distributions at the last layer by Kolmogorov-Smirnov. The
negative control is a dense ensemble with slightly larger weights.
"""

from __future__ import annotations

import numpy as np
import pytest
from heavier import left_to_slow
from scipy import stats

from resexpand import Activation, Branch, Linear, ResNet

DRAWS = 8000
W, B = Linear(1.4, 0.3), Linear(0.8, 0.0)
ACTIVATIONS = ["erf", "relu", "leaky_relu", "tanh", "gelu", "sin", "sign"]
# A smooth one, a kink and a jump are quick; tanh has every shape of a branch below.
MORE_ACTIVATIONS = ["leaky_relu", "tanh", "gelu", "sin"]
BRANCHES = {
    "W phi(h)": lambda phi: Branch(phi, W),
    "V phi(W h)": lambda phi: Branch(W, phi, B),
    "phi(W h)": lambda phi: Branch(W, phi),
    "V phi(W phi(h))": lambda phi: Branch(phi, B, phi, W),
}
SHAPES = [(shape, activation) for shape in BRANCHES for activation in ("tanh", "relu")]
MORE_SHAPES = [(shape, "relu") for shape in BRANCHES if shape != "phi(W h)"]
PAIR = [[1.2, 0.5], [0.5, 0.9]]


def scores(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return z-scores of the difference of two means; zero where nothing fluctuates."""
    error = np.sqrt(
        first.var(axis=0, ddof=1) / len(first) + second.var(axis=0, ddof=1) / len(second)
    )
    difference = first.mean(axis=0) - second.mean(axis=0)
    return np.divide(difference, error, out=np.zeros_like(difference), where=error > 1e-12)


def assert_same_law(first: np.ndarray, second: np.ndarray) -> None:
    assert np.abs(scores(first, second)).max() < 4.5
    assert np.abs(scores(first**2, second**2)).max() < 4.5
    last = [rows.reshape(len(rows), -1)[:, -1] for rows in (first, second)]
    assert stats.ks_2samp(*last).pvalue > 1e-4


def both(make, net, names, width, K0) -> tuple[dict, dict]:
    draws = (make(net, names, width, K0=K0, method="dense", seed=11).rows(0, DRAWS),)
    return (*draws, make(net, names, width, K0=K0, seed=12).rows(0, DRAWS))


@pytest.mark.parametrize("activation", left_to_slow(ACTIVATIONS, MORE_ACTIVATIONS))
@pytest.mark.parametrize("width", [8, 20])
def test_kernels_and_outputs(activation, width, make) -> None:
    branch = BRANCHES["W phi(h)"](Activation(activation))
    net = ResNet(branch, scale=0.8, depth=3, read_out=branch.followed_by(Linear(0.7, 0.1)))
    names = ["kernel", "layer_covariance", "output", "output_squared"]
    dense, function_space = both(make, net, names, width, PAIR)
    for name in names:
        assert_same_law(dense[name], function_space[name])


@pytest.mark.parametrize(("shape", "activation"), left_to_slow(SHAPES, MORE_SHAPES))
def test_branch_shapes_and_derivatives(shape, activation, make) -> None:
    net = ResNet(BRANCHES[shape](Activation(activation)), scale=[0.9, 0.5, 0.7])
    names = ["kernel", "layer_covariance", "chi", "response", "tangent", "output_squared"]
    dense, function_space = both(make, net, names, 8, 0.8)
    for name in names:
        assert_same_law(dense[name], function_space[name])


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_covariance_response(activation, make) -> None:
    net = ResNet(BRANCHES["W phi(h)"](Activation(activation)), scale=0.8, depth=3)
    dense, function_space = both(make, net, ["covariance_response", "kernel"], 20, PAIR)
    for name in dense:
        assert_same_law(dense[name], function_space[name])


def test_control_is_rejected(make) -> None:
    law = lambda s: ResNet(Branch(Activation("erf"), Linear(s, 0.3)), scale=0.8, depth=3)  # noqa: E731
    dense = make(law(1.5), "kernel", 20, method="dense", seed=11).rows(0, DRAWS)["kernel"]
    other = make(law(1.4), "kernel", 20, seed=12).rows(0, DRAWS)["kernel"]
    assert np.abs(scores(dense, other)).max() > 5


def test_equal_and_switched_off_inputs(make) -> None:
    """Exactly dependent columns: equal inputs stay equal, in both samplers."""
    net = ResNet(BRANCHES["W phi(h)"](Activation("relu")), scale=0.8, depth=3)
    K0 = [[1.0, 1.0, 0.2], [1.0, 1.0, 0.2], [0.2, 0.2, 0.5]]
    dense, function_space = both(make, net, ["kernel"], 4, K0)
    assert_same_law(dense["kernel"], function_space["kernel"])
    for rows in (dense["kernel"], function_space["kernel"]):
        np.testing.assert_allclose(rows[..., 0, 0], rows[..., 0, 1], rtol=1e-12)
    zero = make(net, "kernel", 4, K0=0.0).rows(0, 50)["kernel"]
    assert np.isfinite(zero).all()
    assert (zero[:, 0] == 0).all()


def test_samplers_with_one_seed_are_independent(make) -> None:
    """They share the input; the weights of one say nothing about those of the other."""
    net = ResNet(Branch(Linear(1.0, 0.0)), scale=1.0, depth=1)
    growth = [
        np.divide.reduce(
            make(net, "kernel", 8, method=m, seed=5).rows(0, DRAWS)["kernel"][:, ::-1].T
        )
        for m in ("dense", "function-space")
    ]
    assert abs(np.corrcoef(growth)[0, 1]) < 4.5 / np.sqrt(DRAWS)
