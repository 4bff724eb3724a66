"""Response functions of residual networks, theory against samples.

Fischer, Dahmen & Helias (2023) derive how the output responds to its input as a function of the
residual scale. Three claims are tested with the unit-slope error function:

- variance: the output variance response without biases, at several depths and scales;
- bias: the same with biases;
- covariance: the response of the covariance of two inputs, layer by layer.

Every claim has a control that must be caught: in the first two the term ``phi phi''`` is dropped
from the response, in the third the two inputs are taken to coincide.

Usage: ``python numerics/fischer_2023.py [--scale smoke|full] [--out FOLDER]``. Exit code 0 if all
claims agree, 1 if one disagrees (or a control slips through), 2 if undecided.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from resexpand import Activation, Branch, Linear, ResNet, compare, evaluate, response, sample
from resexpand.agreement.comparison import combine
from resexpand.workflows.results import write
from resexpand.workflows.settings import Settings
from resexpand.workflows.validate import derive, judge_responses, sample_responses, validate
from support.claims import Claim, run_script

SETTINGS = {
    "smoke": Settings(
        depths=(4, 8),
        scales=(0.2, 0.6),
        widths=(128, 256),
        draws=6_000,
        dense_width=32,
        dense_draws=8_000,
    ),
    "full": Settings(
        depths=(5, 10, 20, 40),
        widths=(256, 512, 1024, 2048),
        draws=60_000,
        dense_width=64,
        dense_draws=45_000,
        resolve=0.1,
    ),
}

PAIR_KERNEL = np.array([[0.4, 0.15], [0.15, 0.6]])


def variance_claim(name: str, settings: Settings, out: Path | None) -> Claim:
    """Test the output variance response, and the same theory without the term phi phi''."""
    theory = derive(settings)
    found = validate(settings, theory=theory)
    if out is not None:
        write(found, out / name)
    wrong = replace(theory, response=response(settings.network(), kind="tangent"))
    runs = sample_responses(replace(settings, widths=settings.widths[:2]), say=lambda line: None)
    control = combine(
        {
            f"rho = {scale:g}": judge_responses(settings, wrong, scale, run)
            for scale, run in runs.items()
        }
    )
    statement = f"the output responds to its input as derived, {settings.network()}"
    return Claim(name, statement, found.agreement, control, "the term phi phi'' is dropped")


def covariance_claim(settings: Settings) -> Claim:
    """Test the covariance response of two inputs over the layers."""
    right, wrong = {}, {}
    for scale in settings.scales:
        net = ResNet(
            Branch(Activation("erf_unit"), Linear(1, 0)), scale=scale, depth=min(settings.depths)
        )
        runs = [
            sample(
                net,
                ["kernel", "covariance_response"],
                width,
                settings.draws_at(width),
                K0=PAIR_KERNEL,
                seed=settings.seed_at(width, scale, part=4),
            )
            for width in settings.widths
        ]
        names = {"chi_0": "covariance_response"}
        theory = evaluate(response(net, kind="covariance"), K0=PAIR_KERNEL)
        coinciding = evaluate(response(net, kind="tangent"), K0=PAIR_KERNEL[0, 0])
        label = f"rho = {scale:g}"
        right[label] = compare(theory, runs, names=names, resolve=settings.resolve)
        wrong[label] = compare(coinciding, runs, names=names, resolve=settings.resolve)
    return Claim(
        "covariance",
        "the covariance of two inputs travels through the layers as derived",
        combine(right),
        combine(wrong),
        "the two inputs are taken to coincide",
    )


def claims_of(chosen: argparse.Namespace, settings: Settings) -> tuple[list[Claim], dict[str, Any]]:
    """Return the claims; figures go to ``chosen.out``."""
    biased = replace(settings, bias_variance=0.05, seed=2)
    claims = [
        variance_claim("variance", settings, chosen.out),
        variance_claim("bias", biased, chosen.out),
        covariance_claim(settings),
    ]
    return claims, {}


main = partial(run_script, __doc__, SETTINGS, claims_of)

if __name__ == "__main__":
    sys.exit(main())
