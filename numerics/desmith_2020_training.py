"""Networks with batch normalisation, with SkipInit and with neither, trained on digits.

De & Smith (2020) argue that batch normalisation makes deep networks trainable because it makes
blocks small, so that a scalar per block, zero or ``1/sqrt(d)`` at first, does as well. Networks
``h + g W relu(norm(h))`` of He's weights, with these g and with or without the norm. Directions, in
accuracy on test images, at depths from 50 on:

- norm: with batch normalisation they learn more than with neither.
- zero: with a trained scalar, zero at first, they learn more than with neither.
- root: with a trained scalar, ``1/sqrt(d)`` at first, they learn more than with neither.
- one: a trained scalar that is one at first does not help: less than with ``1/sqrt(d)``.

The control of each is the opposite direction. The record and the figure add frozen scalars, and
vectors of LayerScale, 0.1 at first; frozen at zero, the network is a linear map of its input.

Usage: ``python numerics/desmith_2020_training.py [--scale smoke|full] [--out FOLDER]
[--store FOLDER]``; needs PyTorch and scikit-learn. Finished runs in the store are not repeated.
Exit code 0 if all claims agree, 1 if one disagrees (or a control slips through), 2 if undecided.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from resexpand.export.figures import panels
from resexpand.export.figures.picture_files import save_figure
from resexpand.export.figures.style import colour, house_style
from support.claims import Claim, run_script
from support.depth_scale import DepthScale
from support.direction import direction_claim
from support.training import Runs, Setup, Trained

DEEP = 50
PLAIN = ("relu", "linear")
LABELS = {
    "norm": "BatchNorm",
    "none": "neither",
    "zero": "SkipInit, 0",
    "zero_frozen": "0, frozen",
    "root": r"SkipInit, $1/\sqrt{d}$",
    "root_frozen": r"$1/\sqrt{d}$, frozen",
    "one": "SkipInit, 1",
    "layer_scale": "LayerScale, 0.1",
}


@dataclass(frozen=True)
class Scale(DepthScale):
    """Networks, depths and steps of training."""

    deepest: tuple[float, ...] = (0.001, 0.01)
    ways: tuple[str, ...] = tuple(LABELS)


SETTINGS = {
    "smoke": Scale((16, 60), steps=40, seeds=3, ways=("norm", "none", "zero", "root", "one")),
    "full": Scale((16, 100, 1000), steps=80, seeds=5, rates=(0.001, 0.01, 0.03, 0.1)),
}


def setup(way: str, depth: int, width: int) -> Setup:
    """Return the network of one way."""
    if way == "norm":
        return Setup(depth, width, block=("norm", *PLAIN))
    if way == "none":
        return Setup(depth, width)
    if way == "layer_scale":
        return Setup(depth, width, gain=0.1, vector=True)
    first = {"zero": 0.0, "root": depth**-0.5, "one": 1.0}[way.split("_", maxsplit=1)[0]]
    return Setup(depth, width, gain=first, trained_gain=not way.endswith("frozen"))


def claims_of(table: dict[tuple[int, str], Trained], scale: Scale) -> list[Claim]:
    """Return the four claims."""

    def more(better: str, worse: str) -> dict[str, np.ndarray]:
        return {
            f"depth {d}": table[d, better].test - table[d, worse].test
            for d in scale.depths
            if d >= DEEP
        }

    listed = (
        ("norm", "batch normalisation makes deep networks learn", more("norm", "none")),
        ("zero", "so does a trained scalar that is zero at first", more("zero", "none")),
        ("root", "so does one that is 1/sqrt(d) at first", more("root", "none")),
        ("one", "one that is 1 at first does not do as much", more("root", "one")),
    )
    return [direction_claim(*each, 0.3, "the opposite direction") for each in listed]


def examined(chosen: argparse.Namespace, scale: Scale) -> tuple[list[Claim], dict[str, Any]]:
    """Train and judge."""
    cases = [(depth, way) for depth in scale.depths for way in scale.ways]
    runs = Runs(chosen.store, len(cases))
    table = {
        (depth, way): runs.of(
            f"depth{depth}_{way}", setup(way, depth, scale.width), scale.plan(depth)
        )
        for depth, way in cases
    }
    if chosen.out is not None:
        figure(table, scale, chosen.out)
    rows = []
    for (depth, way), own in table.items():
        gain = own.after.weights.get("gain")
        size = None if gain is None else float(gain.detach().abs().mean())
        rows.append({"depth": depth, "way": way, **own.to_dict(), "mean_gain_after": size})
    return claims_of(table, scale), {"runs": rows}


def figure(table: Any, scale: Scale, out: Path) -> None:
    """Draw the accuracy of every way at every depth."""
    with house_style():
        drawing = panels.canvas((4.3, 0.9 + 0.26 * len(scale.ways)))
        axes = drawing.subplots()
        for k, depth in enumerate(scale.depths):
            shift = 0.24 * (k - (len(scale.depths) - 1) / 2) / max(1, len(scale.depths) - 1)
            rows = np.array([table[depth, way].test for way in scale.ways])
            error = rows.std(axis=1, ddof=1) / np.sqrt(rows.shape[1])
            axes.errorbar(
                rows.mean(axis=1), np.arange(len(scale.ways)) + shift, xerr=error,
                ls="none", marker="os^"[k], ms=4, color=colour(k), label=f"depth {depth}",
            )  # fmt: skip
        axes.set_yticks(range(len(scale.ways)), [LABELS[way] for way in scale.ways])
        axes.set_ylim(len(scale.ways) - 0.5, -0.5)
        axes.axvline(0.1, color="#777777", ls=":", lw=0.7)
        axes.set_xlim(0, 1)
        axes.set_xlabel("accuracy on test images (dotted: guessing)")
        axes.legend(loc="center left")
    save_figure(drawing, out / "ways")


main = partial(run_script, __doc__, SETTINGS, examined, store="folder where finished runs are kept")

if __name__ == "__main__":
    sys.exit(main())
