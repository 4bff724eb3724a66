"""The first step at finite width: what depth-muP and CompleteP rest on, derived.

One step ``theta -> theta - eta e dy/dtheta`` of one output on one input, ``e = y - y*``, changes
the squared norm of the stream behind block l, to leading order in the width, by

    E |h^l|^2 -> E |h^l|^2 + eta drift^l + eta^2 E e^2 (moved^l + bent^l):

``moved`` is the squared norm of the features' first derivative, ``bent`` what the second one adds,
``drift`` comes of the correlation of features and output. All three are covariances of one more
column: tangents along copies of the parameters (``finite_response(net, "step")``). So is the change
of the tangent kernel, ``E Theta -> E Theta + eta ntk_drift/N``. The samples are dense networks that
take the step. Six claims:

- step: ``moved + bent`` at the last layer, for branches, activations, and all parameters or those
  of the blocks. Control: second derivatives are dropped.
- drift: the change to first order. Control: features of wide networks do not move.
- kernel: the change of the tangent kernel to first order, all parameters moving. Control: the
  kernel of wide networks does not move.
- depth: the step of the blocks at residual scale ``L**-beta`` over the depth L. Control: one rate
  serves all depths at every beta.
- half: at ``1/sqrt(L)`` one rate serves all depths, up to ``1/L``: the rule of depth-muP for blocks
  of one Linear (Yang et al. 2024). Control: beta = 1.
- rates: at ``L**-beta`` the rate of the blocks must grow like ``L**(2 beta - 1)``, at beta = 1 like
  L. CompleteP (Dey et al. 2025) is beta = 1 and states its rates for AdamW, whose steps do not
  scale with the gradient: a gradient of size ``L**-beta`` makes ``L**(beta - 1)`` of them, a
  constant at beta = 1. Control: it does not grow.

Settings were fixed before the first run, by power: the squared norm that is averaged has about its
mean as standard deviation, so that n networks at widths N and 2 N, extrapolated, see ``sqrt(5/n)``:
3 % for 5000, 7 % for 1000, where controls are off by a factor or by a third.

Usage: ``python numerics/first_step.py [--scale smoke|full] [--out FOLDER]``; ``--out`` also draws
the change over the depth. Exit code 0 if all claims agree, 1 if one disagrees (or a control slips
through), 2 if undecided.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from resexpand import Activation, Branch, Linear, ResNet, evaluate, finite_response
from resexpand.export.figures import panels
from resexpand.export.figures.picture_files import save_figure
from resexpand.export.figures.style import colour, house_style
from support.claims import Claim, run_script
from support.dense_steps import BIASES, BRANCHES, K0, WEIGHTS, Dense
from support.findings import Bounded, Scores

RHO, DEPTH = 0.6, 3
BETAS = (0.5, 1.0)
UNSEEN = 1.5
"""Deviation of the root mean square of scores that may stay unseen."""

BATCH = 1 << 22
"""Weights in memory at a time."""


@dataclass(frozen=True)
class Scale:
    """What is sampled."""

    cases: tuple[tuple[str, str], ...] = (
        ("W phi(h)", "erf"),
        ("W phi(h)", "tanh"),
        ("V phi(W h)", "erf"),
        ("V phi(W h)", "relu"),
    )
    width: int = 64
    draws: int = 5000
    depths: tuple[int, ...] = (4, 8, 16)
    depth_draws: int = 1500
    depth_width: int = 48
    deep: int = 128


SETTINGS = {
    "smoke": Scale((("W phi(h)", "erf"), ("V phi(W h)", "relu")), 48, 4000, (4, 16), 1000, 32, 64),
    "full": Scale(),
}


def network(branch: str, activation: str, depth: int, scale: float) -> ResNet:
    """Return a network; without a read-out, the output is read with unit weights."""
    ops = {"phi": Activation(activation), "W": Linear(WEIGHTS, BIASES)}
    listed = [ops[name] for name in BRANCHES[branch].split()]
    return ResNet(Branch(*listed), scale=scale, depth=depth)


def sampled(
    net: Dense, draws: int, seed: int, changes: Callable[..., tuple[Any, ...]]
) -> tuple[Any, Any]:
    """Return means and errors of changes, extrapolated from widths N and 2 N."""
    means = []
    for factor in (1, 2):
        wider = replace(net, width=factor * net.width)
        rng = np.random.default_rng([seed, factor])
        count = max(1, BATCH // (wider.width**2 * wider.depth))
        parts = [changes(wider, min(count, draws - done), rng) for done in range(0, draws, count)]
        rows = np.array([np.concatenate(part) for part in zip(*parts, strict=True)])
        means.append((rows.mean(axis=1), rows.std(axis=1) / np.sqrt(draws)))
    (narrow, wrong), (wide, error) = means
    return 2 * wide - narrow, np.hypot(2 * error, wrong)


@cache
def derived(branch: str, activation: str, depth: int, scale: float) -> dict[str, float]:
    """Return the coefficients at the last layer."""
    values = evaluate(finite_response(network(branch, activation, depth, scale), "step"), K0=K0)
    return {name: float(np.ravel(values[name])[-1]) for name in values if name != "validity"}


def step_claims(scale: Scale) -> list[Claim]:
    """Compare first and second order at the last layer."""
    scores: dict[str, dict[str, float]] = {"step": {}, "drift": {}, "no bend": {}, "no drift": {}}
    for number, (branch, activation) in enumerate(scale.cases):
        for suffix in ("", "_blocks"):
            found = derived(branch, activation, DEPTH, RHO)
            net = Dense(branch, activation, DEPTH, RHO, scale.width)
            step = partial(Dense.changes, reads_in=not suffix)
            mean, error = sampled(net, scale.draws, 10 * number + len(suffix), step)
            moved, bent, drift = (found[f"{k}{suffix}"] for k in ("moved", "bent", "drift"))
            label = f"{branch}, {activation}{suffix.replace('_', ', ')}"
            scores["drift"][label] = (mean[0] - drift) / error[0]
            scores["no drift"][label] = mean[0] / error[0]
            scores["step"][label] = (mean[1] - moved - bent) / error[1]
            if activation != "relu" or branch != "W phi(h)":
                scores["no bend"][label] = (mean[1] - moved) / error[1]
    return [
        Claim(
            "step",
            "a step changes features to second order as derived",
            Scores(scores["step"]),
            Scores(scores["no bend"]),
            "second derivatives are dropped",
            UNSEEN,
        ),
        Claim(
            "drift",
            "a step changes features to first order as derived",
            Scores(scores["drift"]),
            Scores(scores["no drift"]),
            "features do not move",
            UNSEEN,
        ),
    ]


def kernel_claim(scale: Scale) -> Claim:
    """Compare the change of the tangent kernel."""
    right, wrong = {}, {}
    for number, (branch, activation) in enumerate(scale.cases):
        net = Dense(branch, activation, DEPTH, RHO, scale.width // 2)
        mean, error = sampled(net, scale.draws, 1000 + number, Dense.kernel_changes)
        found = derived(branch, activation, DEPTH, RHO)
        label = f"{branch}, {activation}"
        right[label] = float((mean[0] - found["ntk_drift"]) / error[0])
        wrong[label] = float(mean[0] / error[0])
    return Claim(
        "kernel",
        "a step changes the tangent kernel to first order as derived",
        Scores(right),
        Scores(wrong),
        "the kernel does not move",
        UNSEEN,
    )


def change(depth: int, beta: float, grown: bool = False) -> float:
    """Return the second order of a step of the blocks at ``L**-beta``, at a rate that has grown."""
    found = derived("W phi(h)", "erf", depth, depth**-beta)
    rate = depth ** (2 * beta - 1) if grown else 1.0
    return rate**2 * (found["moved_blocks"] + found["bent_blocks"])


def depth_claim(scale: Scale, points: dict[tuple[float, int], tuple[float, float]]) -> Claim:
    """Compare the step of the blocks over the depth."""
    right, wrong = {}, {}
    for beta in BETAS:
        for depth in scale.depths:
            net = Dense("W phi(h)", "erf", depth, depth**-beta, scale.depth_width)
            step = partial(Dense.changes, reads_in=False)
            mean, error = sampled(net, scale.depth_draws, 100 + depth + int(10 * beta), step)
            points[beta, depth] = float(mean[1]), float(error[1])
            label = f"beta = {beta:g}, L = {depth}"
            right[label] = float((mean[1] - change(depth, beta)) / error[1])
            wrong[label] = float((mean[1] - change(depth, 0.5)) / error[1])
    statement = "a step of the blocks changes features over the depth as derived"
    return Claim(
        "depth", statement, Scores(right), Scores(wrong), "one rate serves every beta", UNSEEN
    )


def order_claims(scale: Scale) -> list[Claim]:
    """Test how the change goes with depth, between the deepest networks."""

    def exponent(beta: float, grown: bool) -> float:
        ends = [change(depth, beta, grown) for depth in (scale.deep // 2, scale.deep)]
        return float(np.log2(ends[1] / ends[0]))

    half = {"beta = 0.5": exponent(0.5, False)}
    grown = {f"beta = {beta:g}": exponent(beta, True) for beta in (0.75, 1.0)}
    same = {f"beta = {beta:g}": exponent(beta, False) for beta in (0.75, 1.0)}
    bound = 4 / scale.deep
    return [
        Claim(
            "half",
            "at 1/sqrt(L) one rate serves all depths",
            Bounded(half, 0.0, bound),
            Bounded({"beta = 1": same["beta = 1"]}, 0.0, bound),
            "the scale is 1/L",
        ),
        Claim(
            "rates",
            "at L^-beta a rate that grows like L^(2 beta - 1) serves all depths",
            Bounded(grown, 0.0, (scale.deep / 4) ** -0.5),
            Bounded(same, 0.0, (scale.deep / 4) ** -0.5),
            "the rate does not grow",
        ),
    ]


def figure(scale: Scale, points: dict[tuple[float, int], tuple[float, float]], out: Path) -> None:
    """Draw the change over the depth: one rate, and a rate that grows."""
    depths = np.unique(np.geomspace(2, scale.deep, 9).astype(int))
    with house_style():
        drawing = panels.canvas((6.4, 3.2))
        for axes, grown in zip(drawing.subplots(1, 2, sharey=True), (False, True), strict=True):
            for k, beta in enumerate(BETAS):
                curve = [change(int(depth), beta, grown) for depth in depths]
                axes.plot(depths, curve, color=colour(k), label=rf"$\rho = L^{{-{beta:g}}}$")
                rates = [d ** (4 * beta - 2) if grown else 1.0 for d in scale.depths]
                found = np.array([points[beta, d] for d in scale.depths]) * np.array(rates)[:, None]
                axes.errorbar(
                    scale.depths, found[:, 0], yerr=found[:, 1], fmt="o", ms=4, color=colour(k)
                )
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlabel("depth $L$")
            axes.set_title(r"rate $\propto L^{2\beta - 1}$" if grown else "one rate")
        drawing.axes[0].set_ylabel(r"change of $|h^L|^2$ over $\eta^2 e^2$")
        drawing.axes[0].legend()
    save_figure(drawing, out / "first_step")


def examined(chosen: argparse.Namespace, scale: Scale) -> tuple[list[Claim], dict[str, Any]]:
    """Return the claims; the figure goes to ``chosen.out``."""
    points: dict[tuple[float, int], tuple[float, float]] = {}
    claims = [
        *step_claims(scale),
        kernel_claim(scale),
        depth_claim(scale, points),
        *order_claims(scale),
    ]
    if chosen.out is not None:
        figure(scale, points, chosen.out)
    return claims, {}


main = partial(run_script, __doc__, SETTINGS, examined)

if __name__ == "__main__":
    sys.exit(main())
