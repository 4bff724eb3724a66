"""Smooth and rough weights, trained on digits at three scales: what survives, and what learns.

Marion et al. (2025) relate the residual scale ``L^(-beta)`` to how regular weights are as a
function of the layer: independent weights go with beta = 1/2, smooth ones with beta = 1. Networks
``h + L^(-beta) W^l relu(h)`` are trained from weights that are independent, increments of a
fractional Brownian motion, or smooth over the layers. Where beta is above 1/2 the learning rate of
W^l is larger by ``L^(2 beta - 1)``: else branches would hardly move. Directions:

- survives: after training smooth weights are smoother than independent ones. The roughness is
  ``sum |W^{l+1} - W^l|^2 / sum |W^l|^2``, 2 for independent weights; judged is its logarithm.
- stays: after training independent weights are still rough, above 1.
- match: smooth weights learn more at beta = 1 than at beta = 1/4, where they explode.

The control of each is the opposite direction. The record also says by how much weights move, how
rough their change is, and what beta = 1/4 costs independent ones; the figure shows accuracies
over the grid, and two weights as functions of the layer before and after.

Usage: ``python numerics/marion_2025_training.py [--scale smoke|full] [--out FOLDER]
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

from resexpand import FractionalBrownian, Smooth
from resexpand.export.figures import panels
from resexpand.export.figures.picture_files import save_figure
from resexpand.export.figures.style import colour, house_style
from support.claims import Claim, run_script
from support.direction import Direction, direction_claim
from support.training import Plan, Runs, Setup, Trained

VARIANCE = 0.01
"""Of the Gaussian process that smooth weights follow; its correlation length is a tenth of L."""

LABELS = {"independent": "independent", "fractional": "fractional, $H = 0.8$", "smooth": "smooth"}
RATE = 0.03
"""Learning rate at which weights are compared."""


@dataclass(frozen=True)
class Scale:
    """Networks, exponents and steps of training."""

    depth: int
    betas: tuple[float, ...]
    kinds: tuple[str, ...]
    steps: int
    seeds: int
    width: int = 24
    batch: int = 50
    rates: tuple[float, ...] = (0.01, 0.03, 0.1)


SETTINGS = {
    "smoke": Scale(40, (0.25, 0.5, 1.0), ("independent", "smooth"), steps=40, seeds=3),
    "full": Scale(200, (0.25, 0.5, 0.75, 1.0), tuple(LABELS), steps=80, seeds=5),
}


def factor(kind: str, depth: int) -> np.ndarray | None:
    """Return E with ``E E^T`` the covariance of weights between blocks; None if independent."""
    if kind == "independent":
        return None
    law = FractionalBrownian(0.8) if kind == "fractional" else Smooth("rbf", VARIANCE)
    values, vectors = np.linalg.eigh(law.covariance(depth))
    kept = values > 1e-12 * values[-1]
    return vectors[:, kept] * np.sqrt(values[kept])


def roughness(weights: np.ndarray) -> np.ndarray:
    """Return the roughness over layers of every network, shape (seeds,)."""
    flat = weights.reshape(*weights.shape[:2], -1).astype(float)
    return (np.diff(flat, axis=1) ** 2).sum(axis=(1, 2)) / (flat[:, 1:] ** 2).sum(axis=(1, 2))


def measured(own: Trained) -> dict[str, np.ndarray]:
    """Return roughness before and after training, and of what training added."""
    before, after = (
        nets.weights["weights"].detach().numpy() for nets in (own.before, own.at(RATE))
    )
    parts = {"before": before, "after": after, "added": after - before}
    moved = np.sqrt(((after - before) ** 2).sum((1, 2, 3, 4)) / (before**2).sum((1, 2, 3, 4)))
    return {**{name: roughness(weights) for name, weights in parts.items()}, "moved": moved}


def claims_of(table: Any, found: Any) -> list[Claim]:
    """Return the three claims."""
    rough, smooth = (found[kind, 1.0]["after"] for kind in ("independent", "smooth"))
    gain = table["smooth", 1.0].test - table["smooth", 0.25].test
    listed = (
        (
            *("survives", "smooth weights stay smoother than independent ones"),
            *({"ln of ratio": np.log(rough / smooth)}, 1.0),
        ),
        ("stays", "independent weights stay rough", {"roughness - 1": rough - 1}, 0.5),
        ("match", "smooth weights learn more at beta 1 than at 1/4", {"accuracy": gain}, 0.3),
    )
    return [direction_claim(*each, "the opposite direction") for each in listed]


def questions(table: Any, found: Any) -> dict[str, Any]:
    """Return what the paper does not say, as directions with their verdicts."""
    added = [found[kind, 1.0]["added"] for kind in ("independent", "smooth")]
    cost = table["independent", 0.5].test - table["independent", 0.25].test
    return {
        "change_smoother_under_smooth_weights": Direction(
            {"ln of ratio": np.log(added[0] / added[1])}, 0.5
        ).to_dict(),
        "independent_weights_learn_more_at_1/2_than_at_1/4": Direction(
            {"accuracy": cost}, 0.3
        ).to_dict(),
    }


def examined(chosen: argparse.Namespace, scale: Scale) -> tuple[list[Claim], dict[str, Any]]:
    """Train, measure and judge."""
    plan = Plan(scale.steps, scale.seeds, scale.rates, scale.batch)
    cases = [(kind, beta) for kind in scale.kinds for beta in scale.betas]
    runs = Runs(chosen.store, len(cases))
    table = {}
    for kind, beta in cases:
        setup = Setup(
            *(scale.depth, scale.width),
            scale=scale.depth**-beta,
            faster=max(1.0, scale.depth ** (2 * beta - 1)),
            factor=factor(kind, scale.depth),
        )
        table[kind, beta] = runs.of(f"{kind}_beta{beta:g}", setup, plan)
    found = {case: measured(own) for case, own in table.items()}
    if chosen.out is not None:
        figure(table, scale, chosen.out)
    rows = []
    for (kind, beta), own in table.items():
        rough = {k: v.tolist() for k, v in found[kind, beta].items()}
        rows.append({"weights": kind, "beta": beta, **own.to_dict(), "weights_after": rough})
    return claims_of(table, found), {"runs": rows, "questions": questions(table, found)}


def figure(table: Any, scale: Scale, out: Path) -> None:
    """Draw accuracy against the exponent, and a weight over the layers before and after."""
    with house_style():
        drawing = panels.canvas((8.4, 3.0))
        axes = drawing.subplots(
            1, 1 + len(scale.kinds), width_ratios=[1.4] + [1] * len(scale.kinds)
        )
        for k, kind in enumerate(scale.kinds):
            rows = np.array([table[kind, beta].test for beta in scale.betas])
            error = rows.std(axis=1, ddof=1) / np.sqrt(rows.shape[1])
            axes[0].errorbar(
                scale.betas, rows.mean(axis=1), error,
                marker="o", ms=3.5, color=colour(k), label=LABELS[kind],
            )  # fmt: skip
            own, panel = table[kind, scale.betas[-1]], axes[1 + k]
            for nets, look in ((own.before, "--"), (own.at(RATE), "-")):
                weights = nets.weights["weights"].detach().numpy()[0, :, 0, :2, 0]
                for entry in range(2):
                    panel.plot(
                        np.arange(scale.depth) + 1, weights[:, entry],
                        ls=look, lw=0.9, color=colour(k) if entry else "#777777",
                    )  # fmt: skip
            panels.count_layers(panel)
            panel.set_xticks([1, scale.depth // 2, scale.depth])
            panel.set_title(LABELS[kind], fontsize=9)
        axes[0].set_xlabel(r"$\beta$")
        axes[0].set_ylabel("accuracy on test images")
        axes[0].legend(loc="lower right")
        axes[1].set_ylabel("two weights, dashed: before")
    save_figure(drawing, out / "regularity")


main = partial(run_script, __doc__, SETTINGS, examined, store="folder where finished runs are kept")

if __name__ == "__main__":
    sys.exit(main())
