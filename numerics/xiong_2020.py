"""Where layer normalisation stands in a block decides how gradients grow: theory against samples.

Xiong et al. (2020) compare transformers that normalise the stream behind every block (post-LN) with
those that normalise the input of every branch (pre-LN). Four claims, for their feed-forward blocks
with relu at initialisation, one output read from a normalised last layer, unit variances:

- growth: a pre-LN stream grows by a constant per block, ``K^l = K^0 + l`` at infinite width.
  Control: the doubling of blocks without normalisation.
- pre_ln: the gradient at layer l is ``P^l = 1/K^l``, so that it falls with depth at the last layer
  but is not the same at all layers. Control: the profile is flat.
- post_ln: the profile is flat. Their appendix infers a decay by 2/3 per block from the Jacobian of
  the norm; that of the residual sum makes up for it. Control: ``(2/3)^(L-l)``.
- mean: LayerNorm behind relu removes a mean, which the covariance of two inputs shows. Control: it
  is left in, as by RMSNorm.

Usage: ``python numerics/xiong_2020.py [--scale smoke|full] [--out FOLDER]``; ``--out`` also draws
both gradient profiles. Exit code 0 if all claims agree, 1 if one disagrees (or a control slips
through), 2 if undecided.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from resexpand import (
    Activation,
    Branch,
    LayerNorm,
    Linear,
    ResNet,
    RMSNorm,
    compare,
    evaluate,
    gradient_moments,
    growth,
    kernel,
    post_ln,
    pre_ln,
    sample,
)
from resexpand.agreement.extrapolation import extrapolate_all
from resexpand.export.figures.one_loop import Sampled, terms_figure
from resexpand.export.figures.picture_files import save_figure
from support.claims import Claim, run_script

PAIR = np.array([[1.0, 0.4], [0.4, 1.0]])
FINAL = [LayerNorm(), Linear(1, 0)]


@dataclass(frozen=True)
class Scale:
    """How deep and wide the networks are, how many are drawn, and what must be seen."""

    depth: int = 12
    widths: tuple[int, ...] = (256, 512, 1024)
    draws: int = 6_000
    resolve: float = 0.2


SETTINGS = {"smoke": Scale(4, (96, 192), 1_500, 0.4), "full": Scale()}
Runs = Sequence[Any]


def drawn(net: ResNet, names: list[str], scale: Scale, seed: int, K0: Any = 1.0) -> Runs:
    """Return one run per width, each with a seed of its own."""
    return [
        sample(net, names, width, scale.draws, K0=K0, seed=seed + k, progress=False)
        for k, width in enumerate(scale.widths)
    ]


def growth_claim(net: ResNet, runs: Runs, scale: Scale) -> Claim:
    """Test the closed law of growth."""
    layers = np.arange(scale.depth + 1)
    law = growth(net).kernel.lambdify("l", "K0")(layers, 1.0)
    theories = (law, 2.0**layers)
    right, control = (compare({"K": k}, runs, resolve=scale.resolve) for k in theories)
    statement = "a pre-LN stream grows by a constant per block"
    return Claim("growth", statement, right, control, "doubling")


def profile_claim(name: str, net: ResNet, runs: Runs, wrong: Any, scale: Scale) -> Claim:
    """Test the gradients at all layers against a profile that is wrong."""
    theory = evaluate(gradient_moments(net), K0=1.0)["gradient"]
    profiles = (theory, theory[-1] * wrong[0])
    right, control = (compare({"gradient": p}, runs, resolve=scale.resolve) for p in profiles)
    return Claim(name, f"gradients of {name} are as derived", right, control, wrong[1])


def mean_claim(scale: Scale) -> Claim:
    """Test the mean that LayerNorm removes behind relu."""
    nets = [
        ResNet(Branch(Linear(1, 0), Activation("relu"), norm, Linear(1, 0)), scale=1, depth=3)
        for norm in (LayerNorm(), RMSNorm())
    ]
    runs = drawn(nets[0], ["kernel"], scale, 70, PAIR)
    theories = [evaluate(kernel(net, 2), K0=PAIR)["K"] for net in nets]
    right, control = (compare({"K": k}, runs, resolve=scale.resolve) for k in theories)
    statement = "LayerNorm behind relu removes the mean"
    return Claim("mean", statement, right, control, "the mean is left in")


def figure(nets: Sequence[ResNet], runs: Sequence[Runs], wrong: Any, out: Path) -> None:
    """Draw both gradient profiles, extrapolated to infinite width."""
    for net, run, (profile, words), name in zip(nets, runs, wrong, ("pre", "post"), strict=True):
        found = extrapolate_all(run)["gradient"]
        right = evaluate(gradient_moments(net), K0=1.0)["gradient"]
        layers = np.arange(len(right), dtype=float)
        curves = {"infinite width": right, words: right[-1] * profile}
        subtitle = rf"{name}-LN, relu, $L = {len(right) - 1}$, samples at $N \to \infty$"
        samples = Sampled(layers, found.mean, found.stderr)
        drawing = terms_figure(layers, curves, samples, subtitle=subtitle, quantity="$P^l$")
        save_figure(drawing, out / f"{name}_ln")


def examined(chosen: argparse.Namespace, scale: Scale) -> tuple[list[Claim], dict[str, Any]]:
    """Return the claims; the figures go to ``chosen.out``."""
    back = np.arange(scale.depth, -1, -1)
    wrong = [(np.ones(scale.depth + 1), "a flat profile"), ((2 / 3) ** back, "2/3 per block")]
    nets = [make(scale.depth, read_out=FINAL) for make in (pre_ln, post_ln)]
    runs = [drawn(net, ["kernel", "gradient"], scale, 100 + 10 * k) for k, net in enumerate(nets)]
    if chosen.out is not None:
        figure(nets, runs, wrong, chosen.out)
    claims = [
        growth_claim(nets[0], runs[0], scale),
        profile_claim("pre_ln", nets[0], runs[0], wrong[0], scale),
        profile_claim("post_ln", nets[1], runs[1], wrong[1], scale),
        mean_claim(scale),
    ]
    if chosen.out is not None:
        figure(nets, runs, wrong, chosen.out)
    return claims, {}


main = partial(run_script, __doc__, SETTINGS, examined)

if __name__ == "__main__":
    sys.exit(main())
