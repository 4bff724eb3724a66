"""Both samplers against networks written down in NumPy, for every registered activation.

The oracle shares nothing with the package: NumPy's generator, its own activation functions, weights
stored as arrays, derivatives by the chain rule. Means and second moments of all observables are
compared in standard errors; the control is an oracle with a slightly wrong variance.
"""

from __future__ import annotations

import numpy as np
import pytest
from heavier import left_to_slow
from scipy import special

from resexpand import Activation, Branch, Linear, ResNet
from resexpand.activations import ACTIVATIONS as REGISTERED

DRAWS, WIDTH, DEPTH, RHO, S, T, S_OUT, T_OUT = 12_000, 8, 2, 0.9, 1.4, 0.3, 0.7, 0.2
K0 = np.array([[1.1, 0.5], [0.5, 0.8]])
ROOT_PI = np.sqrt(np.pi)

ACTIVATIONS = {
    "identity": (lambda x: x, np.ones_like),
    "erf": (special.erf, lambda x: 2 / ROOT_PI * np.exp(-(x**2))),
    "erf_unit": (lambda x: special.erf(ROOT_PI * x / 2), lambda x: np.exp(-np.pi * x**2 / 4)),
    "relu": (lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0)),
    "leaky_relu": (lambda x: np.where(x > 0, x, 0.01 * x), lambda x: np.where(x > 0, 1, 0.01)),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "gelu": (
        lambda x: x * special.ndtr(x),
        lambda x: special.ndtr(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
    ),
    "silu": (
        lambda x: x * special.expit(x),
        lambda x: special.expit(x) * (1 + x * special.expit(-x)),
    ),
    "sin": (np.sin, np.cos),
    "sign": (np.sign, None),
}
PAIRS = [(name, method) for name in ACTIVATIONS for method in ("function-space", "dense")]
DENSE_MORE = ("identity", "erf", "erf_unit", "leaky_relu", "gelu", "silu", "sin")
MORE_PAIRS = [(name, "dense") for name in DENSE_MORE]


def numpy_pair(phi, s: float) -> dict[str, np.ndarray]:
    """Return kernel, layer covariance and output products of two inputs, one row per network."""
    random = np.random.default_rng(99)
    h = random.normal(size=(DRAWS, WIDTH, 2)) @ np.linalg.cholesky(K0).T
    gram = lambda x: np.einsum("nia,nib->nab", x, x) / WIDTH  # noqa: E731
    kernel, covariance = [gram(h)], []
    for _ in range(DEPTH):
        weights = random.normal(size=(DRAWS, WIDTH, WIDTH)) * np.sqrt(s / WIDTH)
        biases = random.normal(size=(DRAWS, WIDTH, 1)) * np.sqrt(T)
        covariance.append(s * gram(phi(h)) + T)
        h = h + RHO * (weights @ phi(h) + biases)
        kernel.append(gram(h))
    covariance.append(S_OUT * gram(phi(h)) + T_OUT)
    row = random.normal(size=(DRAWS, WIDTH)) * np.sqrt(S_OUT / WIDTH)
    bias = random.normal(size=(DRAWS, 1)) * np.sqrt(T_OUT)
    y = np.einsum("ni,nia->na", row, phi(h)) + bias
    return {
        "kernel": np.stack(kernel, 1),
        "layer_covariance": np.stack(covariance, 1),
        "output": y,
        "output_squared": y[:, :, None] * y[:, None, :],
    }


def numpy_tangent(phi, slope, k: float) -> dict[str, np.ndarray]:
    """Return chi and response of one input, one row per network."""
    random = np.random.default_rng(98)
    h = random.normal(size=(DRAWS, WIDTH)) * np.sqrt(k)
    v = h / (2 * k)
    average = lambda x, y: 2 * np.mean(x * y, axis=1)  # noqa: E731
    chi, response = [average(h, v)], [S_OUT * average(phi(h), slope(h) * v)]
    for _ in range(DEPTH):
        weights = random.normal(size=(DRAWS, WIDTH, WIDTH)) * np.sqrt(S / WIDTH)
        biases = random.normal(size=(DRAWS, WIDTH)) * np.sqrt(T)
        step = np.einsum("nij,nj->ni", weights, slope(h) * v)
        h, v = h + RHO * (np.einsum("nij,nj->ni", weights, phi(h)) + biases), v + RHO * step
        chi.append(average(h, v))
        response.append(S_OUT * average(phi(h), slope(h) * v))
    return {"chi": np.stack(chi, 1), "response": np.stack(response, 1)}


def worst_score(first: np.ndarray, second: np.ndarray) -> float:
    """Return the largest |z| of the differences of means and of second moments."""
    worst = 0.0
    for power in (1, 2):
        a, b = first**power, second**power
        error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / DRAWS)
        difference = np.abs(a.mean(axis=0) - b.mean(axis=0))
        # what does not fluctuate (sign(x)^2, derivatives of the identity) must agree as it stands
        assert np.all(difference[error < 1e-12] < 1e-12)
        worst = max(worst, float(np.max(difference[error >= 1e-12] / error[error >= 1e-12])))
    return worst


def net(name: str) -> ResNet:
    branch = Branch(Activation(name), Linear(S, T))
    return ResNet(branch, scale=RHO, depth=DEPTH, read_out=branch.followed_by(Linear(S_OUT, T_OUT)))


@pytest.mark.parametrize(("name", "method"), left_to_slow(PAIRS, MORE_PAIRS))
def test_two_inputs(name: str, method: str, make) -> None:
    expected = numpy_pair(ACTIVATIONS[name][0], S)
    rows = make(net(name), list(expected), WIDTH, K0=K0, method=method).rows(0, DRAWS)
    for observable, value in expected.items():
        assert worst_score(rows[observable], value) < 4.8, observable


@pytest.mark.parametrize("name", ["erf_unit", "relu", "gelu", "silu"])
def test_derivatives(name: str, make) -> None:
    expected = numpy_tangent(*ACTIVATIONS[name], 0.8)
    rows = make(net(name), list(expected), WIDTH, K0=0.8).rows(0, DRAWS)
    for observable, value in expected.items():
        assert worst_score(rows[observable], value) < 4.8, observable


def test_a_wrong_variance_is_rejected(make) -> None:
    expected = numpy_pair(ACTIVATIONS["erf"][0], 1.2 * S)
    rows = make(net("erf"), list(expected), WIDTH, K0=K0).rows(0, DRAWS)
    assert worst_score(rows["kernel"], expected["kernel"]) > 5


def test_every_registered_activation_is_here() -> None:

    assert set(ACTIVATIONS) == set(REGISTERED)
