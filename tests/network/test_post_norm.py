"""Normalisation of the stream behind every block: theory, both samplers, printers, stores."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from uncompiled import evaluate

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    LayerNorm,
    Linear,
    ResNet,
    RMSNorm,
    gradient_moments,
    kernel,
    mlp,
    one_loop,
    order_profile,
    response,
    sample,
    to_latex,
)
from resexpand.cli import main
from resexpand.errors import DescriptionError, KernelError, UnsupportedError

PAIR = np.array([[1.0, 0.3], [0.3, 0.7]])
RELU, OUT = Activation("relu"), Linear(1.9, 0.07)
EPS, ALPHA, RHO = 0.1, 1.3, 0.65
NET = ResNet(Branch(RELU, OUT), scale=RHO, depth=3, skip=ALPHA, post_norm=LayerNorm(eps=EPS))
PLAIN = ResNet(Branch(RELU, OUT), scale=0.8, depth=4, post_norm=LayerNorm())
NAMES = ["kernel", "chi", "tangent", "gradient", "directional_derivative"]
LIMIT = 4.5


def relu_pair(c: float) -> float:
    return (math.sqrt(1 - c * c) + (math.pi - math.acos(c)) * c) / (2 * math.pi)


def by_hand(depth: int, eps: float, alpha: float, rho: float) -> list[np.ndarray]:
    """Return the kernels of ``norm(alpha h + rho (W relu(h) + b))`` from `PAIR`."""
    found = [PAIR]
    for _ in range(depth):
        k = found[-1]
        root = math.sqrt(k[0, 0] * k[1, 1])
        off = root * relu_pair(k[0, 1] / root)
        image = np.array([[k[0, 0] / 2, off], [off, k[1, 1] / 2]])
        k = alpha**2 * k + rho**2 * (1.9 * image + 0.07)
        s = np.sqrt(np.diag(k) + eps)
        found.append(k / np.outer(s, s))
    return found


def largest_z(estimate: Any, theory: Any, skip: int = 0) -> float:
    return float(np.abs((estimate.mean - theory)[skip:] / estimate.stderr[skip:]).max())


def test_kernels() -> None:
    expected = by_hand(3, EPS, ALPHA, RHO)
    np.testing.assert_allclose(evaluate(kernel(NET, 2), K0=PAIR)["K"], expected, rtol=1e-13)
    np.testing.assert_allclose(evaluate(kernel(NET), K0=1.0)["K"], [k[0, 0] for k in expected])
    three = np.array([[1.0, 0.3, 0.2], [0.3, 0.7, 0.1], [0.2, 0.1, 1.4]])
    found = evaluate(kernel(NET, 2), K0=three)["K"]
    np.testing.assert_allclose(found[:, :2, :2], expected, rtol=1e-13)
    unit = evaluate(kernel(PLAIN), K0=0.7)["K"]
    np.testing.assert_allclose(unit[1:], 1.0, rtol=1e-15)


def test_responses() -> None:
    found = evaluate(response(NET), K0=0.7)["chi_0"]
    moved = [evaluate(kernel(NET), K0=0.7 + s)["K"] for s in (1e-5, -1e-5)]
    np.testing.assert_allclose(found, (moved[0] - moved[1]) / 2e-5, rtol=1e-8)
    np.testing.assert_allclose(evaluate(response(PLAIN), K0=0.7)["chi_0"][1:], 0, atol=1e-15)
    # One block of unit variances moves the correlation by (1 + r w <phi'phi'>) / (1 + r C).
    kernels = evaluate(kernel(PLAIN, 2), K0=PAIR)["K"]
    chi = evaluate(response(PLAIN, "covariance"), K0=PAIR)["chi"]
    c = kernels[2, 0, 1]
    slope = (math.pi - math.acos(c)) / (2 * math.pi)
    step = (1 + 0.64 * 1.9 * slope) / (1 + 0.64 * (1.9 / 2 + 0.07))
    assert chi[3, 2] == pytest.approx(step, rel=1e-13)


def test_tangents_and_gradients() -> None:
    step = (1 + 0.64 * 1.9 / 2) / (1 + 0.64 * (1.9 / 2 + 0.07))
    chi = evaluate(response(PLAIN, "tangent"), K0=1.0)["chi_0"]
    np.testing.assert_allclose(chi, step ** np.arange(5), rtol=1e-13)
    gradient = evaluate(gradient_moments(PLAIN), K0=1.0)["gradient"]
    np.testing.assert_allclose(gradient, step ** np.arange(4, -1, -1) / 2, rtol=1e-13)
    assert step != pytest.approx(2 / 3, rel=0.1)


@pytest.mark.parametrize("method", ["function-space", "dense"])
def test_networks_follow(method: str) -> None:
    found = sample(NET, NAMES, 256, 400, K0=0.7, seed=3, method=method)
    assert largest_z(found["kernel"], evaluate(kernel(NET), K0=0.7)["K"]) < LIMIT
    wrong = ResNet(NET.branches, scale=RHO, depth=3, skip=1, post_norm=LayerNorm(eps=EPS))
    assert largest_z(found["kernel"], evaluate(kernel(wrong), K0=0.7)["K"]) > 2 * LIMIT
    assert largest_z(found["chi"], evaluate(response(NET), K0=0.7)["chi_0"]) < LIMIT
    tangent = evaluate(response(NET, "tangent"), K0=0.7)["chi_0"]
    assert largest_z(found["tangent"], tangent, skip=1) < LIMIT
    gradient = evaluate(gradient_moments(NET), K0=0.7)["gradient"]
    assert largest_z(found["gradient"], gradient) < LIMIT
    assert largest_z(found["gradient"], gradient[::-1]) > 2 * LIMIT
    product = found["directional_derivative"].mean
    np.testing.assert_allclose(product, product[0], rtol=1e-9)


def test_kinds_of_blocks_in_a_cycle() -> None:
    net = ResNet(
        [Branch(RELU, OUT), Branch(Linear(1.1, 0), RELU, RMSNorm(0.2), OUT)],
        scale=[0.9, 0.5],
        depth=3,
        post_norm=LayerNorm(eps=EPS),
    )
    assert [float(s) for s in net.scale] == [0.9, 0.5, 0.9]
    found = sample(net, ["kernel", "directional_derivative"], 200, 300, K0=0.7, seed=2)
    theory = evaluate(kernel(net), K0=0.7)["K"]
    assert largest_z(found["kernel"], theory) < LIMIT
    assert largest_z(found["kernel"], 1.02 * theory) > LIMIT
    product = found["directional_derivative"].mean
    np.testing.assert_allclose(product, product[0], rtol=1e-9)


def test_a_store_resumes_it(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    whole = sample(NET, NAMES, 16, 60, K0=0.7, seed=4)["kernel"].mean
    sample(NET, NAMES, 16, 30, K0=0.7, seed=4, store=path)
    resumed = sample(NET, NAMES, 16, 60, K0=0.7, seed=4, store=path)
    assert resumed["kernel"].mean.tobytes() == whole.tobytes()
    assert resumed.settings["post_norm"] == "LayerNorm"


def test_printers_and_commands(capsys: pytest.CaptureFixture[str]) -> None:
    written = to_latex(NET)
    assert r"h^{l} = \operatorname{LayerNorm}_{\mathrm{post}}\left(" in written
    assert r"\varepsilon_{post}" in to_latex(kernel(NET))
    assert "post_norm=LayerNorm(eps=1/10, gain=1, bias=0)" in repr(NET)
    assert NET.with_scale(1, depth=5).post_norm == NET.post_norm
    options = ["--activation", "relu", "--weight-variance", "1.9", "--bias-variance", "0.07"]
    options += ["--rho", "0.8", "--depth", "4", "--K0", "0.7", "--post-norm", "LayerNorm(eps=0.1)"]
    assert main(["kernel", *options]) == 0
    net = PLAIN.with_scale(0.8)
    net = ResNet(net.branches, scale=0.8, depth=4, post_norm=LayerNorm(0.1))
    assert f"{evaluate(kernel(net), K0=0.7)['K'][-1]:.6g}" in capsys.readouterr().out
    assert main(["one-loop", *options]) == 2


def test_what_cannot_be() -> None:
    with pytest.raises(DescriptionError, match="it is no map of the neurons"):
        ResNet(Branch(RELU, OUT), scale=1, depth=2, post_norm=Linear(1, 0))  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="would not be Gaussian"):
        ResNet(Branch(RELU, OUT), scale=1, depth=2, post_norm=RELU)
    with pytest.raises(UnsupportedError, match="couples the inputs of a batch"):
        ResNet(Branch(RELU, OUT), scale=1, depth=2, post_norm=BatchNorm())
    with pytest.raises(UnsupportedError, match="or a shift of the stream"):
        ResNet(Branch(RELU, OUT), scale=1, depth=2, post_norm=LayerNorm(bias=0.3))
    with pytest.raises(DescriptionError, match="two linear maps"):
        mlp(2, weight_variance=(1, 2, 3))
    with pytest.raises(UnsupportedError, match="rescales all orders"):
        order_profile(NET, 2)
    with pytest.raises(UnsupportedError, match="neither feel the length"):
        one_loop(ResNet(Branch(RELU, OUT), scale=1, depth=2, post_norm=LayerNorm(0.1)))
    with pytest.raises(UnsupportedError, match="its averages over the neurons couple"):
        sample(NET, "path_profile(2)", 16, 10, K0=1.0)


def test_streams_without_variance() -> None:
    net = ResNet(Branch(LayerNorm(), RELU, OUT), scale=1, depth=2)
    for start in (0.0, np.array([1.0, 0.0])):
        with pytest.raises(KernelError, match="its variance vanishes"):
            evaluate(kernel(net), K0=start)
    with pytest.raises(KernelError, match="its variance vanishes"):
        sample(net, "kernel", 16, 10, K0=0.0)
    small = ResNet(Branch(LayerNorm(0.1), RELU, OUT), scale=1, depth=2)
    assert evaluate(kernel(small), K0=0.0)["K"][1] == pytest.approx(0.07)
