"""Dropout behind a batch normalisation: kernels, gradients, and evaluation against training."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sympy as sp
from oracles import exchangeable
from uncompiled import evaluate

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Dropout,
    LayerNorm,
    Linear,
    ResNet,
    SharedDropout,
    kernel,
    sample,
)
from resexpand.errors import UnsupportedError
from resexpand.gaussian.sphere import batch_averages, gradient_averages
from resexpand.numbers.batch_moments import Psi
from resexpand.theory.noise import images

SIZE, KEEP = 8, 0.5
RELU = Activation("relu")
RNG = np.random.default_rng(5)


def net(*maps: Any, depth: int = 1, norm: BatchNorm | None = None, bias: float = 0) -> ResNet:
    return ResNet(Branch(norm or BatchNorm(), *maps, Linear(2, bias)), scale=1, depth=depth)


def normalised(draws: int, root: np.ndarray, eps: float = 0.0) -> np.ndarray:
    u = RNG.normal(size=(draws, root.shape[1])) @ root.T
    u -= u.mean(axis=1, keepdims=True)
    return u / np.sqrt((u**2).mean(axis=1, keepdims=True) + eps)


def masks(shape: tuple[int, ...]) -> np.ndarray:
    return (RNG.random(shape) < KEEP) / KEEP


def z_of(draws: np.ndarray, expected: Any) -> float:
    """Return the deviation of a mean of independent draws in standard errors."""
    error = draws.std(axis=0, ddof=1) / math.sqrt(len(draws))
    return float(np.abs((draws.mean(axis=0) - expected) / error).max())


LAWS = {
    "behind": (lambda x, m: np.maximum(x, 0) * m, (RELU, Dropout(KEEP))),
    "before": (lambda x, m: np.tanh(1 + x * m), (Dropout(KEEP), Activation("tanh(1 + x)"))),
}


@pytest.mark.parametrize("eps", [0, 0.3])
@pytest.mark.parametrize("place", LAWS)
@pytest.mark.parametrize("batch", ["alike", "any"])
def test_kernels_against_samples(place: str, batch: str, eps: float) -> None:
    function, maps = LAWS[place]
    if batch == "alike":
        root = np.linalg.cholesky(exchangeable(SIZE))
    else:
        root = RNG.normal(size=(SIZE, 3)) + 0.4
    start = root @ root.T
    found = evaluate(kernel(net(*maps, norm=BatchNorm(eps)), "batch"), K0=start, outputs="K")["K"]
    added = (found[1] - found[0]) / 2
    x = normalised(60_000, root, eps)
    y = function(x, masks(x.shape))
    own, pair = (y**2).mean(axis=1), y[:, 0] * y[:, 1]
    assert z_of(own, np.trace(added) / SIZE) < 4
    assert z_of(pair, added[0, 1]) < 4
    # Controls: no mask, and one mask for all inputs.
    without = function(x, 1.0)
    assert z_of(own, (without**2).mean()) > 20
    shared = function(x, masks((len(x), 1)))
    assert z_of(pair, (shared[:, 0] * shared[:, 1]).mean()) > 8


def test_relu_doubles_the_variance_at_half_the_neurons() -> None:
    start, p = exchangeable(SIZE), sp.Symbol("p", positive=True)
    plain = evaluate(kernel(net(RELU, depth=3), "batch"), K0=start)
    for maps in ((RELU, Dropout(p)), (Dropout(p), RELU), (Dropout(p), RELU, Dropout(1))):
        theory = kernel(net(*maps, depth=3), "batch")
        at_one, at_half = (evaluate(theory, K0=start, p=value) for value in (1, KEEP))
        np.testing.assert_array_equal(at_one["K"], plain["K"])
        np.testing.assert_allclose(np.diff(at_half["K"][:, 0, 0]), 2.0, rtol=1e-13)
        np.testing.assert_allclose(at_half["K"][:, 0, 1], plain["K"][:, 0, 1], rtol=1e-13)
        np.testing.assert_allclose(at_half["K_13"], plain["K_13"], rtol=1e-13)


def test_two_masks_are_four_outcomes() -> None:
    twice = net(Dropout(KEEP), Activation("tanh(1 + x)"), Dropout(0.8))
    theory = kernel(twice, "batch")
    assert len(theory.stages[0].functions) == 4
    found = evaluate(theory, K0=exchangeable(SIZE))["K"]
    kept, switched = batch_averages(lambda x: np.tanh(1 + 2 * x), [], SIZE), math.tanh(1.0)
    square = (kept.square + switched**2) / 2 / 0.8
    assert found[1, 0, 0] - 1.5 == pytest.approx(2 * square, rel=1e-12)
    product = (kept.product + 2 * kept.mean * switched + switched**2) / 4
    assert found[1, 0, 1] - 0.5 == pytest.approx(2 * product, rel=1e-12)


@pytest.mark.slow
def test_samplers_draw_the_same_kernel() -> None:
    small = exchangeable(4)
    described = net(RELU, Dropout(KEEP), depth=1)
    found = evaluate(kernel(described, "batch"), K0=small)["K"]
    run = sample(described, "kernel", 64, 4000, K0=small, seed=9, progress=False)
    estimate = run["kernel"]
    z = (estimate.mean - found) / np.maximum(estimate.stderr, 1e-300)
    assert np.abs(z[1]).max() < 4


def test_evaluation_meets_the_statistics_of_training() -> None:
    """The recursion of large batches, typed here: ``q = E_d - 2 Y + X`` over ``D - X``."""
    bias, count = 0.1, 2000
    running = net(RELU, Dropout(KEEP), depth=3, norm=BatchNorm(mode="running"), bias=bias)
    large = evaluate(kernel(running, "batch"), K0=exchangeable(count))
    trained, across, test, both, pair = 1.5, 0.5, 1.5, 0.5, 0.5
    for layer in range(1, 4):
        variance = trained - across
        q, q_pair = ((e - 2 * both + across) / variance for e in (test, pair))
        c = q_pair / q
        j1 = (math.sqrt(1 - c * c) + (math.pi - math.acos(c)) * c) / (2 * math.pi)
        test += q + bias
        pair += 2 * q * j1 + bias
        both += 2 * math.sqrt(q) / (2 * math.pi) + bias
        trained, across = trained + 1 / KEEP + bias, across + 1 / math.pi + bias
        shift = (test - pair) / (trained - across)
        measured = large["K"][layer, 0, 0] - large["K"][layer, 0, 1]
        assert measured / (trained - across) == pytest.approx(shift, rel=5 / count)
    small = evaluate(kernel(running, "batch"), K0=exchangeable(SIZE))["K"][3, 0]
    assert abs((small[0] - small[1]) / (trained - across) - shift) > 5 / count


def test_evaluation_against_networks() -> None:
    """Wide networks with their statistics over many training batches at the same weights."""
    theory = kernel(net(RELU, Dropout(KEEP), depth=2, norm=BatchNorm(mode="running")), "batch")
    found = evaluate(theory, K0=exchangeable(SIZE))["K"][2, 0]
    width, batches, draws = 256, 300, 24
    values = []
    for _ in range(draws):
        means = math.sqrt(0.5) * RNG.normal(size=(width, 1, 1))
        h = means + RNG.normal(size=(width, batches, SIZE))
        test = means[:, 0] + RNG.normal(size=(width, 64))
        for _ in range(2):
            weight = RNG.normal(size=(width, width)) * math.sqrt(2 / width)
            mean = h.mean(axis=2, keepdims=True)
            variance = h.var(axis=2, keepdims=True)
            seen = variance.mean(axis=1) * SIZE / (SIZE - 1)
            y = np.maximum((h - mean) / np.sqrt(variance), 0)
            z = np.maximum((test - mean.mean(axis=1)) / np.sqrt(seen), 0)
            h = h + (weight @ (y * masks(y.shape)).reshape(width, -1)).reshape(h.shape)
            test = test + weight @ z
        own = (test**2).mean()
        values.append((own, (test.mean(axis=1) ** 2).mean() * 64 / 63 - own / 63))
    samples = np.array(values)
    # Finite widths and batches add a few thousandths, below the errors here.
    assert z_of(samples, found[:2]) < 4
    control = kernel(net(RELU, depth=2, norm=BatchNorm(mode="running")), "batch")
    assert z_of(samples, evaluate(control, K0=exchangeable(SIZE))["K"][2, 0, :2]) > 6


def test_gradients_meet_the_masks_of_the_way_forward() -> None:
    dropout = Dropout(KEEP)
    keep = {parameter.symbol: value for parameter, value in dropout.pairs}
    psi = Psi.of(images(dropout, ((RELU.expression, sp.Integer(1)),), keep))
    kappa, tau = gradient_averages(psi.slope, psi.kinks, SIZE, square=psi.squared_slope)
    u = RNG.normal(size=(100_000, SIZE))
    u -= u.mean(axis=1, keepdims=True)
    length = np.linalg.norm(u, axis=1, keepdims=True)
    t = u / length
    slopes = (u > 0) * masks(u.shape)

    def centred(p: np.ndarray) -> np.ndarray:
        """Return ``P_11 - P_12`` behind the way back: entries add up to zero."""
        back = slopes * p
        back -= back.mean(axis=1, keepdims=True)
        back -= t * (t * back).sum(axis=1, keepdims=True)
        return SIZE / length[:, 0] ** 2 * (back**2).sum(axis=1) / (SIZE - 1)

    assert z_of(centred(RNG.normal(size=u.shape)), kappa + tau) < 4
    assert z_of(centred(np.ones(u.shape)), SIZE * tau) < 4
    plain = gradient_averages(psi.slope, psi.kinks, SIZE)
    assert z_of(centred(np.ones(u.shape)), SIZE * plain[1]) > 20


@pytest.mark.parametrize(
    ("branch", "words"),
    [
        ((BatchNorm(), RELU, SharedDropout(0.5), Linear()), "two batches draw the same noise"),
        ((BatchNorm(), LayerNorm(), Linear()), "its averages meet what is not Gaussian"),
        ((Dropout(0.5), BatchNorm(), Linear()), "not Gaussian"),
        ((BatchNorm(), RELU, Linear(), Dropout(0.5)), "not Gaussian"),
    ],
    ids=["shared", "LayerNorm", "in front", "stream"],
)
def test_what_is_not_known_is_refused(branch: Any, words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        kernel(ResNet(Branch(*branch), scale=1, depth=2), "batch")
