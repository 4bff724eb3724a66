"""``validate``: the whole instrument in one run, with a folder of results."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from resexpand.cli.description import (
    TOGETHER,
    activation,
    branch,
    inputs_of,
    positions,
    post_norm,
    refuse_variances,
)
from resexpand.cli.show import record as print_record
from resexpand.cli.show import say, warn
from resexpand.cli.values import given, integer, integers, matrix, number, numbers, real
from resexpand.conventions import DEPTH
from resexpand.errors import HyperparameterError
from resexpand.workflows.results import check_writable, record, write
from resexpand.workflows.settings import Settings
from resexpand.workflows.validate import Validation, validate


def run(arguments: argparse.Namespace) -> int:
    """Run the validation and return the exit code of its verdict."""
    out = Path(arguments.out)
    settings = settings_of(arguments)
    check_writable(out)
    started = time.monotonic()
    narrate = warn if arguments.json else say
    validation = write(validate(settings, say=narrate), out)
    if arguments.json:
        print_record(command="validate", **record(validation))
        return validation.exit_code
    _show(validation)
    say(f"\nwritten to {out} in {time.monotonic() - started:.0f} s:")
    for path in validation.files:
        say(f"  {path.name}")
    return validation.exit_code


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Read the settings of a validation from the options."""
    _refuse_layers(arguments)
    chosen: dict[str, Any] = {"activation": activation(arguments.activation)}
    if arguments.branch is not None:
        refuse_variances(arguments)
        chosen["branch"] = branch(arguments.branch)
    chosen |= {"positions": positions(arguments), "post_norm": post_norm(arguments)}
    chosen |= _signal(arguments)
    readers: dict[str, Callable[..., Any]] = {
        **dict.fromkeys(("weight_variance", "bias_variance", "read_out_variance"), number),
        **dict.fromkeys(("draws", "dense_width", "dense_draws", "workers"), integer),
        "resolve": real,
    }
    chosen |= {name: given(arguments, name, read) for name, read in readers.items()}
    chosen["seed"] = given(arguments, "seed", integer, minimum=0)
    chosen["depths"] = depths = given(arguments, "depth", integers)
    chosen["widths"] = given(arguments, "width", integers)
    if (scales := given(arguments, "rho", numbers, symbols=(DEPTH,))) is not None:
        # A scale that follows the depth is sampled at its values for all depths.
        at = depths or Settings.depths
        chosen["scales"] = tuple(sorted({float(s.subs(DEPTH, d)) for s in scales for d in at}))
    chosen["store"] = None if arguments.store is None else Path(arguments.store)
    chosen = {name: value for name, value in chosen.items() if value is not None}
    return Settings(**chosen)


def _refuse_layers(arguments: argparse.Namespace) -> None:
    if arguments.layers is not None:
        raise HyperparameterError(
            f"validating --layers {arguments.layers}",
            "weights are drawn independently here",
            "compare 'resexpand response --layers' with 'resexpand sample --layers'",
        )


def _signal(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the data or the kernel at layer 0, as settings."""
    chosen: dict[str, Any] = {}
    together = arguments.inputs if arguments.inputs in TOGETHER else ""
    read_in, inputs = (None, None) if together else inputs_of(arguments)
    if read_in is not None:
        chosen |= {"inputs": inputs, "read_in_variance": read_in.weight_variance}
    if arguments.K0 is not None:
        chosen["K0"] = _kernel(arguments.K0)
    if together == "masks":
        # Two draws of the masks on one input are two equal inputs.
        chosen["K0"] = np.full((2, 2), _one(chosen.get("K0", Settings.K0)))
    return chosen


def _kernel(text: str) -> Any:
    """Return a positive number, or the matrix of several columns."""
    if ";" in text:
        return matrix(text, "--K0")
    value = number(text, "--K0")
    if not value.is_positive:
        raise HyperparameterError(f"--K0 {text}", "a signal has positive variance", "give > 0")
    return float(value)


def _one(K0: Any) -> float:
    if np.ndim(K0):
        raise HyperparameterError(
            "--inputs masks with a matrix", "it is one input", "give --K0 0.7"
        )
    return float(K0)


def _show(validation: Validation) -> None:
    """Print theory | Monte Carlo | z at the depths of the settings, the optima, the verdict."""
    say("\n  rho  depth      theory   Monte Carlo ± error        z")
    for scale, agreement in validation.responses.items():
        for depth in validation.settings.depths:
            row = agreement.rows[depth]
            say(
                f"{scale:5g} {depth:6d} {row.theory:11.6f}   "
                f"{row.estimate:9.6f} ± {row.stderr:8.6f} {row.z:+8.2f}"
            )
    say("\ndense against function space, largest |z| of all layers")
    for scale, agreement in validation.samplers.items():
        row = agreement.worst
        say(f"{scale:5g} {row.label:>8} {row.theory:11.6f}   {row.estimate:9.6f} {row.z:+17.2f}")
    if validation.kernels is not None:
        say(f"\nkernel of the data: {validation.kernels.reason}")
    say("\noptimal residual scale")
    for depth, best in zip(validation.settings.depths, validation.theory.best, strict=True):
        if np.isfinite(best["rho"]):
            near = float(best["c"]) / depth**0.5
            say(f"L = {depth:<5d} rho* = {best['rho']:.5f}   c/sqrt(L) = {near:.5f}")
        else:
            say(f"L = {depth:<5d} {best.status}")
    say(f"\nverdict    {validation.agreement.verdict}: {validation.agreement.reason}")
