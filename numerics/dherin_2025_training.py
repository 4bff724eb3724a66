"""Normalisation-free networks trained on digits: what the residual scale does to them.

Dherin & Munn (2025) argue that the number of paths explodes with depth unless every block carries a
small factor ``lambda``, and that this factor controls the complexity of what is learnt. Networks
``h + lambda W relu(h)`` of He's weights are trained at ``1/n``, ``c/sqrt(n)`` for several c, one of
them chosen on images held out, and 1. Three directions:

- explosion: at lambda = 1 deep networks do not learn what they learn at ``1/sqrt(n)``.
- complexity: at equal learning rate the geometric complexity, the mean over inputs of
  ``|d logits / d x|^2``, of trained networks is larger at ``1/sqrt(n)`` than at ``1/n``.
- paths: before training, paths through three or more blocks carry more of the state at lambda = 1.

The control of each is the opposite direction. The record also answers what the paper leaves open:
whether complexity has one peak in lambda, and whether training raises the part of long paths. The
figure shows both at every scale.

Usage: ``python numerics/dherin_2025_training.py [--scale smoke|full] [--out FOLDER]
[--store FOLDER]``; needs PyTorch and scikit-learn. Finished runs in the store are not repeated.
Exit code 0 if all claims agree, 1 if one disagrees (or a control slips through), 2 if undecided.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator

from resexpand import Activation, Branch, Linear, ResNet, measure_paths
from resexpand.export.figures import panels
from resexpand.export.figures.picture_files import save_figure
from resexpand.export.figures.style import colour, house_style
from support.claims import Claim, run_script
from support.depth_scale import DepthScale
from support.direction import Direction, direction_claim
from support.training import Networks, Runs, Setup, Trained, digits

FACTORS = (0.5, 1.0, 2.0)
"""c of ``c/sqrt(n)``."""

RATE = 0.03
"""Learning rate at which complexities are compared."""

IMAGES = 100
ORDER = 3
DEEP = 50
"""Depth from which the claims are about deep networks."""


SETTINGS = {
    "smoke": DepthScale((10, 60), steps=40, seeds=3),
    "full": DepthScale((10, 100, 1000), steps=80, seeds=5, rates=(0.001, 0.01, 0.03, 0.1)),
}


def scalings(depth: int) -> dict[str, float]:
    """Return the residual scales by name."""
    return {"1/n": 1 / depth} | {f"{c:g}/sqrt(n)": c / depth**0.5 for c in FACTORS} | {"1": 1.0}


def shares(nets: Networks) -> np.ndarray:
    """Return parts of ``|h^L|^2`` by path length 0, 1, 2 and beyond, shape (seeds, 4)."""
    setup = nets.setup
    net = ResNet(Branch(Activation("relu"), Linear()), scale=setup.scale, depth=setup.depth)
    own = {k: v.detach().double().numpy() for k, v in nets.weights.items()}
    found = []
    for read_in, weights in zip(own["read_in"], own["weights"], strict=True):
        if not np.isfinite(weights).all():
            found.append(np.full(ORDER + 1, np.nan))
            continue
        start = digits().test[:IMAGES].double().numpy() @ read_in
        measured = measure_paths(net, weights[:, 0].swapaxes(-1, -2), start.T, longest=ORDER - 1)
        terms = measured.terms.swapaxes(-1, -2)
        state = last_state(start, weights[:, 0], setup.scale)
        total = np.sum(state**2)
        low = [np.sum(term**2) / total for term in terms]
        found.append(np.array([*low, np.sum((state - terms.sum(axis=0)) ** 2) / total]))
    return np.array(found)


def last_state(h: np.ndarray, weights: np.ndarray, scale: float) -> np.ndarray:
    """Return the last layer in double precision."""
    for matrix in weights:
        h = h + scale * np.maximum(h, 0) @ matrix
    return h


def claims_of(table: dict[tuple[int, str], Trained], found: Any, scale: DepthScale) -> list[Claim]:
    """Return the three claims."""
    deep = [depth for depth in scale.depths if depth >= DEEP]
    explosion = {f"depth {d}": table[d, "1/sqrt(n)"].test - table[d, "1"].test for d in deep}
    complexity = {
        f"depth {d}": np.log(found[d, "1/sqrt(n)"]["complexity"] / found[d, "1/n"]["complexity"])
        for d in deep
    }
    paths = {
        f"depth {d}": found[d, "1"]["before"][:, -1] - found[d, "1/sqrt(n)"]["before"][:, -1]
        for d in deep
        if np.isfinite(found[d, "1"]["before"]).all()
    }
    listed = (
        ("explosion", "at lambda = 1 deep networks learn less than at 1/sqrt(n)", explosion, 0.3),
        ("complexity", "complexity grows with lambda, from 1/n to 1/sqrt(n)", complexity, 1.0),
        ("paths", "long paths carry more of the state at lambda = 1", paths, 0.5),
    )
    return [direction_claim(*each, "the opposite direction") for each in listed]


def examined(chosen: argparse.Namespace, scale: DepthScale) -> tuple[list[Claim], dict[str, Any]]:
    """Train, measure and judge."""
    cases = [(d, name) for d in scale.depths for name in scalings(d)]
    runs = Runs(chosen.store, len(cases))
    table, found = {}, {}
    for depth, name in cases:
        setup = Setup(depth, scale.width, scale=scalings(depth)[name])
        own = table[depth, name] = runs.of(
            f"depth{depth}_{name.replace('/', '_')}", setup, scale.plan(depth)
        )
        images = digits().test[:IMAGES]
        found[depth, name] = {
            "complexity": own.at(RATE).complexity(images),
            "complexity_before": own.before.complexity(images),
            "before": shares(own.before),
            "after": shares(own.at(RATE)),
        }
    if chosen.out is not None:
        figure(table, found, scale, chosen.out)
    rows = []
    for (depth, name), own in table.items():
        measured = {k: np.asarray(v).tolist() for k, v in found[depth, name].items()}
        rows.append({"depth": depth, "scale": name, **own.to_dict(), **measured})
    return claims_of(table, found, scale), {
        "runs": rows,
        "questions": questions(table, found, scale),
    }


def questions(table: Any, found: Any, scale: DepthScale) -> dict[str, Any]:
    """Return, per depth, the chosen scale and whether mean complexity has one peak in lambda."""
    said = {}
    for depth in scale.depths:
        names = list(scalings(depth))
        means = np.array([np.mean(found[depth, n]["complexity"]) for n in names])
        signs = np.sign(np.diff(means[np.isfinite(means)]))
        turns = int(np.sum(np.diff(signs) != 0))
        said[str(depth)] = {
            "tuned": max(names, key=lambda n: table[depth, n].held.mean()),
            "mean_complexity": dict(zip(names, means.tolist(), strict=True)),
            "one_peak": bool(turns == 1 and signs[0] > 0),
            "rises": bool(turns == 0 and signs[0] > 0),
            "long_paths_grow_by_training": {n: grown(found[depth, n]) for n in names},
        }
    return said


def grown(measured: Any) -> dict[str, Any] | None:
    """Return by how much training changes the part of long paths; None if a network diverged."""
    change = measured["after"][:, -1] - measured["before"][:, -1]
    return Direction({"change": change}, 0.3).to_dict() if np.isfinite(change).all() else None


def figure(table: Any, found: Any, scale: DepthScale, out: Path) -> None:
    """Draw accuracy, complexity and the part of long paths against the scale."""
    with house_style():
        drawing = panels.canvas((8.4, 3.0))
        for axes, label in zip(
            drawing.subplots(1, 3),
            ("accuracy on test images", "geometric complexity", "part of paths through 3 or more"),
            strict=True,
        ):
            axes.set_xscale("log")
            axes.set_xlabel(r"$\lambda \sqrt{n}$")
            axes.set_ylabel(label)
        first, middle, last = drawing.axes
        for k, depth in enumerate(scale.depths):
            names = list(scalings(depth))
            x = np.array([scalings(depth)[n] * depth**0.5 for n in names])
            rows = [table[depth, n].test for n in names]
            _points(first, x, rows, k)
            _points(middle, x, [found[depth, n]["complexity"] for n in names], k)
            _points(last, x, [found[depth, n]["after"][:, -1] for n in names], k)
            _points(last, x, [found[depth, n]["before"][:, -1] for n in names], k, dashed=True)
        middle.set_yscale("log")
        middle.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        middle.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        for axes in drawing.axes:
            axes.minorticks_off()
        keys = [
            panels.key(f"depth {depth}", color=colour(k), marker="o")
            for k, depth in enumerate(scale.depths)
        ]
        before = panels.key("before training", color="k", ls="--")
        panels.legend(drawing, [*keys, before])
    save_figure(drawing, out / "scales")


def _points(axes: Any, x: np.ndarray, rows: list[Any], k: int, *, dashed: bool = False) -> None:
    values = np.array([np.asarray(row, dtype=float) for row in rows])
    mean, error = values.mean(axis=1), values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
    seen = np.isfinite(mean)
    style = {"ls": "--", "marker": ""} if dashed else {"marker": "o", "ms": 3.5}
    axes.errorbar(x[seen], mean[seen], error[seen], color=colour(k), lw=1.0, **style)


main = partial(run_script, __doc__, SETTINGS, examined, store="folder where finished runs are kept")

if __name__ == "__main__":
    sys.exit(main())
