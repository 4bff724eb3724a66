"""Networks that outgrow float64: the same networks in other units, bit by bit.

A network with positively homogeneous activations whose inputs and biases are multiplied by 2^150
has states larger by 2^150, and is propagated in other units from layer 0 on, where the original is
in none. Every normal number must come out with the same bits.
"""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from scipy import integrate, stats

from resexpand import Activation, Branch, Linear, ResNet, sample
from resexpand.montecarlo.engine import Sampler
from resexpand.montecarlo.groups.power_of_two import is_rescalable

POWER = 150
NAMES = [
    *("kernel", "layer_covariance", "output", "distance", "residual_ratio", "residual_share"),
    *("log_kernel", "log_growth", "log_tangent"),
]
GROWTH = {"kernel": 2 * POWER, "layer_covariance": 2 * POWER, "output": POWER}


def larger(make, activation: str, method: str, power: int, bias: float | None = None) -> Sampler:
    """Return a sampler of networks with inputs and biases larger by `2**power`."""
    unit = sp.Integer(4) ** power
    bias = unit * sp.Rational(3, 10) if bias is None else bias
    branch = Branch(Linear(sp.Rational(4, 5), bias), Activation(activation), Linear(2, bias))
    net = ResNet(branch, scale=0.7, depth=5, read_out=Linear(1, bias))
    return make(net, NAMES, 12, K0=0.7 * float(unit), method=method)


@pytest.mark.parametrize(
    ("activation", "method"),
    [
        ("relu", "function-space"),
        pytest.param("relu", "dense", marks=pytest.mark.slow),
        ("leaky_relu", "dense"),
        pytest.param("leaky_relu", "function-space", marks=pytest.mark.slow),
        pytest.param("identity", "function-space", marks=pytest.mark.slow),
    ],
)
def test_the_same_networks_bit_by_bit(activation, method, make) -> None:
    plain = larger(make, activation, method, 0).rows(0, 6)
    far = larger(make, activation, method, POWER).rows(0, 6)
    for name in NAMES:
        expected = np.ldexp(plain[name], GROWTH.get(name, 0))
        if name == "log_kernel":
            np.testing.assert_allclose(far[name], expected + POWER * np.log(4), rtol=1e-14)
        elif name.startswith("log_"):
            np.testing.assert_allclose(far[name], expected, rtol=1e-12, atol=1e-12)
        else:
            np.testing.assert_array_equal(far[name], expected)


def test_biases_that_stay_are_seen(make) -> None:
    """Control: with biases of the old size the networks are others."""
    far = larger(make, "relu", "function-space", POWER, bias=0.3).rows(0, 6)
    plain = larger(make, "relu", "function-space", 0).rows(0, 6)
    assert (far["residual_ratio"] != plain["residual_ratio"]).all()


def log_factor(a: float, width: int) -> tuple[float, float]:
    """Return mean and variance of ln Q, Q ~ (a^2/N) chi'^2_N(N/a^2): one linear block."""
    law = stats.ncx2(width, width / a**2, scale=a**2 / width)
    low, high = law.ppf([1e-15, 1 - 1e-15])
    first, second = (
        integrate.quad(lambda q, k=k: np.log(q) ** k * law.pdf(q), low, high, limit=200)[0]
        for k in (1, 2)
    )
    return first, second - first**2


def test_a_linear_network_far_beyond_float64(z_score) -> None:
    width, depth, draws = 16, 1500, 40
    net = ResNet(Branch(Linear(2, 0)), scale=1.5, depth=depth)
    found = sample(net, ["log_growth", "kernel"], width, draws, K0=1.0, seed=3)
    mean, variance = log_factor(1.5 * np.sqrt(2), width)
    error = np.sqrt(depth * variance / draws)
    assert depth * mean > 2 * 709  # twice beyond the range
    assert abs(2 * found["log_growth"].mean[-1] - depth * mean) < 4 * error
    assert abs(2 * found["log_growth"].mean[-1] - depth * mean * 1.01) > 4 * error
    assert "overflow" in found["kernel"].flags
    assert 'ask for "log_kernel"' in found["kernel"].status
    assert "overflow" not in found["log_growth"].flags


def test_other_activations_overflow_and_say_so() -> None:
    net = ResNet(Branch(Activation(sp.Symbol("x") ** 2), Linear(1, 0)), scale=1, depth=20)
    found = sample(net, ["log_kernel"], 8, 40, K0=1.0)["log_kernel"]
    assert "overflow" in found.flags
    assert "smaller residual scale" in found.status


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("identity", True),
        ("relu", True),
        ("leaky_relu", True),
        ("sign", False),
        ("erf", False),
        ("gelu", False),
    ],
)
def test_which_activations_have_units(text: str, expected: bool) -> None:
    assert is_rescalable(Branch(Activation(text), Linear())) is expected


def test_intercepts_and_kinks_elsewhere_have_none() -> None:
    x = sp.Symbol("x")
    for expression in (x + 1, sp.Max(x, 1), sp.Max(x, 0) - sp.Max(x - 1, 0), x**2):
        assert not is_rescalable(Branch(Activation(expression), Linear()))
    assert is_rescalable(Branch(Activation(sp.Abs(x)), Linear()))
