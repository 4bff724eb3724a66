"""Responses, gradients and tangent kernels of finite width, theory against samples.

The order 1/N of a response follows from one column more: a tangent has features of its own, and
means and covariances of the Gram matrices of all columns are those of inputs. Five claims:

- response: mean and deviation of the variance response and of the output response at each width.
  Control: the conditioning is dropped from the order 1/N, as in theories of the kernel alone.
- gradient: the same of ``|dy/dh^l|^2``. Control: the mixed columns h.v are dropped, whose mean is
  zero, but whose fluctuations move the mean of v.v.
- tangent_kernel: the same of the tangent kernel, with the same control.
- scores: means of all of these at the last layer, one independent run each, in units of their
  errors: their squares follow a chi-squared law. Control: infinite width.
- optimum: the residual scale with the largest mean output response moves with the width as derived.
  Control: it stays where it is.

Depths, widths and the deviation to be seen were chosen so that claims are decided and controls are
caught: the full scale sees deviations of a third to a half at every single entry; the sharper
statement is that of the scores.

Usage: ``python numerics/finite_response.py [--scale smoke|full] [--out FOLDER]``; ``--out`` also
draws the optimal scale over the depth at infinite and at finite width. Exit code 0 if all claims
agree, 1 if one disagrees (or a control slips through), 2 if undecided.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    compare,
    evaluate,
    finite_response,
    optimal_scale,
    sample,
)
from resexpand.agreement.comparison import combine
from resexpand.export.figures import panels
from resexpand.export.figures.agreement import save_figure
from resexpand.export.figures.style import colour, house_style
from resexpand.numbers.one_loop import expansion
from resexpand.numbers.one_loop.columns import Columns
from support.claims import Claim, run_script
from support.findings import Scores

K0, SMALL = 1.0, 0.1
OBSERVED = {
    "variance": ["chi", "response"],
    "gradient": ["gradient"],
    "parameters": ["ntk"],
    "tangent": ["tangent"],
}
LAST = {"variance": ("eta", "response"), "gradient": ("gradient", "gradient")}
LAST |= {"parameters": ("ntk", "ntk"), "tangent": ("tangent", "tangent")}


@dataclass(frozen=True)
class Scale:
    """What is sampled, and what must be seen."""

    activations: tuple[str, ...] = ("erf", "relu", "tanh", "gelu")
    depths: tuple[int, ...] = (3, 2)
    widths: tuple[int, ...] = (64, 128)
    draws: int = 100_000
    scored_widths: tuple[int, ...] = (128, 256, 512)
    optimum_depths: tuple[int, ...] = (5, 10, 20)
    optimum_widths: tuple[int, ...] = (64, 256)
    batches: int = 32
    resolve: float = 0.2


SETTINGS = {
    "smoke": Scale(("erf", "relu"), (3,), (64,), 64_000, (128,), (4,), (96,), 12, 0.4),
    "full": Scale(),
}


def network(activation: str, depth: int) -> ResNet:
    """Return a network whose blocks are strong enough for a visible order 1/N."""
    return ResNet(Branch(Activation(activation), Linear(2, 0.05)), scale=0.6, depth=depth)


@contextmanager
def without_conditioning() -> Iterator[None]:
    """Drop what neurons make of what they know already."""

    def nothing(tables: Any, *_: Any) -> Any:
        return np.zeros((*tables.scales.shape, tables.size))

    with mock.patch.object(expansion, "_conditioning", nothing):
        yield


@contextmanager
def without_mixed_columns() -> Iterator[None]:
    """Leave the entries of the input with a tangent out of the collective variables."""
    whole = Columns.followed.fget

    def followed(self: Columns) -> list[tuple[int, tuple[int, int]]]:
        return [e for e in whole(self) if e[1][0] or not e[1][1]]

    with mock.patch.object(Columns, "followed", property(followed)):
        yield


CONTROLS = {
    "response": ("variance", without_conditioning, "the conditioning is dropped"),
    "gradient": ("gradient", without_mixed_columns, "the mixed columns are dropped"),
    "tangent_kernel": ("parameters", without_mixed_columns, "the mixed columns are dropped"),
}


def compared_claims(scale: Scale) -> list[Claim]:
    """Compare means and deviations layer by layer."""
    names = [
        "kernel",
        *(o for kind in ("variance", "gradient", "parameters") for o in OBSERVED[kind]),
    ]
    right: dict[str, dict[str, Any]] = {name: {} for name in CONTROLS}
    wrong: dict[str, dict[str, Any]] = {name: {} for name in CONTROLS}
    for number, (activation, width) in enumerate(
        (a, n) for a in scale.activations for n in scale.widths
    ):
        net = network(activation, scale.depths[0])
        run = sample(net, names, width, scale.draws, K0=K0, seed=300 + number, progress=False)
        for name, (kind, dropped, _) in CONTROLS.items():
            theory = finite_response(net, kind)
            label = f"{activation}, N = {width}"
            values = evaluate(theory, K0=K0, width=width)
            judged = partial(
                compare, estimates=run, resolve=scale.resolve, neglected=bounds(values, width)
            )
            right[name][label] = judged(values)
            with dropped():
                wrong[name][label] = judged(evaluate(theory, K0=K0, width=width))
    return [
        Claim(
            name,
            f"{name} of finite width as derived",
            combine(right[name]),
            combine(wrong[name]),
            text,
        )
        for name, (_, _, text) in CONTROLS.items()
    ]


def bounds(values: Any, width: int) -> dict[str, Any]:
    """Return bounds of what means neglect: twice `relative_error` of their order 1/N."""
    error = 2 * np.max(values["relative_error"]) / width
    return {
        f"{name}_mean": error * np.abs(values[f"{name}_shift"])
        for name in ("chi_0", "eta_layers", "gradient", "ntk")
        if f"{name}_mean" in values
    }


def scores_claim(scale: Scale) -> Claim:
    """Score means at the last layer, each from a run of its own."""
    right, wrong = {}, {}
    seed = 5000
    for activation in scale.activations:
        for depth in scale.depths:
            net = network(activation, depth)
            for width in scale.scored_widths:
                for kind, (name, observable) in LAST.items():
                    seed += 1
                    values = evaluate(finite_response(net, kind), K0=K0)
                    draws = scale.draws // 4
                    run = sample(net, observable, width, draws, K0=K0, seed=seed, progress=False)
                    estimate = run[observable]
                    at = 0 if kind == "gradient" else -1
                    mean, error, limit, shift = (
                        float(np.ravel(part)[at])
                        for part in (
                            estimate.mean,
                            estimate.stderr,
                            values[name],
                            values[f"{name}_shift"],
                        )
                    )
                    label = f"{name}, {activation}, L = {depth}, N = {width}"
                    right[label] = (mean - limit - shift / width) / error
                    wrong[label] = (mean - limit) / error
    statement = "means at the last layer scatter as their errors say"
    return Claim("scores", statement, Scores(right), Scores(wrong), "infinite width", 1.5)


def optimum_net(depth: int, rho: Any = 1) -> ResNet:
    """Return the network of Fischer, Dahmen & Helias."""
    return ResNet(Branch(Activation("erf_unit"), Linear(1, 0)), scale=rho, depth=depth)


def sampled_optimum(depth: int, width: int, scale: Scale) -> tuple[float, float]:
    """Return the scale of the largest sampled response and its error.

    The slope at the optimum of infinite width, from the same networks at two scales, over the
    curvature there.
    """
    limit = evaluate(optimal_scale(optimum_net(depth)), K0=SMALL)["rho"]
    step = 0.05 * limit
    free = [float(limit + k * step) for k in (-1, 0, 1)]
    level = [evaluate(finite_response(optimum_net(depth, rho)), K0=SMALL)["eta"] for rho in free]
    curvature = (level[0] - 2 * level[1] + level[2]) / step**2
    slopes = []
    for batch in range(scale.batches):
        ends = [
            sample(
                optimum_net(depth, rho),
                "response",
                width,
                max(500, scale.draws // 32),
                K0=SMALL,
                seed=9000 + batch,
                progress=False,
            )["response"].mean[-1]
            for rho in (free[0], free[2])
        ]
        # The slope of infinite width vanishes at the optimum: its difference is of third order.
        slopes.append((ends[1] - ends[0] - (level[2] - level[0])) / (2 * step))
    moved = -np.array(slopes) / curvature
    return float(limit + moved.mean()), float(moved.std(ddof=1) / np.sqrt(len(moved)))


def optimum_claim(scale: Scale, out: Path | None) -> Claim:
    """Compare the optimal scale at finite width with sampled ones."""
    right, wrong, points = {}, {}, []
    for depth in scale.optimum_depths:
        for width in scale.optimum_widths:
            theory = evaluate(optimal_scale(optimum_net(depth)), K0=SMALL, width=width)
            best, error = sampled_optimum(depth, width, scale)
            label = f"L = {depth}, N = {width}"
            right[label] = (best - float(theory["rho_width"])) / error
            wrong[label] = (best - float(theory["rho"])) / error
            points.append((depth, width, best, error))
    if out is not None:
        figure(points, scale, out)
    statement = "the optimal scale moves with the width as derived"
    return Claim("optimum", statement, Scores(right), Scores(wrong), "it does not move", 3.0)


def figure(points: list[tuple[int, int, float, float]], scale: Scale, out: Path) -> None:
    """Draw how far the width moves the optimum, in units of that of infinite width."""
    with house_style():
        drawing = panels.canvas((5.0, 3.4))
        _draw(drawing.subplots(), points, scale)
    save_figure(drawing, out / "optimal_scale")


def _draw(axes: Any, points: list[tuple[int, int, float, float]], scale: Scale) -> None:
    depths = sorted({*scale.optimum_depths, *range(2, 2 * max(scale.optimum_depths), 2)})
    axes.axhline(1.0, color="black", linewidth=1, label=r"$N = \infty$")
    for k, width in enumerate(scale.optimum_widths):
        curve = []
        for depth in depths:
            values = evaluate(optimal_scale(optimum_net(depth)), K0=SMALL, width=width)
            curve.append(float(values["rho_width"] / values["rho"]))
        axes.plot(depths, curve, color=colour(k), label=f"$N = {width}$")
        own = [(d, b, e) for d, n, b, e in points if n == width]
        limits = [
            float(evaluate(optimal_scale(optimum_net(d)), K0=SMALL)["rho"]) for d, _, _ in own
        ]
        axes.errorbar(
            [d for d, _, _ in own],
            [b / k for (_, b, _), k in zip(own, limits, strict=True)],
            yerr=[e / k for (_, _, e), k in zip(own, limits, strict=True)],
            fmt="o",
            markersize=4,
            color=colour(k),
        )
    axes.set_xlabel("depth $L$")
    axes.set_ylabel(r"$\rho^*(L, N) / \rho^*(L, \infty)$")
    axes.legend()


def examined(chosen: argparse.Namespace, scale: Scale) -> tuple[list[Claim], dict[str, Any]]:
    """Return the claims; the figure goes to ``chosen.out``."""
    return [*compared_claims(scale), scores_claim(scale), optimum_claim(scale, chosen.out)], {}


main = partial(run_script, __doc__, SETTINGS, examined)

if __name__ == "__main__":
    sys.exit(main())
