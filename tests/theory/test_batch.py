r"""Kernels and gradients of normalised batches against closed forms, other routes and each other.

Oracles: a batch of B is uniform on a sphere, whose averages for relu are an arc cosine at
``-1/(B-1)``; the growth of gradients without skip connections, 3.084, 1.788, 1.522 for B = 4, 8,
32; the running statistics of three blocks; all typed here a second time.
"""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp
from oracles import exchangeable
from scipy.special import erf, roots_gegenbauer
from uncompiled import evaluate

from resexpand import Activation, BatchNorm, Branch, Linear, ResNet, gradient_moments, kernel
from resexpand.errors import HyperparameterError, KernelError, UnsupportedError
from resexpand.gaussian.sphere import batch_averages, gradient_averages
from resexpand.numbers.batch_moments import Psi, moments_of

NET = ResNet(Branch(BatchNorm(), Activation("relu"), Linear(2, 0)), scale=1, depth=4)
SIZES = (2, 3, 4, 5, 8, 32, 1000)
RNG = np.random.default_rng(3)


def j1(c: float) -> float:
    """Return the average of two rectified unit normals of a correlation."""
    return (math.sqrt(1 - c * c) + (math.pi - math.acos(c)) * c) / (2 * math.pi)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


@pytest.mark.parametrize("size", SIZES)
def test_averages_of_relu_are_closed(size: int) -> None:
    found = batch_averages(relu, [0.0], size)
    assert found.square == pytest.approx(0.5, rel=1e-13)
    assert found.product == pytest.approx(j1(-1 / (size - 1)), rel=1e-12)
    log = math.lgamma((size - 1) / 2) - math.lgamma(size / 2)
    mean = math.sqrt(size - 1) * math.exp(log) / (2 * math.sqrt(math.pi))
    assert found.mean == pytest.approx(mean, rel=1e-12)
    line = batch_averages(lambda x: x, [], size)
    assert (line.square, line.mean) == pytest.approx((1, 0), abs=1e-14)
    assert line.product == pytest.approx(-1 / (size - 1), rel=1e-13)
    if size < 100:  # control: the values of an infinite batch are others
        assert abs(found.product - 1 / (2 * math.pi)) > 1e-3


def test_averages_of_a_smooth_function_by_independent_integrals() -> None:
    size, c = 6, -1 / 5
    # One value of a batch has the density (1 - t^2)^((B-4)/2), the next one (B-5)/2 around it.
    (t, first), (s, second) = (roots_gegenbauer(80, (size - k) / 2) for k in (3, 4))
    u, own = np.sqrt(size - 1) * t, first / first.sum()
    after = c * t[:, None] + np.sqrt((1 - c * c) * (1 - t**2))[:, None] * s
    square = own @ erf(u) ** 2
    product = (own * erf(u)) @ erf(np.sqrt(size - 1) * after) @ second / second.sum()
    found = batch_averages(Psi(Activation("erf")), [], size)
    assert found.square == pytest.approx(square, rel=1e-12)
    assert found.product == pytest.approx(product, rel=1e-10)
    assert found.square - found.product == pytest.approx(square - product, rel=1e-10)
    # Control: of a batch of another size.
    assert batch_averages(Psi(Activation("erf")), [], size + 1).square != pytest.approx(
        square, 1e-4
    )


def test_second_moment_and_batch_variance_grow_by_different_numbers() -> None:
    for size in (4, 8, 32):
        found = evaluate(kernel(NET, inputs="batch"), K0=exchangeable(size))["K"]
        moment = np.trace(found, axis1=1, axis2=2) / size
        variance = moment - found.sum(axis=(1, 2)) / size**2
        assert found.shape == (5, size, size)
        np.testing.assert_allclose(np.diff(moment), 1.0, rtol=1e-13)
        step = (1 - 1 / size) * (1 - 2 * j1(-1 / (size - 1)))
        np.testing.assert_allclose(np.diff(variance), step, rtol=1e-12)
        if size == 8:
            assert step == pytest.approx(0.65613, abs=5e-6)
    assert abs(step - (1 - 1 / math.pi)) > 1e-3  # not yet that of an infinite batch


