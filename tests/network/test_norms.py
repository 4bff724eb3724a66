"""Layer and root-mean-square normalisation, and a constant factor, inside a branch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from heavier import left_to_slow
from uncompiled import evaluate

from resexpand import (
    Activation,
    Branch,
    LayerNorm,
    Linear,
    ResNet,
    RMSNorm,
    Scale,
    kernel,
    sample,
    to_latex,
)
from resexpand.errors import DescriptionError, UnsupportedError
from resexpand.network.registry import operation_of

PAIR = np.array([[1.0, 0.3], [0.3, 0.7]])
RELU, OUT = Activation("relu"), Linear(1.9, 0.07)
LIMIT = 4.5


def pair_average(c: float) -> float:
    """Return <relu relu> at unit variances and correlation c."""
    return (math.sqrt(1 - c * c) + (math.pi - math.acos(c)) * c) / (2 * math.pi)


def pre_norm(eps: float, depth: int) -> list[np.ndarray]:
    """Return kernels of ``[norm, relu, Linear(1.9, .07)]``, scale .65, from `PAIR`."""
    found = [PAIR]
    for _ in range(depth):
        k = found[-1]
        s = np.sqrt(np.diag(k) + eps)
        k = k / np.outer(s, s)
        c = k[0, 1] / math.sqrt(k[0, 0] * k[1, 1])
        off = math.sqrt(k[0, 0] * k[1, 1]) * pair_average(c)
        image = np.array([[k[0, 0] / 2, off], [off, k[1, 1] / 2]])
        found.append(found[-1] + 0.65**2 * (1.9 * image + 0.07))
    return found


@pytest.mark.parametrize("norm", [LayerNorm, RMSNorm])
@pytest.mark.parametrize("eps", [0, 0.1])
def test_pre_norm_kernels(norm: Any, eps: float) -> None:
    net = ResNet(Branch(norm(eps=eps), RELU, OUT), scale=0.65, depth=5)
    expected = pre_norm(eps, 5)
    np.testing.assert_allclose(evaluate(kernel(net, 2), K0=PAIR)["K"], expected, rtol=1e-13)
    one = evaluate(kernel(net), K0=0.7)["K"]
    np.testing.assert_allclose(one, [k[1, 1] for k in expected], rtol=1e-13)


def test_the_mean_behind_an_activation() -> None:
    def first(norm: Any) -> float:
        branch = Branch(Linear(1, 0), RELU, norm(), Linear(1, 0))
        return float(evaluate(kernel(ResNet(branch, scale=1, depth=1), 2), K0=PAIR)["K"][1, 0, 1])

    root = math.sqrt(0.7)
    raw = root * pair_average(0.3 / root)
    mean = math.sqrt(1 / (2 * math.pi))
    means = (mean, mean * math.sqrt(0.7))
    centred = (raw - means[0] * means[1]) / (root * (0.5 - 1 / (2 * math.pi)))
    assert first(LayerNorm) == pytest.approx(0.3 + centred, rel=1e-13)
    assert first(RMSNorm) == pytest.approx(0.3 + raw / (root / 2), rel=1e-13)


def test_gain_and_bias_are_constants() -> None:
    net = ResNet(Branch(Linear(1, 0), LayerNorm(0, 1.5, 0.2), Linear(1, 0)), scale=1, depth=1)
    found = evaluate(kernel(net, 2), K0=PAIR)["K"][1]
    c = 0.3 / math.sqrt(0.7)
    image = 2.25 * np.array([[1, c], [c, 1]]) + 0.04
    np.testing.assert_allclose(found, PAIR + image, rtol=1e-13)
    gained = ResNet(Branch(LayerNorm(0.1, gain=1.5), Scale(1), RELU, OUT), scale=0.65, depth=3)
    scaled = ResNet(Branch(LayerNorm(0.1), Scale(1.5), RELU, OUT), scale=0.65, depth=3)
    values = [evaluate(kernel(n, 2), K0=PAIR)["K"] for n in (gained, scaled)]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-13)
    drawn = [sample(n, ["kernel", "gradient"], 12, 6, K0=PAIR) for n in (gained, scaled)]
    for name in drawn[0]:
        np.testing.assert_allclose(drawn[0][name].mean, drawn[1][name].mean, rtol=1e-12)


@pytest.mark.parametrize("method", left_to_slow(["function-space", "dense"], ["dense"]))
def test_sampled_kernels(method: str) -> None:
    branch = Branch(LayerNorm(0.1), RELU, RMSNorm(0.2), OUT)
    net = ResNet(branch, scale=0.65, depth=3)
    found = sample(net, "kernel", 200, 300, K0=PAIR, method=method)
    theory = evaluate(kernel(net, 2), K0=PAIR)["K"]
    z = (found["kernel"].mean - theory) / found["kernel"].stderr
    assert np.abs(z).max() < LIMIT
    other = ResNet(Branch(LayerNorm(0.1), RELU, LayerNorm(0.2), OUT), scale=0.65, depth=3)
    wrong = (found["kernel"].mean - evaluate(kernel(other, 2), K0=PAIR)["K"])[1:]
    assert np.abs(wrong / found["kernel"].stderr[1:]).max() > 10
    one = sample(net, "directional_derivative", 30, 3, K0=0.7, method=method)
    product = one["directional_derivative"].mean
    np.testing.assert_allclose(product, product[0], rtol=1e-9)


@pytest.mark.parametrize("norm", [LayerNorm, RMSNorm])
def test_a_linear_network_is_exact_at_every_width(norm: Any) -> None:
    net = ResNet(Branch(norm(), Linear(1.5, 0.2)), scale=0.8, depth=5)
    expected = 0.4 + np.arange(6) * 0.64 * 1.7
    np.testing.assert_allclose(evaluate(kernel(net), K0=0.4)["K"], expected, rtol=1e-14)
    found = sample(net, "kernel", 8, 4000, K0=0.4, seed=1)["kernel"]
    assert np.abs((found.mean - expected) / found.stderr).max() < LIMIT


def test_descriptions() -> None:
    assert repr(LayerNorm(0.1)) == "LayerNorm(eps=1/10, gain=1, bias=0)"
    assert operation_of("RMSNorm", (0.1,)) == RMSNorm(0.1)
    assert LayerNorm() != RMSNorm()
    with pytest.raises(DescriptionError, match="eps = -1: it must not be below 0"):
        LayerNorm(eps=-1)
    with pytest.raises(DescriptionError, match="factor = None"):
        Scale()
    with pytest.raises(UnsupportedError, match="two activations in a row"):
        Branch(LayerNorm(bias=0.1), RELU, OUT)


def test_letters() -> None:
    net = ResNet(Branch(LayerNorm(0.1), RELU, OUT), scale=0.65, depth=5)
    assert r"\frac{K^{l-1}}{K^{l-1} + \varepsilon}" in to_latex(kernel(net))
    assert r"\operatorname{LayerNorm}(x) = " in to_latex(net)
    gained = ResNet(Branch(LayerNorm(0.1, 2), RELU, OUT), scale=0.65, depth=5)
    assert r"\gamma^{2}" in to_latex(kernel(gained))
