"""The arguments of ``runs`` and its actions, and those that all runs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

OBSERVABLES = (
    "kernel, layer_covariance, output, output_squared, output_variance, chi, response, "
    "covariance_response, tangent, distance, distance_squared, residual_ratio, residual_share, "
    "log_kernel, log_growth, log_tangent, gradient, gradient_overlap, log_gradient, "
    "directional_derivative, ntk, "
    "ntk_layers, ntk_moments, gradient_moments(L), order_profile(K), order_remainder(K), "
    "path_profile(K), path_remainder(K)"
)
"""Names of the observables, for the help: looking them up would load the samplers."""


def carrying_out(group: Any) -> None:
    """Add what every command that draws networks into a store understands."""
    group.add_argument(
        "--until",
        metavar="EPS",
        help="stop where every standard error is below this share of its mean, such as 0.1%%; "
        "--draws is the most then (runs resume: as before, unless given)",
    )
    group.add_argument(
        "--wait", action="store_true", help="wait for another process that uses the store"
    )
    group.add_argument(
        "--progress", action="store_true", help="report progress also where there is no terminal"
    )


def add_runs(commands: Any, command: Callable[..., Any]) -> None:
    """Add the command; `command` makes the parser of one action."""
    parser = commands.add_parser(
        "runs",
        help="stores of runs: what they hold, going on, merging, exporting.",
        description="Stores of runs: what they hold, going on with them, merging, exporting.",
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action")
    actions.required = True

    def add(name: str, description: str) -> Any:
        return command(actions, name, "runs_command", description, network=False)

    stores = add("list", "One line per store, in files or folders.")
    stores.add_argument("stores", nargs="*", metavar="PATH", help="files or folders (default: .)")
    shown = add("show", "What a store holds: plan, networks drawn and asked for, health.")
    shown.add_argument("store", metavar="STORE")
    resumed = add("resume", "Complete a run from the plan in its store.")
    resumed.add_argument("store", metavar="STORE")
    resumed.add_argument("--draws", metavar="R", help="number of networks, if more than before")
    resumed.add_argument("--workers", metavar="W", help="threads (default: all cores)")
    carrying_out(resumed)
    merged = add("merge", "Put the stores of several parts of a run into one.")
    merged.add_argument("stores", nargs="+", metavar="STORE")
    merged.add_argument("--out", metavar="STORE", required=True, help="new, or of the same run")
    exported = add("export", "Write the results of a store to a file.")
    exported.add_argument("store", metavar="STORE")
    exported.add_argument(
        "--out", metavar="FILE", required=True, help="ends in .csv, .npz or (with xarray) .nc"
    )