def test_symbols_broadcast() -> None:
    rho = sp.Symbol("rho", real=True)
    net = ResNet(NET.branch, scale=rho, depth=3)
    scales = np.array([0.0, 0.5, 1.0])
    found = evaluate(kernel(net, "batch"), K0=exchangeable(8), rho=scales)["K"]
    expected = 1.5 + scales[:, None] ** 2 * np.arange(4)
    np.testing.assert_allclose(found[..., 3, 3], expected, rtol=1e-14)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "identity"])
def test_any_kernel_of_a_homogeneous_function(name: str) -> None:
    psi = Psi(Activation(name))
    size = 6
    start = exchangeable(size)
    exact = moments_of(psi, start[None], 0.0, size, 0)[0]
    nearly = start.copy()
    nearly[0, 0] *= 1 + 1e-9
    np.testing.assert_allclose(moments_of(psi, nearly[None], 0.0, size, 0)[0], exact, atol=1e-8)
    shifted = moments_of(psi, nearly[None], 0.3, size, 0)[0]
    np.testing.assert_allclose(shifted, moments_of(psi, start[None], 0.3, size, 0)[0], atol=1e-8)
    root = RNG.normal(size=(size, 3)) + 0.4
    kernel_ = root @ root.T
    found = moments_of(psi, kernel_[None], 0.0, size, 0)[0]
    assert np.trace(found) <= size + 1e-12
    if name == "identity":
        assert np.trace(found) == pytest.approx(size, rel=1e-12)
    draws = 200_000
    u = RNG.normal(size=(draws, 3)) @ root.T
    u -= u.mean(axis=1, keepdims=True)
    y = psi(u / np.sqrt((u**2).mean(axis=1, keepdims=True)))
    products = y[:, :, None] * y[:, None, :]
    z = (products.mean(0) - found) / np.maximum(products.std(0), 1e-9) * math.sqrt(draws)
    assert np.abs(z).max() < 4.5
    same = exchangeable(size, np.trace(kernel_) / size, (kernel_.sum() - np.trace(kernel_)) / 30)
    control = moments_of(psi, same[None], 0.0, size, 0)[0]
    assert np.abs(control - found).max() > 0.02  # the mean kernel is not enough


def test_eps_by_the_exponential_integral() -> None:
    size, spread, eps = 8, 1.0, 0.2
    x = eps * size / (2 * spread)
    factor = size / 2 * mpmath.exp(x) * mpmath.expint(mpmath.mpf(size + 1) / 2, x)
    found = moments_of(Psi(Activation("relu")), exchangeable(size)[None], eps, size, 0)[0]
    own = float(factor) * (1 - 1 / size)
    assert found[0, 0] == pytest.approx(own / 2, rel=1e-10)
    assert found[0, 1] == pytest.approx(own * j1(-1 / (size - 1)), rel=1e-10)
    smooth = Psi(Activation("tanh"))
    exact, shift = exchangeable(size)[None], np.zeros((size, size))
    shift[0, 0] = 1e-7
    with_error = moments_of(smooth, exact + shift, eps, size, 5)
    spread_of = with_error.std(axis=0, ddof=1) / math.sqrt(len(with_error))
    z = (with_error.mean(axis=0) - moments_of(smooth, exact, eps, size, 5)[0]) / spread_of
    assert np.abs(z).max() < 5.5  # t of seven degrees of freedom


def test_ghost_batches_are_batches_of_their_own() -> None:
    ghost = ResNet(Branch(BatchNorm(ghost=4), Activation("relu"), Linear(2, 0)), scale=1, depth=2)
    found = evaluate(kernel(ghost, "batch"), K0=exchangeable(8))
    four = evaluate(kernel(ResNet(NET.branch, scale=1, depth=2), "batch"), K0=exchangeable(4))
    np.testing.assert_allclose(found["K"][:, :4, :4], four["K"], rtol=1e-14)
    np.testing.assert_allclose(found["K"][:, 0, 4:], four["K_13"][:, None] * np.ones(4), rtol=1e-14)
    assert (found["K"][1:, 0, 4] > found["K"][1:, 0, 1]).all()


def test_running_statistics() -> None:
    branch = Branch(BatchNorm(mode="running"), Activation("relu"), Linear(2, 0.1))
    net = ResNet(branch, scale=1, depth=3)
    found = evaluate(kernel(net, "batch"), K0=exchangeable(8))
    train = evaluate(
        kernel(ResNet(Branch(BatchNorm(), *branch.ops[1:]), scale=1, depth=3), "batch"),
        K0=exchangeable(8),
    )["K"]
    shifted = found["K"][:, 0, 0] - 2 * found["K_14"] + found["K_13"]
    ratios = shifted / (train[:, 0, 0] - train[:, 0, 1])
    np.testing.assert_allclose(ratios, [1, 0.96128, 0.93546, 0.91630], atol=6e-6)


