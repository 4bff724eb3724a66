"""Responses, gradients and tangent kernels of finite width, theory against samples.

The order 1/N of a response follows from one column more: a tangent has features of its own, and
means and covariances of the Gram matrices of all columns are those of inputs. Six claims:

- response: mean and deviation of the variance response and of the output response at each width.
  Control: the conditioning is dropped from the order 1/N, as in theories of the kernel alone.
- gradient: the same of ``|dy/dh^l|^2``. Control: the mixed columns h.v are dropped, whose mean is
  zero, but whose fluctuations move the mean of v.v.
- tangent_kernel: the same of the tangent kernel, with the same control.
- scores: means of all of these at the last layer, one independent run each, in units of their
  errors: their squares follow a chi-squared law. Control: infinite width.
- second: the order 1/N^2 of the mean of C, which the others neglect, at small widths. Control: it
  is left out.
- optimum: the first Newton step from the residual scale that is optimal at infinite width, to the
  largest mean response at the width, as derived to order 1/N^2. Control: it stays where it is.

How many networks are drawn follows from a power that was fixed beforehand, and from the theory: as
many as show the difference of theory and control with `SIGMAS` standard errors, at the entry of the
claim where it is seen best; the scores, on average. The number for the optimum, whose error the
theory does not give, follows from a pilot run, of which the error alone is used.

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
from functools import cache, cached_property, partial
from itertools import product
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
    response,
    sample,
    two_loop,
)
from resexpand.agreement.comparison import combine
from resexpand.export.figures import panels
from resexpand.export.figures.picture_files import save_figure
from resexpand.export.figures.style import FAINT, INK, colour, house_style
from resexpand.numbers.one_loop import expansion
from resexpand.numbers.one_loop.columns import Columns
from support.claims import Claim, run_script
from support.findings import Scores

K0, SMALL = 1.0, 0.1
OBSERVED = ("kernel", "chi", "response", "gradient", "ntk")
LAST = {"variance": ("eta", "response"), "gradient": ("gradient", "gradient")}
LAST |= {"parameters": ("ntk", "ntk"), "tangent": ("tangent", "tangent")}

SIGMAS = 6.0
"""Standard errors with which a control is to be seen."""

PER_SCORE = 3.0
"""The same for a score, root mean square."""

PILOT, OFF = 1000, 0.05
"""Networks of a pilot run, and distance of two scales from the optimum, relative to it."""

MEANS = ("chi_0", "eta_layers", "gradient", "ntk")


@dataclass(frozen=True)
class Scale:
    """Which networks are sampled, and the largest deviation that may stay unseen."""

    activations: tuple[str, ...] = ("erf", "relu", "tanh", "gelu")
    depths: tuple[int, ...] = (3, 2)
    widths: tuple[int, ...] = (96, 192)
    scored_widths: tuple[int, ...] = (128, 256)
    second: tuple[str, ...] = ("erf", "tanh", "sin")
    second_widths: tuple[int, ...] = (12,)
    optimum_depths: tuple[int, ...] = (5, 20)
    optimum_widths: tuple[int, ...] = (64, 256)
    resolve: float = 0.2


SETTINGS = {
    "smoke": Scale(("erf", "relu"), (3,), (64,), (128,), ("erf",), (12,), (4,), (96,), 0.4),
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


@dataclass(frozen=True)
class Stated:
    """What theory and control state of one network at one width, by claim."""

    activation: str
    depth: int
    width: int

    @property
    def label(self) -> str:
        """Short name."""
        return f"{self.activation}, N = {self.width}"

    @cached_property
    def right(self) -> dict[str, Any]:
        """The theory."""
        net = network(self.activation, self.depth)
        return {
            name: evaluate(finite_response(net, kind), K0=K0, width=self.width)
            for name, (kind, _, _) in CONTROLS.items()
        }

    @cached_property
    def wrong(self) -> dict[str, Any]:
        """The controls."""
        net, found = network(self.activation, self.depth), {}
        for name, (kind, dropped, _) in CONTROLS.items():
            with dropped():
                found[name] = evaluate(finite_response(net, kind), K0=K0, width=self.width)
        return found

    def draws(self, claim: str) -> float:
        """Return how many networks show the control, at the entry of a mean that shows it best."""
        right, wrong = self.right[claim], self.wrong[claim]
        neglected, best = bounds(right, self.width), 0.0
        for key, unseen in neglected.items():
            name = key.removesuffix("_mean")
            gap = np.abs(right[key] - wrong[key]) - unseen
            best = max(best, float(np.max(gap / right[f"{name}_deviation"])))
        return (SIGMAS / best) ** 2 if best > 0 else np.inf


def compared_claims(scale: Scale, drawn: dict[str, Any]) -> list[Claim]:
    """Compare means and deviations layer by layer."""
    cases = [Stated(a, scale.depths[0], n) for a in scale.activations for n in scale.widths]
    draws = int(max(min(case.draws(name) for case in cases) for name in CONTROLS)) + 1
    drawn["compared"] = draws
    right: dict[str, dict[str, Any]] = {name: {} for name in CONTROLS}
    wrong: dict[str, dict[str, Any]] = {name: {} for name in CONTROLS}
    for number, case in enumerate(cases):
        net, width = network(case.activation, case.depth), case.width
        run = sample(net, OBSERVED, width, draws, K0=K0, seed=300 + number, progress=False)
        for name in CONTROLS:
            unseen = bounds(case.right[name], width)
            judged = partial(compare, estimates=run, resolve=scale.resolve, neglected=unseen)
            right[name][case.label] = judged(case.right[name])
            wrong[name][case.label] = judged(case.wrong[name])
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
        for name in MEANS
        if f"{name}_mean" in values
    }


def scores_claim(scale: Scale, drawn: dict[str, Any]) -> Claim:
    """Score means at the last layer, each from a run of its own."""
    cases = {}
    for activation, depth, kind in product(scale.activations, scale.depths, LAST):
        values = evaluate(finite_response(network(activation, depth), kind), K0=K0)
        name, at = LAST[kind][0], 0 if kind == "gradient" else -1
        stated = [
            float(np.ravel(values[key])[at]) for key in (name, f"{name}_shift", f"{name}_var")
        ]
        for width in scale.scored_widths:
            cases[activation, depth, width, kind] = at, *stated
    # Of infinite width a mean is off by shift/N, its error is sqrt(var/(N n)).
    powers = [shift**2 / (case[2] * var) for case, (_, _, shift, var) in cases.items()]
    draws = drawn["scores"] = int(PER_SCORE**2 / np.mean(powers)) + 1
    right, wrong = {}, {}
    for seed, (case, (at, limit, shift, _)) in enumerate(cases.items(), start=5001):
        activation, depth, width, kind = case
        name, observable = LAST[kind]
        net = network(activation, depth)
        run = sample(net, observable, width, draws, K0=K0, seed=seed, progress=False)[observable]
        mean, error = (float(np.ravel(part)[at]) for part in (run.mean, run.stderr))
        label = f"{name}, {activation}, L = {depth}, N = {width}"
        right[label] = (mean - limit - shift / width) / error
        wrong[label] = (mean - limit) / error
    statement = "means at the last layer scatter as their errors say"
    return Claim("scores", statement, Scores(right), Scores(wrong), "infinite width", 1.5)


def second_claim(scale: Scale, drawn: dict[str, Any]) -> Claim:
    """Compare the order 1/N^2 of the mean of C behind the last block, extrapolated in 1/N."""
    right, wrong = {}, {}
    for number, activation in enumerate(scale.second):
        net = ResNet(Branch(Activation(activation), Linear(2, 0)), scale=0.8, depth=3)
        theory = evaluate(two_loop(net), K0=SMALL * 5)
        values = [float(theory[key][-1]) for key in ("C", "C_mean", "C_mean_2")]
        for width in scale.second_widths:
            left = []
            for factor in (1, 2):
                run = partial(
                    sample, net, "layer_covariance", factor * width, K0=SMALL * 5,
                    control="infinite-width", progress=False,
                )  # fmt: skip
                # The error of a pilot says how many networks the power needs.
                pilot = run(draws=PILOT, seed=7000 + number)["layer_covariance"]
                gap = abs(values[2]) / (factor * width) ** 2
                ratio = float(pilot.stderr[-1]) * np.sqrt(PILOT) * 2.3 * SIGMAS / gap
                draws = int(ratio**2) + PILOT
                drawn[f"second, {activation}, N = {factor * width}"] = draws
                found = run(draws=draws, seed=7100 + 10 * number + factor)["layer_covariance"]
                size = (factor * width) ** 2
                rest = found.mean[-1] - values[0] - values[1] / (factor * width)
                left.append((float(rest * size), float(found.stderr[-1] * size)))
            mean = 2 * left[1][0] - left[0][0]
            error = float(np.hypot(2 * left[1][1], left[0][1]))
            label = f"{activation}, N = {width}, {2 * width}"
            right[label], wrong[label] = (mean - values[2]) / error, mean / error
    statement = "the order 1/N^2 of the mean is as derived"
    return Claim("second", statement, Scores(right), Scores(wrong), "it is left out", 3.0)


def optimum_net(depth: int, rho: Any = 1) -> ResNet:
    """Return the network of Fischer, Dahmen & Helias."""
    return ResNet(Branch(Activation("erf_unit"), Linear(1, 0)), scale=rho, depth=depth)


@cache
def newton_step(depth: int) -> tuple[float, float, float, float]:
    """Return the optimum at infinite width, curvature, and the step's orders 1/N and 1/N^2."""
    limit = float(evaluate(optimal_scale(optimum_net(depth)), K0=SMALL)["rho"])
    first, second = [], []
    levels = []
    for k in (-1, 0, 1):
        net = optimum_net(depth, limit * (1 + k * OFF))
        values = evaluate(finite_response(net), K0=SMALL, outputs=["eta", "eta_shift"])
        levels.append(float(values["eta"]))
        first.append(float(values["eta_shift"]))
        ends = evaluate(two_loop(net), K0=SMALL * np.array([0.98, 1.02]), outputs=["C_mean_2"])
        second.append(float(np.diff(ends["C_mean_2"][:, -1])[0] / (0.04 * SMALL)))
    curvature = (levels[0] - 2 * levels[1] + levels[2]) / (OFF * limit) ** 2
    steps = [-(each[2] - each[0]) / (2 * OFF * limit) / curvature for each in (first, second)]
    return limit, curvature, steps[0], steps[1]


