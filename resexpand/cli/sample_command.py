"""``sample``: draw networks and show means with standard errors."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np

from resexpand.cli.description import Request, request
from resexpand.cli.layout import layer_table, pairs
from resexpand.cli.show import record, say, table, warn
from resexpand.cli.values import given, integer
from resexpand.errors import HyperparameterError
from resexpand.montecarlo.observables.profiles import FAMILIES
from resexpand.montecarlo.sample import sample
from resexpand.montecarlo.statistics.estimate import Estimates


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    wanted = request(arguments)
    check_one_point(wanted)
    observables = [name.strip() for name in arguments.observables.split(",") if name.strip()]
    estimates = sample(
        wanted.net(wanted.depths[0]),
        observables,
        method=arguments.method,
        target=arguments.target,
        weights=arguments.weights,
        control=arguments.control,
        until=arguments.until,
        shard=_shard(arguments.shard),
        wait=arguments.wait,
        progress=True if arguments.progress else None,
        **sampling(arguments, width="100", draws="1000"),
        **wanted.keywords(),
    )
    return report("sample", estimates, wanted.settings(), as_json=arguments.json)


def report(
    command: str, estimates: Estimates, settings: Mapping[str, object], *, as_json: bool
) -> int:
    """Print estimates and return the exit code."""
    for name, estimate in estimates.items():
        if estimate.status != "ok":
            warn(f"{name}: {estimate.status}")
    if as_json:
        described = {**settings, "sampling": dict(estimates.settings)}
        record(command=command, settings=described, results=dict(estimates))
        return 0
    for name, estimate in estimates.items():
        _show(name, estimate)
    if "target" in estimates.settings:
        target, reason = estimates.settings["target"], estimates.settings["target_reason"]
        say(f"drawn on: {reason if reason.startswith(target) else target}")
    return 0


def check_one_point(wanted: Request) -> None:
    """Refuse a grid."""
    swept = [*wanted.axes, *(["depth"] if len(wanted.depths) > 1 else [])]
    if swept:
        raise HyperparameterError(
            f"sampling over several values of {' and '.join(swept)}",
            "one run draws the networks of one point",
            "give each option one value",
        )


def sampling(arguments: argparse.Namespace, *, width: str, draws: str) -> dict[str, Any]:
    """Return the keywords of `sample` that the options set, or the given defaults."""
    return {
        "width": integer(arguments.width or width, "--width"),
        "draws": integer(arguments.draws or draws, "--draws", minimum=2),
        "seed": integer(arguments.seed, "--seed", minimum=0),
        "store": arguments.store,
        "workers": given(arguments, "workers", integer),
    }


def _shard(text: str | None) -> tuple[int, int] | None:
    """Return the two numbers of ``i/n``."""
    if text is None:
        return None
    parts = text.split("/")
    if len(parts) != 2:
        raise HyperparameterError(
            f"--shard {text[:60]!a}", "it is not of the form i/n", "write 0/4 ... 3/4 for 4 jobs"
        )
    return integer(parts[0], "--shard i/n: i", minimum=0), integer(parts[1], "--shard i/n: n")


def _show(name: str, estimate: Any) -> None:
    say(
        f"{name}: {estimate.n} networks of width {estimate.width}, depth {estimate.depth}, "
        f"{estimate.method}, seed {estimate.seed}"
    )
    if estimate.uncontrolled is not None:
        gain = float(np.nanmedian(estimate.gain))
        say(f"  controlled: variance {gain:.3g} times smaller than that of plain draws (median)")
    # Outputs have no layer axis: one number, or one per input.
    over_layers = len(np.shape(estimate.mean)) > 0 and len(estimate.mean) == estimate.depth + 1
    axes = 1 if over_layers else 0
    first = 0 if name in FAMILIES else 1
    means = pairs("mean", estimate.mean, axes, first)
    errors = pairs("stderr", estimate.stderr, axes, first)
    columns = [column for both in zip(means, errors, strict=True) for column in both]
    if over_layers:
        table(*layer_table(columns))
        return
    for heading, value in columns:
        say(f"  {heading} = {float(value):.6g}")
