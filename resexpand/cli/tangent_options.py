"""The arguments of ``tangent-kernel`` and ``predict``."""

from __future__ import annotations

import argparse
from typing import Any


def add_tangent_kernel(commands: Any, command: Any, target: Any) -> None:
    """Add ``tangent-kernel``; `command` and `target` are those of the parser."""
    parser = command(
        commands,
        "tangent-kernel",
        "tangent_command",
        "Neural tangent kernel at infinite width, with the shares of the layers.",
    )
    _trained(parser)
    target(parser)


def add_predict(commands: Any, command: Any) -> None:
    """Add ``predict``."""
    parser = command(
        commands,
        "predict",
        "tangent_command",
        "Mean and deviation of infinitely wide networks that are trained on data.",
    )
    parser.description = (
        f"{parser.description} The training inputs are those of --inputs. With lists or ranges of "
        "hyperparameters and --kind nngp: the log marginal likelihood at each of them."
    )
    parser.add_argument(
        "--targets", metavar="FILE", required=True, help=".npy or .csv, a number or row per input"
    )
    parser.add_argument(
        "--test", metavar="FILE", help="test inputs, .npy or .csv (default: the training inputs)"
    )
    parser.add_argument(
        "--kind",
        choices=("ntk", "nngp"),
        default="ntk",
        help="all of --trained is trained by gradient flow, or the read-out alone; at infinite "
        "time the second is the Bayesian posterior (default: ntk)",
    )
    parser.add_argument(
        "--time", metavar="T", help="time of training, or a list (default: until it has settled)"
    )
    parser.add_argument(
        "--ridge", metavar="R", default="0", help="added to the diagonal of the training kernel"
    )
    _trained(parser)


def _trained(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trained",
        metavar="LIST",
        default="read-in,weights,biases,read-out",
        help="parameters that are trained (default: %(default)s)",
    )
    parser.add_argument(
        "--parametrisation",
        choices=("ntk", "standard"),
        default="ntk",
        help="weights as multiples of parameters of unit variance, or the parameters themselves, "
        "which needs --width (default: ntk)",
    )
    parser.add_argument("--width", metavar="N", help="neurons per layer")
