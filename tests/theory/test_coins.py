"""Stochastic depth: kernels that stay random at infinite width, averaged over their coins."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from uncompiled import evaluate

from resexpand import (
    Activation,
    Branch,
    DropPath,
    LayerNorm,
    Linear,
    ResNet,
    StochasticDepth,
    kernel,
    noise_average,
    response,
)
from resexpand.errors import HyperparameterError, UnsupportedError

W, B, RHO, DEPTH, START = 1.7, 0.1, 0.8, 4, 0.7
PAIR = np.array([[1.0, 0.3], [0.3, 0.7]])


def erf_pair(K: np.ndarray) -> np.ndarray:
    """Return ``<erf erf>`` for every pair of inputs."""
    size = np.sqrt(1 + 2 * np.diag(K))
    return 2 / np.pi * np.arcsin(2 * K / np.outer(size, size))


def test_coins_of_homogeneous_branches() -> None:
    """The sheet: ``E K = K0 prod(1 + q/p)``, ``E K^2 = K0^2 prod(1 + 2q/p + q^2/p^3)``."""
    survival = np.array([0.9, 0.7, 0.5, 1.0])
    branch = Branch(Activation("relu"), Linear(W, 0), StochasticDepth(survival))
    net = ResNet(branch, scale=RHO, depth=DEPTH)
    q = RHO**2 * W / 2
    mean = np.cumprod([START, *(1 + q / survival)])
    square = np.cumprod([START**2, *(1 + 2 * q / survival + q**2 / survival**3)])
    values = evaluate(kernel(net), K0=START)
    np.testing.assert_allclose(values["K"], mean, rtol=1e-13)
    np.testing.assert_allclose(values["K_var"], square - mean**2, rtol=1e-10, atol=1e-14)
    assert not np.allclose(values["K_var"][1:], 0, atol=1e-3)
    found = noise_average(net, K0=START)
    np.testing.assert_allclose(found.K, mean, rtol=1e-12)
    np.testing.assert_allclose(found.K_var, square - mean**2, rtol=1e-10, atol=1e-14)
    assert found.strings == 8  # the last block always acts
    np.testing.assert_allclose(evaluate(response(net), K0=START)["chi_0"], mean / START)
    tangent = evaluate(response(net, "tangent"), K0=START)["chi_0"]
    np.testing.assert_allclose(tangent, mean / START)


def test_coins_of_other_branches() -> None:
    net = ResNet(Branch(Activation("erf"), Linear(W, B), StochasticDepth(0.7)), scale=RHO, depth=3)
    moments = np.zeros((2, 4, 2, 2))
    for coins in product((0, 1), repeat=3):
        chance, layers = np.prod([0.7 if b else 0.3 for b in coins]), [PAIR]
        for b in coins:
            feature = erf_pair(layers[-1])
            layers.append(layers[-1] + (RHO * b / 0.7) ** 2 * (W * feature + B))
        moments += chance * np.array([layers, np.square(layers)])
    found = noise_average(net, K0=PAIR)
    np.testing.assert_allclose(found.K, moments[0], rtol=1e-12)
    np.testing.assert_allclose(found.K_var, moments[1] - moments[0] ** 2, atol=1e-12)
    for ask in (kernel, lambda n: kernel(n, 2), response, lambda n: response(n, "tangent")):
        with pytest.raises(UnsupportedError, match="the kernel is random at infinite width"):
            ask(net)


def test_coins_that_cannot_be_averaged() -> None:
    inner = ResNet(Branch(StochasticDepth(0.5), Linear(1, 0)), scale=1, depth=2)
    for ask in (kernel, lambda net: noise_average(net, K0=1.0)):
        with pytest.raises(UnsupportedError, match=r"behind a coin|does not close its branch"):
            ask(inner)
    own = ResNet(Branch(Activation("relu"), Linear(1, 0), DropPath(0.5)), scale=1, depth=2)
    assert noise_average(own, K0=1.0).K[-1] == pytest.approx(evaluate(kernel(own), K0=1.0)["K"][-1])
    assert noise_average(own, K0=PAIR).strings == 16
    with pytest.raises(UnsupportedError, match="random at infinite width"):
        kernel(own, inputs=2)
    with pytest.raises(HyperparameterError, match="at most 65536 are enumerated"):
        noise_average(own.with_scale(1, 17), K0=1.0)


def test_coins_of_linear_networks_close_for_pairs() -> None:
    for kind, square in ((StochasticDepth, 1 / 0.5), (DropPath, 1.0)):
        net = ResNet(Branch(Linear(W, B), kind(0.5)), scale=RHO, depth=1)
        found = evaluate(kernel(net, 2), K0=PAIR)["K"][-1, 0, 1]
        assert found == pytest.approx(0.3 + RHO**2 * square * (W * 0.3 + B), rel=1e-13)


def test_a_normalised_stream_is_judged_at_once() -> None:
    """The slopes of these kernels are too large to be simplified in minutes."""
    branch = Branch(Linear(1.3, B), Activation("relu"), Linear(W, B), StochasticDepth(0.6))
    net = ResNet(branch, scale=RHO, depth=3, post_norm=LayerNorm())
    with pytest.raises(UnsupportedError, match="noise_average"):
        kernel(net, inputs=2)
    assert noise_average(net, K0=PAIR).K_var[1:, 0, 1].min() > 0
    mean = kernel(net)
    np.testing.assert_allclose([float(k) for k in mean.unroll(1, {"K0": START})["K"]], [START, 1])
