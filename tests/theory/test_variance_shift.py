"""Variance shift of dropout at every place of a branch: oracles, networks, ranking, refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sympy as sp

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Dropout,
    LayerNorm,
    Linear,
    ResNet,
    SharedDropout,
    StochasticDepth,
    pooled_dropout,
    rank_positions,
    variance_shift,
)
from resexpand.errors import HyperparameterError, KernelError, UnsupportedError
from resexpand.numbers.batch_moments import Psi
from resexpand.numbers.channels import normal_averages

UNITS = (BatchNorm(), Activation("relu"), Linear(2, 0)) * 2
START = [[1.6, 0.4], [0.4, 1.6]]
HALF = (
    (0.42857, 0.39659, 0.78381),
    (1, 0.40536, 0.78458),
    (1, 0.40536, 0.78458),
    (1, 0.40536, 0.76525),
    (1, 1, 0.65298),
    (1, 1, 0.65298),
    (1, 1, 0.65298),
)
"""Both normalisations and the stream, P1 to P7, variance 1.2 and channel means 0.4, keep 0.5."""


def placed(place: int, keep: Any, ops: tuple[Any, ...] = UNITS) -> tuple[Any, ...]:
    return (*ops[:place], Dropout(keep), *ops[place:])


def shifts(ops: tuple[Any, ...], depth: int = 1, K0: Any = START, **values: Any) -> list[float]:
    net = ResNet(Branch(*ops), scale=1, depth=depth)
    return [s.shift for s in variance_shift(net, K0=K0, **values)]


@pytest.mark.parametrize("place", range(7))
def test_the_seven_places(place: int) -> None:
    np.testing.assert_allclose(shifts(placed(place, 0.5)), HALF[place], atol=6e-6)
    assert shifts(placed(place, 1)) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("keep", "value"), [(0.5, 0.40536), (0.9, 0.85985)])
def test_before_and_behind_the_weight_differ_between_channels_alone(
    keep: float, value: float
) -> None:
    closed = (1 - 1 / math.pi) / (1 / keep - 1 / math.pi)
    assert closed == pytest.approx(value, abs=5e-6)
    both = []
    for place in (2, 3):
        net = ResNet(Branch(*placed(place, keep)), scale=1, depth=1)
        both.append(variance_shift(net, K0=START)[1])
        assert both[-1].shift == pytest.approx(closed, rel=1e-10)
    assert both[0].spread < 1e-12
    assert both[1].spread > 0.02
    # Control: without the means of channels.
    assert abs(closed - keep) > 0.03


def simulated(ops: tuple[Any, ...], width: int, count: int, rng: Any) -> list[float]:
    """Return the shifts of one network, its statistics those of one large batch with masks."""
    means = math.sqrt(0.4) * rng.normal(size=(width, 1))
    start = [means + math.sqrt(1.2) * rng.normal(size=(width, count)) for _ in range(2)]
    train, test = start
    found = []
    for op in ops:
        if op.kind == "Linear":
            weight = rng.normal(size=(width, width)) * math.sqrt(2 / width)
            train, test = weight @ train, weight @ test
        elif op.kind == "BatchNorm":
            mean, variance = train.mean(axis=1, keepdims=True), train.var(axis=1, keepdims=True)
            found.append(test.var(axis=1).mean() / variance.mean())
            train, test = ((x - mean) / np.sqrt(variance) for x in (train, test))
        elif op.kind == "Dropout":
            keep = float(op.values[0])
            train = train * (rng.random(train.shape) < keep) / keep
        else:
            train, test = np.maximum(train, 0), np.maximum(test, 0)
    streams = [(h + x).var(axis=1).mean() for h, x in zip(start, (train, test), strict=True)]
    return [*found, streams[1] / streams[0]]


@pytest.mark.parametrize("place", [0, 1, 3, 6])
def test_networks_of_finite_width(place: int) -> None:
    rng = np.random.default_rng(20 + place)
    ops = placed(place, 0.7)
    drawn = np.array([simulated(ops, 256, 1024, rng) for _ in range(16)])
    error = drawn.std(axis=0, ddof=1) / 4
    # Batches of 1024 have their own variances: fluctuations of 1/sqrt(width * batch).
    z = (drawn.mean(axis=0) - shifts(ops)) / np.hypot(error, 4e-4)
    assert np.abs(z).max() < 4.5
    control = (drawn.mean(axis=0) - shifts(placed(place, 0.6))) / np.hypot(error, 4e-4)
    assert np.abs(control).max() > 10


def test_many_blocks_by_the_recursion_of_large_batches() -> None:
    unit = (BatchNorm(), Activation("relu"), Dropout(0.5), Linear(2, 0.1))
    found = shifts(unit, depth=4, K0=[[1.5, 0.5], [0.5, 1.5]])
    trained, across, test, both, pair = 1.5, 0.5, 1.5, 0.5, 0.5
    for layer in range(4):
        variance = trained - across
        q, other = ((e - 2 * both + across) / variance for e in (test, pair))
        c = other / q
        j1 = (math.sqrt(1 - c * c) + (math.pi - math.acos(c)) * c) / (2 * math.pi)
        test, pair = test + q + 0.1, pair + 2 * q * j1 + 0.1
        both += math.sqrt(q) / math.pi + 0.1
        trained, across = trained + 2.1, across + 1 / math.pi + 0.1
        expected = (test - pair) / (trained - across)
        assert found[2 * layer + 1] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("name", ["relu", "erf", "tanh(1 + x)"])
def test_averages_over_a_batch(name: str) -> None:
    scale, centre = np.array([0.0, 1e-3, 0.7, 2.0]), np.array([0.5, 1e-4, -0.3, 1.1])
    psi = Psi(Activation(name))
    found = normal_averages(psi, scale, centre)
    z = np.linspace(-10, 10, 200_001)
    weights = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    values = psi(scale[:, None] * z + centre[:, None])
    np.testing.assert_allclose(found[0], values @ weights, rtol=2e-9)
    np.testing.assert_allclose(found[1], values**2 @ weights, rtol=2e-9)


def test_places_are_ranked() -> None:
    ranked = rank_positions(Branch(*UNITS), Dropout(0.5), K0=START)
    assert [p.number for p in ranked] == [6, 5, 7, 3, 2, 4, 1]
    totals = [p.total for p in ranked]
    assert np.diff(totals).min() > -1e-8
    assert totals[:3] == pytest.approx([-math.log(0.65298)] * 3, abs=1e-5)
    assert ranked[2].spread > ranked[0].spread + 0.1
    assert "no normalisation of the block is behind it" in ranked[0].reason
    assert "0.405 at BatchNorm_2" in ranked[3].reason
    assert "channels differ at BatchNorm_1" in str(ranked[-1])
    # The shift of the stream alone would prefer a place in front of the second normalisation.
    assert max(ranked, key=lambda p: p.shifts[-1].shift).number in (2, 3)
    unmasked = rank_positions(Branch(*UNITS), Dropout(1), K0=START)
    assert {p.reason for p in unmasked} == {"evaluation has the variances of training"}


def test_ties_of_relu_are_broken_by_a_saturating_activation() -> None:
    smooth = tuple(Activation("erf") if op.kind == "Activation" else op for op in UNITS)
    ranked = rank_positions(Branch(*smooth), Dropout(0.5), K0=START)
    assert {p.number: p for p in ranked}[5].total != {p.number: p for p in ranked}[6].total
    at_two, at_three = (shifts(placed(place, 0.5, smooth))[1] for place in (1, 2))
    assert at_two > 1 > at_three


BAD: dict[str, tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = {
    "one input": (UNITS, {"K0": [[1.0]]}, HyperparameterError, "one variance and one covariance"),
    "unlike": (UNITS, {"K0": np.diag([1.0, 2.0])}, HyperparameterError, "one variance"),
    "equal": (placed(0, 0.5), {"K0": np.ones((2, 2))}, KernelError, "vanishes"),
    "shared": ((*UNITS[:2], SharedDropout(0.5), Linear(1, 0)), {}, UnsupportedError, "share what"),
    "coin": ((*UNITS[:3], StochasticDepth(0.5)), {}, UnsupportedError, "share what"),
    "LayerNorm": ((LayerNorm(), *UNITS[1:]), {}, UnsupportedError, "averages over neurons"),
    "ghost": ((BatchNorm(ghost=4), *UNITS[1:]), {}, UnsupportedError, "batches are small"),
    "end": (placed(6, 0.5), {"depth": 2}, UnsupportedError, "it ends the branch"),
    "missing": ((*UNITS[:2], Linear()), {}, HyperparameterError, "sigma_w2"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case: str) -> None:
    ops, given, kind, words = BAD[case]
    with pytest.raises(kind, match=words):
        shifts(ops, **given)


def by_numpy(place: str, weight_mean: float, keep: float = 0.5, width: int = 128) -> float:
    """Return the variance over the batch without masks over that with them, around a `Linear`."""
    random = np.random.default_rng(5)
    ratios = []
    for _ in range(12):
        features = np.maximum(random.normal(size=(4_000, width)), 0)
        weights = random.normal(size=(width, width)) * np.sqrt(2 / width) + weight_mean
        masks = (random.random(features.shape) < keep) / keep
        clean = features @ weights
        noisy = (features * masks) @ weights if place == "before" else clean * masks
        ratios.append(clean.var(axis=0).mean() / noisy.var(axis=0).mean())
    return float(np.mean(ratios))


def test_a_mean_of_the_weights_is_felt_behind_them() -> None:
    before, behind = ({m: by_numpy(p, m) for m in (0.0, 0.02)} for p in ("before", "behind"))
    # Channels have the mean square E m^2 = mu^2 (w + (N omega)^2), which masks behind them meet.
    square, mean = 0.5, 1 / (2 * np.pi)
    spread = 2 * (square - mean)
    for weight_mean, found in behind.items():
        # The mean of the weights also correlates channels: var of the sum of all features.
        added = (128 * weight_mean) ** 2 * (square - mean) / 128
        own = spread + added
        moved = mean * (2 + (128 * weight_mean) ** 2)
        assert found == pytest.approx(own / ((own + 0.5 * moved) / 0.5), rel=0.02)
    assert before[0.0] == pytest.approx((square - mean) / (square / 0.5 - mean), rel=0.02)
    assert before[0.02] == pytest.approx(before[0.0], rel=0.02)
    assert behind[0.02] < 0.8 * behind[0.0]
    ranked = rank_positions(Branch(*UNITS), Dropout(0.5), K0=START)
    felt = {position.number for position in ranked if position.feels_weight_means}
    assert felt == {1, 4, 7}
    assert all(("a mean of the weights" in p.reason) == (p.number in felt) for p in ranked)


@pytest.mark.parametrize("name", ["relu", "erf"])
def test_masks_around_the_pooling_of_a_head(name: str) -> None:
    random, keep, width = np.random.default_rng(8), 0.7, 40_000
    K = np.array([[1.0, 0.6, 0.1], [0.6, 1.4, 0.3], [0.1, 0.3, 0.8]])
    theory = pooled_dropout(Activation(name), Dropout(keep), K)
    z = random.normal(size=(width, 3)) @ np.linalg.cholesky(K).T
    x = np.maximum(z, 0) if name == "relu" else np.vectorize(math.erf)(z)

    def added(masks: np.ndarray) -> tuple[float, float]:
        noise = (x * (masks - 1)).mean(axis=1) ** 2
        return float(noise.mean()), float(noise.std() / np.sqrt(width))

    each, one = ((random.random((width, n)) < keep) / keep for n in (3, 1))
    for masks, expected, other in (
        (each, theory.before, theory.behind),
        (one, theory.behind, theory.before),
    ):
        mean, error = added(masks)
        assert abs(mean - expected) < 4 * error
        # Features of zero mean and little correlation differ less between the two.
        assert abs(mean - other) > 8 * error
    independent = pooled_dropout(Activation("relu"), Dropout(keep), np.eye(9))
    assert independent.ratio == pytest.approx(np.pi / (9 + np.pi - 1), rel=1e-12)
    assert pooled_dropout(Activation(name), Dropout(1), K).behind == 0
    with pytest.raises(UnsupportedError, match="one number"):
        pooled_dropout(Activation(name), Dropout(sp.Symbol("p", positive=True)), K)