def slopes(depth: int, width: int, batches: range, draws: int) -> np.ndarray:
    """Return slopes of the mean response at the optimum less that of infinite width, by batch.

    The same networks at two scales next to it.
    """
    limit, _, _, _ = newton_step(depth)
    ends = [limit * (1 + k * OFF) for k in (-1, 1)]
    level = [float(evaluate(response(optimum_net(depth, r)), K0=SMALL)["eta"]) for r in ends]
    found = []
    for batch in batches:
        means = [
            sample(
                optimum_net(depth, rho), "response", width, draws, K0=SMALL, seed=9000 + batch,
                progress=False,
            )["response"].mean[-1]
            for rho in ends
        ]  # fmt: skip
        found.append((means[1] - means[0] - level[1] + level[0]) / (2 * OFF * limit))
    return np.array(found)


def optimum_claim(scale: Scale, out: Path | None, drawn: dict[str, Any]) -> Claim:
    """Compare the Newton step at finite width with sampled ones."""
    right, wrong, points = {}, {}, []
    for depth, width in product(scale.optimum_depths, scale.optimum_widths):
        limit, curvature, first, second = newton_step(depth)
        pilot = slopes(depth, width, range(-8, 0), PILOT) / curvature
        gap = abs(first / width)
        batches = max(8, int((SIGMAS * pilot.std(ddof=1) / gap) ** 2) + 1)
        draws = PILOT * max(1, batches // 32)
        batches = min(batches, 32)
        drawn[f"optimum, L = {depth}, N = {width}"] = draws * batches
        moved = -slopes(depth, width, range(batches), draws) / curvature
        mean, error = float(moved.mean()), float(moved.std(ddof=1) / np.sqrt(batches))
        label = f"L = {depth}, N = {width}"
        right[label] = (mean - first / width - second / width**2) / error
        wrong[label] = mean / error
        points.append((depth, width, limit + mean, error))
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
    depths = sorted({*scale.optimum_depths, 2, 3, 2 * max(scale.optimum_depths)})
    steps = {depth: newton_step(depth) for depth in depths}
    axes.axhline(1.0, color=FAINT, linewidth=0.8, label=r"$N = \infty$")
    for k, width in enumerate(scale.optimum_widths):
        one, two = (
            [1 + (s[2] / width + higher * s[3] / width**2) / s[0] for s in steps.values()]
            for higher in (0, 1)
        )
        axes.plot(depths, one, "--", color=colour(k), linewidth=0.9)
        axes.plot(depths, two, color=colour(k))
        own = [(d, b / steps[d][0], e / steps[d][0]) for d, n, b, e in points if n == width]
        found = np.array(own)
        axes.errorbar(
            found[:, 0], found[:, 1], yerr=found[:, 2], fmt="os"[k % 2], markersize=4,
            color=colour(k), markeredgecolor="white", markeredgewidth=0.5, label=f"$N = {width}$",
        )  # fmt: skip
    axes.plot([], [], "--", color=INK, linewidth=0.9, label="order $1/N$")
    axes.plot([], [], color=INK, label="order $1/N^2$")
    axes.set_xscale("log")
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.minorticks_off()
    axes.set_xlabel("depth $L$")
    axes.set_ylabel(r"optimal scale $\rho^*(L, N) / \rho^*(L, \infty)$")
    axes.legend(loc="center right")


def examined(chosen: argparse.Namespace, scale: Scale) -> tuple[list[Claim], dict[str, Any]]:
    """Return the claims, and how many networks were drawn; the figure goes to ``chosen.out``."""
    drawn: dict[str, Any] = {}
    claims = [
        *compared_claims(scale, drawn),
        scores_claim(scale, drawn),
        second_claim(scale, drawn),
        optimum_claim(scale, chosen.out, drawn),
    ]
    return claims, {"networks": drawn}


main = partial(run_script, __doc__, SETTINGS, examined)

if __name__ == "__main__":
    sys.exit(main())
