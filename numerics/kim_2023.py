"""Where dropout belongs in a residual block with batch normalisation: formulas against networks.

Kim et al. (2023) put dropout at the places P1 to P7 of a branch of two units, each a batch
normalisation, relu and a weight, and measure by how much variances shrink from training to
evaluation. Five claims, for wide networks and large batches:

- module: dropout before and behind a weight shifts the mean variance by one ratio,
  ``(1 - 1/pi)/(1/p - 1/pi)``, at all p. Control: the means of channels are left out, ratio p.
- channels: behind the weight channels differ, before it they do not. Control: they do not either.
- places: the shifts at all places are as derived. Control: that of the place before.
- weights: at width n = 128, for weights of mean m and deviation ``s (2/n)^(1/2)`` over the ranges
  of the paper, both ratios are derived exactly at that width: a common mean correlates channels,
  which adds ``(m n)^2`` times their covariance. Control: infinite width at fixed ``m n``, which
  leaves the first ratio as it is: the figure of the paper is not that formula.
- head: masks in front of average pooling add less variance than behind it. Control: ``1/S`` times
  the share that is not certain, ``pi/S``, as if spatial means were numbers.

The record and the figure show the ranking by the sum of ``|ln shift|``. Networks of several widths
are extrapolated; for their finite batches B, errors have a part of 2/B.

Usage: ``python numerics/kim_2023.py [--scale smoke|full] [--out FOLDER]``. Exit code 0 if all
claims agree, 1 if one disagrees (or a control slips through), 2 if undecided.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import roots_gegenbauer, roots_genlaguerre, roots_hermitenorm

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Dropout,
    Linear,
    ResNet,
    pooled_dropout,
    rank_positions,
    variance_shift,
)
from support.claims import Claim, run_script
from support.ratios import Ratios, extrapolated

UNITS = (BatchNorm(), Activation("relu"), Linear(2, 0)) * 2
WITHIN, BETWEEN = 1.2, 0.4
"""Variance over the batch and of channel means at layer 0."""

START = [[WITHIN + BETWEEN, BETWEEN], [BETWEEN, WITHIN + BETWEEN]]


@dataclass(frozen=True)
class Scale:
    """How wide networks are, how many are drawn, and the inputs of a batch."""

    widths: tuple[int, ...]
    draws: int
    batch: int
    keeps: tuple[float, ...]
    deviations: tuple[float, ...]
    large_batch: int


SETTINGS = {
    "smoke": Scale((48, 96), 16, 512, (0.5,), (1.0,), 8_000),
    "full": Scale((128, 256, 512), 12, 2048, (0.5, 0.6, 0.7, 0.8, 0.9), (0.2, 1.0, 5.0), 100_000),
}


def branch(place: int, keep: float) -> Branch:
    """Return the branch with dropout at a place, from 1."""
    return Branch(*UNITS[: place - 1], Dropout(keep), *UNITS[place - 1 :])


def drawn(place: int, keep: float, width: int, batch: int, rng: Any) -> list[float]:
    """Return the shifts of one network, and the squared spread of channels at its second norm."""
    means = np.sqrt(BETWEEN) * rng.normal(size=(width, 1))
    train, test = (means + np.sqrt(WITHIN) * rng.normal(size=(width, batch)) for _ in range(2))
    start, found, spread = (train, test), [], 0.0
    for op in branch(place, keep).ops:
        if op.kind == "Linear":
            weight = rng.normal(size=(width, width)) * np.sqrt(float(op.weight_variance) / width)
            train, test = weight @ train, weight @ test
        elif op.kind == "BatchNorm":
            mean, variance = train.mean(axis=1, keepdims=True), train.var(axis=1, keepdims=True)
            found.append(test.var(axis=1).mean() / variance.mean())
            # The covariance of two halves of the batch is free of their noise.
            halves = (np.split(x, 2, axis=1) for x in (test, train))
            logs = [np.log(b.var(axis=1) / a.var(axis=1)) for b, a in zip(*halves, strict=True)]
            spread = float(np.cov(*logs)[0, 1])
            train, test = ((x - mean) / np.sqrt(variance) for x in (train, test))
        elif op.kind == "Dropout":
            train = train * (rng.random(train.shape) < keep) / keep
        else:
            train, test = np.maximum(train, 0), np.maximum(test, 0)
    trained, evaluated = (
        (h + x).var(axis=1).mean() for h, x in zip(start, (train, test), strict=True)
    )
    return [*found, evaluated / trained, spread]


def measured(place: int, keep: float, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """Return means at infinite width, linear in the inverse width, and their errors."""
    rng = np.random.default_rng([place, round(100 * keep)])
    draws = scale.draws * (4 if place == 4 else 1)  # a spread is less certain than a ratio
    means, errors = [], []
    for width in scale.widths:
        rows = np.array([drawn(place, keep, width, scale.batch, rng) for _ in range(draws)])
        means.append(rows.mean(axis=0))
        errors.append(rows.std(axis=0, ddof=1) / np.sqrt(draws))
    mean, error = extrapolated(scale.widths, means, errors)
    return mean, np.hypot(error, 2 / scale.batch * np.abs(mean) + 1e-12)


def derived(place: int, keep: float) -> tuple[Any, ...]:
    """Return the shifts of theory: both norms, and the stream."""
    return variance_shift(ResNet(branch(place, keep), scale=1, depth=1), K0=START)


PAPER_WIDTH, PAPER_MEAN = 128, 0.02
"""Channels and largest mean of the weights in the module tests of the paper."""


def module(width: int, moved: float, deviation: float, keep: float, batch: int, rng: Any) -> Any:
    """Return mean variances of channels without masks, with masks before and behind the weight."""

    def weights() -> Any:
        normals = rng.normal(size=(width, width)).astype(np.float32)
        return np.float32(moved / width) + np.float32(deviation * (2 / width) ** 0.5) * normals

    def mask(x: Any) -> Any:
        return x * (rng.random(x.shape, dtype=np.float32) < keep) / np.float32(keep)

    x = weights() @ rng.normal(size=(width, batch)).astype(np.float32)
    x -= x.mean(axis=1, keepdims=True)
    x = np.maximum(x / x.std(axis=1, keepdims=True), 0)
    matrix = weights()
    image = matrix @ x
    signals = (image, matrix @ mask(x), mask(image))
    return [each.var(axis=1, dtype=float).mean() for each in signals]


def covariance(deviation: float) -> float:
    """Return the mean covariance of two channels behind relu, exact at the width of the paper.

    A row of the first weight has the cosine ``t`` with the common mean; two rows have the cosine
    ``t t' + (1 - t^2)^(1/2) (1 - t'^2)^(1/2) s``, where s is that of independent unit vectors.
    """
    n = PAPER_WIDTH
    along, p = roots_hermitenorm(32)
    along = along + PAPER_MEAN * n / (2**0.5 * deviation)
    across, q = roots_genlaguerre(16, (n - 3) / 2)  # half the square of the other components
    t = (along[:, None] / np.sqrt(along[:, None] ** 2 + 2 * across)).ravel()
    s, r = roots_gegenbauer(12, (n - 3) / 2)
    row = np.outer(p / p.sum(), q / q.sum()).ravel()
    normal = np.sqrt(1 - t**2)
    c = np.outer(t, t)[..., None] + np.outer(normal, normal)[..., None] * s
    pair = (np.sqrt(1 - c**2) + (np.pi - np.arccos(c)) * c - 1) / (2 * np.pi)
    return float(np.einsum("i,j,k,ijk", row, row, r / r.sum(), pair))


def ratios(deviation: float, keep: float, covariance: float) -> tuple[float, float]:
    """Return the variance without masks over that with masks before and behind the weight.

    Averages over weights; `covariance` is that of two channels, the inverse width in front of it.
    """
    dead, square, noise = 1 / (2 * np.pi), (PAPER_MEAN * PAPER_WIDTH) ** 2, 2 * deviation**2
    own = noise + (square / PAPER_WIDTH if covariance else 0.0)
    shared = square * (1 - 1 / PAPER_WIDTH) * covariance
    plain = own * (0.5 - dead) + shared
    before = own * (0.5 / keep - dead) + shared
    return plain / before, plain / (plain / keep + (1 / keep - 1) * (noise + square) * dead)


def with_means(scale: Scale) -> tuple[dict[str, float], dict[str, float], dict[str, Any]]:
    """Return ratios of theory at width 128, those of infinite width, and those of networks."""
    theory: dict[str, float] = {}
    wrong: dict[str, float] = {}
    found: dict[str, Any] = {}
    moved = PAPER_MEAN * PAPER_WIDTH
    cases = [(s, scale.keeps[0], 1) for s in scale.deviations]
    cases += [(1.0, keep, sign) for keep in scale.keeps[1:] for sign in (1, -1)]
    for deviation, keep, sign in cases:
        rng = np.random.default_rng([round(10 * deviation), round(100 * keep), sign + 1])
        rows = np.array(
            [
                module(PAPER_WIDTH, sign * moved, deviation, keep, scale.large_batch, rng)
                for _ in range(2 * scale.draws)
            ]
        )
        names = [
            f"{place}, deviation {deviation}, p = {keep}, {'-' if sign < 0 else '+'}"
            for place in ("before", "behind")
        ]
        theory |= zip(names, ratios(deviation, keep, covariance(deviation)), strict=True)
        wrong |= zip(names, ratios(deviation, keep, 0.0), strict=True)
        for name, masked in zip(names, rows.T[1:], strict=True):
            found[name] = quotient(rows[:, 0], masked, 2 / scale.large_batch)
    return theory, wrong, found


def quotient(above: Any, below: Any, bias: float = 0.0) -> tuple[float, float]:
    """Return the ratio of two means of one sample and its error, with a relative bias beside it."""
    ratio = above.mean() / below.mean()
    spread = (above / above.mean() - below / below.mean()).std(ddof=1)
    return ratio, ratio * float(np.hypot(spread / len(above) ** 0.5, bias))


def heads(scale: Scale) -> tuple[dict[str, float], dict[str, float], dict[str, Any]]:
    """Return ratios of the variance of heads: theory, that of certain means, and networks."""
    theory, wrong, found = {}, {}, {}
    for positions, overlap in ((4, 0.0), (16, 0.0), (16, 0.3)):
        rng = np.random.default_rng([positions, round(10 * overlap)])
        K = (1 - overlap) * np.eye(positions) + overlap
        name, root = f"S = {positions}, correlation {overlap}", np.linalg.cholesky(K)
        theory[name] = pooled_dropout(Activation("relu"), Dropout(0.5), K).ratio
        wrong[name] = np.pi / positions
        rows = []
        for _ in range(20 * scale.draws):
            x = np.maximum(root @ rng.normal(size=(positions, max(scale.widths))), 0)
            outputs = []
            for shape in (x.shape, x.shape[1:]):
                masks = (rng.random((200, *shape)) < 0.5) / 0.5
                pooled = (x * masks).mean(axis=1) if len(shape) > 1 else x.mean(axis=0) * masks
                outputs.append(pooled.var(axis=0, ddof=1).mean())
            rows.append(outputs)
        found[name] = quotient(*np.array(rows).T)
    return theory, wrong, found


def finding(theory: dict[str, float], found: dict[str, tuple[float, float]]) -> Ratios:
    """Return the numbers of a claim side by side."""
    means, errors = ({k: float(found[k][i]) for k in theory} for i in (0, 1))
    return Ratios(theory, means, errors)


def examined(chosen: argparse.Namespace, scale: Scale) -> tuple[list[Claim], dict[str, Any]]:
    """Return the claims, the ranking and the shifts; draw the figure."""
    right, spreads, modules, found, shifts = {}, {}, {}, {}, {}
    keep = scale.keeps[0]
    ranked = rank_positions(Branch(*UNITS), Dropout(keep), K0=START)
    at = {(p.number, keep): p.shifts for p in ranked}
    cases = [(p, keep) for p in range(1, 8)] + [(p, k) for k in scale.keeps[1:] for p in (3, 4)]
    for place, kept in cases:
        mean, error = measured(place, kept, scale)
        theory = at.get((place, kept)) or derived(place, kept)
        names = [f"P{place}, p = {kept}, {s.place}" for s in theory]
        found |= {n: (m, e) for n, m, e in zip(names, mean, error, strict=False)}
        if kept == keep:
            right |= {n: s.shift for n, s in zip(names, theory, strict=True)}
            shifts[f"P{place}"] = mean[:3].tolist()
        if place in (3, 4):
            modules[names[1]] = (1 - 1 / np.pi) / (1 / kept - 1 / np.pi)
        if place == 4:
            label = f"P4, p = {kept}, spread squared"
            spreads[label], found[label] = theory[1].spread ** 2, (mean[3], error[3])
    moved = {n: right.get(n.replace(f"P{p}", f"P{p - 1}"), 1.0) for n in right for p in [int(n[1])]}
    without = {n: float(n.split("p = ")[1].split(",")[0]) for n in modules}
    pairs = (
        ("module", "one ratio before and behind a weight", modules, without, "means left out"),
        ("channels", "behind a weight channels differ", spreads, dict.fromkeys(spreads, 0.0), "no"),
        ("places", "shifts at all places are as derived", right, moved, "the place before"),
    )
    claims = [
        Claim(name, text, finding(true, found), finding(false, found), wrong)
        for name, text, true, false, wrong in pairs
    ]
    at_128, limits, narrow = with_means(scale)
    right_head, wrong_head, pooled = heads(scale)
    claims += [
        Claim(
            "weights",
            "means of weights correlate channels, as derived at this width",
            finding(at_128, narrow),
            finding(limits, narrow),
            "infinite width",
        ),
        Claim(
            "head",
            "masks in front of pooling add as derived",
            finding(right_head, pooled),
            finding(wrong_head, pooled),
            "certain means",
        ),
    ]
    totals = {name: float(np.abs(np.log(values)).sum()) for name, values in shifts.items()}
    if chosen.out is not None:
        figure(ranked, totals, chosen.out / "places.png")
    ranking = {f"P{p.number}": {"total": p.total, "reason": p.reason} for p in ranked}
    return claims, {"ranking": ranking, "measured": totals}


def figure(ranked: Any, totals: dict[str, float], path: Path) -> None:
    """Draw the sum of shifts at every place, derived and measured."""
    names = [f"P{p.number}" for p in ranked]
    axes = plt.subplots(figsize=(5, 3), layout="constrained")[1]
    axes.bar(names, [p.total for p in ranked], color="lightgray", label="derived")
    axes.plot(names, [totals[name] for name in names], "k.", label="networks, extrapolated")
    axes.set(xlabel="place of dropout", ylabel=r"$\sum |\ln\,\mathrm{shift}|$")
    axes.legend()
    plt.savefig(path)
    plt.close()


main = partial(run_script, __doc__, SETTINGS, examined)

if __name__ == "__main__":
    sys.exit(main())
