"""Where dropout belongs in a residual block with batch normalisation: formulas against networks.

Kim et al. (2023) put dropout at the places P1 to P7 of a branch of two units, each a batch
normalisation, relu and a weight, and measure by how much variances shrink from training to
evaluation. Three claims, for wide networks and large batches:

- module: dropout before and behind a weight shifts the mean variance by one ratio,
  ``(1 - 1/pi)/(1/p - 1/pi)``, at all p. Control: the means of channels are left out, ratio p.
- channels: behind the weight channels differ, before it they do not. Control: they do not either.
- places: the shifts at all places are as derived. Control: that of the place before.

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

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Dropout,
    Linear,
    ResNet,
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


SETTINGS = {
    "smoke": Scale((48, 96), 16, 512, (0.5,)),
    "full": Scale((128, 256, 512), 12, 2048, (0.5, 0.6, 0.7, 0.8, 0.9)),
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