def backward_growth(size: int) -> float:
    """Return the growth per layer of a plain network from the arc cosine alone."""
    c = -1 / (size - 1)
    both = 0.25 + math.asin(c) / (2 * math.pi)
    trace = size / 2 - 0.5 - (size - 1) * both - 0.5 - (size - 1) * j1(c)
    centred = (size - 2) / 2 - trace / size
    return size / (size - 3) * centred / ((size - 1) * (0.5 - j1(c)))


@pytest.mark.parametrize(("size", "value"), [(4, 3.084), (8, 1.788), (32, 1.522)])
def test_gradients_of_a_plain_network_explode(size: int, value: float) -> None:
    net = ResNet(NET.branch, scale=1, depth=6, skip=0)
    found = evaluate(gradient_moments(net), K0=exchangeable(size), outputs="gradient")
    growth = found["gradient"][:5, 0, 0] / found["gradient"][1:6, 0, 0]
    np.testing.assert_allclose(growth[1:], backward_growth(size), rtol=1e-12)
    assert growth[1] == pytest.approx(value, abs=6e-4)
    assert abs(growth[1] - math.pi / (math.pi - 1)) > 0.05


def test_gradients_behind_skip_connections_are_tamed() -> None:
    """A product over blocks, which grows like a power of the depth."""
    size, depth = 32, 400
    net = ResNet(NET.branch, scale=1, depth=depth, read_out=[Activation("relu"), Linear(1, 0)])
    found = evaluate(gradient_moments(net), K0=exchangeable(size))
    slopes = gradient_averages(lambda x: np.heaviside(x, 0), [0.0], size)
    own, pair = found["gradient"][:, 0, 0], found["gradient"][:, 0, 1]
    common = own + (size - 1) * pair
    np.testing.assert_allclose(common, common[-1], rtol=1e-12)  # it passes no normalisation
    moved = own - pair + slopes[1] / slopes[0] * common
    spread = found["K"][:, 0, 0] - found["K"][:, 0, 1]
    products = np.cumprod((1 + 2 * slopes[0] / spread[:-1])[::-1])[::-1]
    np.testing.assert_allclose(moved[:-1] / moved[-1], products, rtol=1e-11)
    power = np.log(moved[40] / moved[320]) / np.log(spread[320] / spread[40])
    assert power == pytest.approx(backward_growth(size), rel=0.01)


BAD: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "one input": ((NET, "batch"), {"K0": [[1.0]]}, HyperparameterError, "of one input"),
    "equal rows": ((NET, "batch"), {"K0": np.ones((3, 3))}, KernelError, "3 equal inputs"),
    "ghost": (
        (ResNet(Branch(BatchNorm(ghost=3), Linear()), scale=1, depth=1), "batch"),
        {"K0": exchangeable(8), "sigma_w2": 1, "sigma_b2": 0},
        HyperparameterError,
        "3 does not divide 8",
    ),
    "one": ((NET,), {"K0": 1.0}, UnsupportedError, 'inputs="batch"'),
    "two": ((NET, 2), {"K0": exchangeable(2)}, UnsupportedError, 'inputs="batch"'),
    "no norm": (
        (ResNet(Branch(Activation("relu"), Linear(1, 0)), scale=1, depth=1), "batch"),
        {"K0": exchangeable(2)},
        UnsupportedError,
        "nothing in it is averaged over a batch",
    ),
    "norm behind an activation": (
        (ResNet(Branch(Activation("relu"), BatchNorm(), Linear(1, 0)), scale=1, depth=1), "batch"),
        {"K0": exchangeable(2)},
        UnsupportedError,
        "not Gaussian at infinite width",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_batches(case: str) -> None:
    asked, values, error, message = BAD[case]
    with pytest.raises(error, match=message):
        evaluate(kernel(*asked), **values)


@pytest.mark.parametrize("size", [2, 3])
def test_small_batches_have_no_mean_gradient(size: int) -> None:
    with pytest.raises(UnsupportedError, match="it is infinite"):
        evaluate(gradient_moments(NET), K0=exchangeable(size))
