"""Residual scale, depth and evidence on handwritten digits, with infinitely wide networks.

Networks ``h^l = h^{l-1} + rho W erf(h^{l-1})`` of unit weight variances with ``rho = c/sqrt(L)``,
read from ``erf(h^L)``, on the digits of scikit-learn, classes as codes of plus and minus one.
Three claims:

- settles: at fixed c the log evidence of a Gaussian process settles with depth, the distance of
  depths L and 2L falling like ``1/L``. Control: a scale that does not fall with depth.
- choice: the c of largest evidence, found on the training inputs alone, costs little of the log
  density of held-out targets, against the best c of the grid. Control: targets are permuted.
- sampled: the tangent kernel of three digits is that of finite networks, extrapolated to infinite
  width. Control: the read-in is left out.

The figure shows evidence and accuracy against c, the latter of posteriors (NNGP) and of networks
whose layers are all trained (NTK).

The limits of the first two claims were set after looking at digits of this set: they describe it,
and are no test on fresh data.

Usage: ``python numerics/digits.py [--scale smoke|full] [--out FOLDER]``; needs scikit-learn. Exit
code 0 if all claims agree, 1 if one disagrees (or a control slips through), 2 if undecided.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    class_codes,
    compare,
    evaluate,
    predict,
    sample,
    tangent_kernel,
)
from resexpand.conventions import DEPTH, RHO
from resexpand.export.figures import panels
from resexpand.export.figures.picture_files import save_figure
from resexpand.export.figures.style import colour, house_style
from support.claims import Claim, run_script
from support.findings import Bounded

NOISE = 0.01
"""Variance of noise on the targets, and ridge of the tangent kernel."""

FIXED = 1.0
"""Scale of the control at all depths."""

ORDER_OFF = 0.35
"""Distance of an order from 1 that the next order explains at these depths."""

LOST = 0.2
"""Log density per input, of ten outputs, that a choice may cost."""

CLASSES = np.arange(10)


@dataclass(frozen=True)
class Scale:
    """Inputs, depths, scales times the root of the depth, and sampled networks."""

    train: int = 400
    test: int = 500
    depths: tuple[int, ...] = (4, 8, 16, 32)
    factors: tuple[float, ...] = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
    widths: tuple[int, ...] = (64, 128, 256)
    draws: int = 4000
    resolve: float = 0.05


SETTINGS = {
    "smoke": Scale(150, 300, (4, 8, 16), (0.5, 1.0, 2.0, 4.0), (32, 64), 500, 0.3),
    "full": Scale(),
}


@dataclass(frozen=True)
class Digits:
    """Training and test inputs with their classes."""

    train: np.ndarray
    labels: np.ndarray
    test: np.ndarray
    held: np.ndarray

    @classmethod
    def of(cls, scale: Scale) -> Digits:
        """Return so many digits in an order of their own."""
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            sys.exit("the digits are those of scikit-learn: pip install 'resexpand[data]'")
        data = load_digits()
        order = np.random.default_rng(0).permutation(len(data.target))[: scale.train + scale.test]
        inputs, classes = data.data[order] / 16, data.target[order]
        n = scale.train
        return cls(inputs[:n], classes[:n], inputs[n:], classes[n:])


def network(depth: Any = DEPTH, rho: Any = RHO) -> ResNet:
    """Return the network, its scale and depth symbols unless given."""
    erf, unit = Activation("erf"), Linear(1, 0)
    return ResNet(Branch(erf, unit), scale=rho, depth=depth, read_in=unit, read_out=[erf, unit])


def posterior(digits: Digits, targets: np.ndarray, depth: int, rho: float, **more: Any) -> Any:
    """Return the prediction of the Gaussian process."""
    given = {"kind": "nngp", "ridge": NOISE, "depth": depth, "rho": rho, **more}
    return predict(network(), digits.train, targets, digits.test, **given)


def point(digits: Digits, depth: int, rho: float) -> dict[str, float]:
    """Return evidence, held-out log density and accuracies at one scale and depth."""
    targets = class_codes(digits.labels, CLASSES)
    found = posterior(digits, targets, depth, rho)
    mixed = np.random.default_rng(1).permutation(len(targets))
    permuted = posterior(digits, targets[mixed], depth, rho, covariance=False)
    spread = found.deviation[:, None] ** 2 + NOISE
    errors = class_codes(digits.held, CLASSES) - found.mean
    density = -(errors**2 / spread + np.log(2 * np.pi * spread)).sum() / 2
    trained = predict(
        network(), digits.train, targets, digits.test,
        ridge=NOISE, covariance=False, depth=depth, rho=rho,
    )  # fmt: skip

    def accuracy(mean: np.ndarray) -> float:
        return float((mean.argmax(axis=1) == digits.held).mean())

    return {
        "evidence": found.log_marginal_likelihood / len(targets),
        "permuted": permuted.log_marginal_likelihood / len(targets),
        "held_out": float(density) / len(digits.held),
        "accuracy": accuracy(found.mean),
        "accuracy_trained": accuracy(trained.mean),
    }


def settles_claim(digits: Digits, table: Any, scale: Scale) -> Claim:
    """Test the order at which the evidence settles with depth."""
    targets = class_codes(digits.labels, CLASSES)

    def order(values: list[float]) -> float:
        early, late = abs(values[-2] - values[-3]), abs(values[-1] - values[-2])
        return float(np.log2(early / late))

    settled = {
        f"c = {c:g}": order([table[depth, c]["evidence"] for depth in scale.depths])
        for c in scale.factors
        if c <= 1
    }
    fixed = [
        posterior(digits, targets, depth, FIXED, covariance=False).log_marginal_likelihood
        for depth in scale.depths[-3:]
    ]
    control = Bounded({f"rho = {FIXED:g}": order(fixed)}, 1.0, ORDER_OFF)
    statement = "at c/sqrt(L) the evidence settles like 1/L"
    right = Bounded(settled, 1.0, ORDER_OFF)
    return Claim("settles", statement, right, control, "a scale that does not fall")


def choice_claim(table: Any, scale: Scale) -> Claim:
    """Test what a choice by evidence costs on held-out targets."""

    def lost(by: str) -> dict[str, float]:
        found = {}
        for depth in scale.depths:
            chosen = max(scale.factors, key=lambda c: table[depth, c][by])
            best = max(table[depth, c]["held_out"] for c in scale.factors)
            found[f"L = {depth}"] = best - table[depth, chosen]["held_out"]
        return found

    right, control = (Bounded(lost(by), 0.0, LOST) for by in ("evidence", "permuted"))
    statement = "the scale of largest evidence predicts about as well as the best"
    return Claim("choice", statement, right, control, "evidence of permuted targets")


def sampled_claim(digits: Digits, scale: Scale) -> Claim:
    """Test the tangent kernel of three digits against finite networks."""
    net, three = network(4, 0.5), digits.train[:3]
    start = three @ three.T / three.shape[1]
    runs = [
        sample(net, ["ntk"], width, scale.draws, K0=start, seed=width, progress=False)
        for width in scale.widths
    ]
    theories = (
        evaluate(tangent_kernel(net, 2, trained), K0=start, outputs="NTK")["NTK"]
        for trained in (("read_in", "weights", "read_out"), ("weights", "read_out"))
    )
    right, control = (compare({"NTK": t}, runs, resolve=scale.resolve) for t in theories)
    statement = "the tangent kernel of three digits is that of finite networks"
    return Claim("sampled", statement, right, control, "the read-in left out")


def figure(table: Any, scale: Scale, out: Path) -> None:
    """Draw evidence and accuracy against the scale."""
    with house_style():
        drawing = panels.canvas((8.2, 3.4))
        left, right = drawing.subplots(1, 2)
        for k, depth in enumerate(scale.depths):
            rows = [table[depth, c] for c in scale.factors]
            series = {
                n: [row[n] for row in rows] for n in ("evidence", "accuracy", "accuracy_trained")
            }
            left.plot(scale.factors, series["evidence"], "o-", color=colour(k), label=f"{depth}")
            right.plot(scale.factors, series["accuracy"], "o-", color=colour(k))
            right.plot(scale.factors, series["accuracy_trained"], "s--", color=colour(k))
        for axes, text in (
            (left, "log evidence per input"),
            (right, "accuracy on held-out digits"),
        ):
            axes.set_xscale("log")
            axes.set_xticks(scale.factors, [f"{c:g}" for c in scale.factors])
            axes.minorticks_off()
            axes.set_xlabel(r"$c = \rho \sqrt{L}$")
            axes.set_ylabel(text)
        left.legend(title="depth")
        right.plot([], [], "ko-", label="posterior (NNGP)")
        right.plot([], [], "ks--", label="all layers trained (NTK)")
        right.legend()
    save_figure(drawing, out / "digits")


def examined(chosen: argparse.Namespace, scale: Scale) -> tuple[list[Claim], dict[str, Any]]:
    """Return the claims and the table; the figure goes to ``chosen.out``."""
    digits = Digits.of(scale)
    table = {
        (depth, c): point(digits, depth, c / np.sqrt(depth))
        for depth in scale.depths
        for c in scale.factors
    }
    if chosen.out is not None:
        figure(table, scale, chosen.out)
    claims = [
        settles_claim(digits, table, scale),
        choice_claim(table, scale),
        sampled_claim(digits, scale),
    ]
    rows = [{"depth": depth, "c": c, **found} for (depth, c), found in table.items()]
    return claims, {"points": rows}


main = partial(run_script, __doc__, SETTINGS, examined)

if __name__ == "__main__":
    sys.exit(main())
