"""Dropout at every place of a residual block with batch normalisation, trained on digits.

Kim et al. (2023) recommend to put dropout in front of the last weight of a branch, since masks in
front of a normalisation let evaluation meet other variances than training. Networks of blocks
``norm, relu, W, norm, relu, W`` are trained without dropout (P0) and with it in front of each of
these operations (P1 to P6) or behind them (P7). Directions:

- variances: in trained networks the variance shift of the norms, the sum over the norms of a block
  of ``|ln(variance in evaluation / variance in training)|``, is smaller at P6 than at the mean of
  the other places.
- input: masks in front of the block shift more than masks behind its last weight.

and, as a question, whether networks at P6 are more accurate than the mean of the other places: the
record says how clear that is at this size. The control of each claim is the opposite direction.

Usage: ``python numerics/kim_2023_training.py [--scale smoke|full] [--out FOLDER]
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
import torch

from resexpand.export.figures import panels
from resexpand.export.figures.picture_files import save_figure
from resexpand.export.figures.style import colour, house_style
from support.claims import Claim, run_script
from support.direction import Direction, direction_claim
from support.training import Networks, Plan, Runs, Setup, Trained, digits

UNITS = ("norm", "relu", "linear") * 2
PLACES = tuple(range(1, len(UNITS) + 2))
BEST = 6
"""Place in front of the last weight."""

ROUNDS = 4
"""Draws of masks over which variances of training are averaged."""


@dataclass(frozen=True)
class Scale:
    """Networks and steps of training."""

    depth: int
    steps: int
    seeds: int
    keep: float = 0.7
    width: int = 24
    batch: int = 50
    rates: tuple[float, ...] = (0.03, 0.1)


SETTINGS = {
    "smoke": Scale(depth=4, steps=40, seeds=3),
    "full": Scale(depth=8, steps=400, seeds=10),
}


def setup(place: int, scale: Scale) -> Setup:
    """Return the network with dropout at a place, 0 for none."""
    block = UNITS if place == 0 else (*UNITS[: place - 1], "dropout", *UNITS[place - 1 :])
    return Setup(
        *(scale.depth, scale.width),
        block=block,
        scale=scale.depth**-0.5,
        keep=scale.keep if place else 1.0,
    )


def shifts(nets: Networks) -> np.ndarray:
    """Return the shift of the norms of a block, averaged over blocks, shape (seeds,)."""
    found: dict[bool, list[torch.Tensor]] = {}
    setup, x = nets.setup, digits().train
    for training in (True, False):
        totals = torch.zeros(setup.depth, setup.block.count("norm"), len(nets.weights["read_in"]))
        rounds = ROUNDS if training else 1

        def add(block: int, norm: int, z: torch.Tensor, into: torch.Tensor = totals) -> None:
            into[block, norm] += z.var(1).mean(-1)

        kept = {k: v.clone() for k, v in nets.averages.items()}
        with torch.no_grad():
            for k in range(rounds):
                nets.states(x, training=training, masks=torch.Generator().manual_seed(k), seen=add)
        nets.averages = kept
        found[training] = totals / rounds
    return (found[False] / found[True]).log().abs().sum(1).mean(0).double().numpy()


def claims_of(shift: dict[int, np.ndarray]) -> list[Claim]:
    """Return the claims on variances."""
    others = np.mean([shift[p] for p in PLACES if p != BEST], axis=0)
    listed = (
        (
            *("variances", "P6 shifts the variances of norms less than other places do"),
            *({"others - P6": others - shift[BEST]}, 0.2),
        ),
        (
            *("input", "masks in front of the block shift more than behind its last weight"),
            *({"P1 - P7": shift[1] - shift[7]}, 0.5),
        ),
    )
    return [direction_claim(*each, "the opposite direction") for each in listed]


def examined(chosen: argparse.Namespace, scale: Scale) -> tuple[list[Claim], dict[str, Any]]:
    """Train, measure and judge."""
    plan = Plan(scale.steps, scale.seeds, scale.rates, scale.batch)
    places = (0, *PLACES)
    runs = Runs(chosen.store, len(places))
    table = {place: runs.of(f"P{place}", setup(place, scale), plan) for place in places}
    shift = {place: shifts(own.after) for place, own in table.items()}
    if chosen.out is not None:
        figure(table, shift, chosen.out)
    rows = [
        {"place": f"P{p}", **own.to_dict(), "shift": shift[p].tolist()} for p, own in table.items()
    ]
    others = np.mean([table[p].test for p in PLACES if p != BEST], axis=0)
    questions = {
        "P6_more_accurate_than_other_places": Direction(
            {"P6 - others": table[BEST].test - others}, 0.02
        ).to_dict(),
        "P6_more_accurate_than_no_dropout": Direction(
            {"P6 - P0": table[BEST].test - table[0].test}, 0.02
        ).to_dict(),
    }
    return claims_of(shift), {"runs": rows, "questions": questions}


def figure(table: dict[int, Trained], shift: dict[int, np.ndarray], out: Path) -> None:
    """Draw the shift and the accuracy at every place."""
    with house_style():
        drawing = panels.canvas((7.0, 2.9))
        left, right = drawing.subplots(1, 2)
        for axes, values, text in (
            (left, shift, r"$\sum |\ln\,\mathrm{shift}|$ of a block, trained"),
            (right, {p: own.test for p, own in table.items()}, "accuracy on test images"),
        ):
            rows = np.array([values[p] for p in values])
            error = rows.std(axis=1, ddof=1) / np.sqrt(rows.shape[1])
            tones = [colour(1) if p == BEST else colour(0) for p in values]
            for p, mean, e, tone in zip(values, rows.mean(axis=1), error, tones, strict=True):
                axes.errorbar(p, mean, e, marker="o", ms=4, color=tone)
            axes.set_xticks(list(values), [f"P{p}" for p in values])
            axes.set_xlabel("place of dropout (P0: none)")
            axes.set_ylabel(text)
    save_figure(drawing, out / "places")


main = partial(run_script, __doc__, SETTINGS, examined, store="folder where finished runs are kept")

if __name__ == "__main__":
    sys.exit(main())
