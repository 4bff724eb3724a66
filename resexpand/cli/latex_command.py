"""``latex``: the formulas of a derivation as LaTeX."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from resexpand.cli.description import request
from resexpand.cli.show import record, say, warn
from resexpand.errors import HyperparameterError
from resexpand.export.files import write_atomically
from resexpand.export.latex.to_latex import to_latex
from resexpand.network.resnet import ResNet
from resexpand.theory.finite_response import finite_response
from resexpand.theory.kernel import kernel
from resexpand.theory.one_loop import one_loop
from resexpand.theory.optimal_scale import optimal_scale
from resexpand.theory.response import response

WHOLE = ("one-loop", "finite-response")
"""Results whose document begins with the network anyway."""


def run(arguments: argparse.Namespace) -> int:
    """Print or write the formulas."""
    wanted = request(arguments, symbolic=True)
    if wanted.axes or len(wanted.depths) > 1:
        raise HyperparameterError(
            "the formulas of several values", "a formula has one", "leave the option out: a symbol"
        )
    net = wanted.net(wanted.depths[0]) if wanted.depths else wanted.net()
    result = _derived(arguments, net)
    style = arguments.style
    parts = [net, result] if style == "document" and arguments.of not in WHOLE else result
    text = to_latex(
        parts,
        style=style,
        closed=arguments.closed,
        cite="keys" if arguments.cite_keys else "comment",
        width=arguments.width,
        labels=arguments.labels,
    )
    if arguments.out is not None:
        path = write_atomically(Path(arguments.out), text.encode(), "the formulas")
        (warn if arguments.json else say)(f"written to {path}")
    if arguments.json:
        record(command="latex", settings=wanted.settings(), of=arguments.of, latex=text)
    elif arguments.out is None:
        say(text)
    return 0


def _derived(arguments: argparse.Namespace, net: ResNet) -> Any:
    if arguments.of == "optimal-scale":
        return optimal_scale(net, kind=arguments.kind)
    if arguments.of == "one-loop":
        return one_loop(net)
    if arguments.of == "finite-response":
        return finite_response(net, kind=arguments.kind)
    if arguments.of == "response":
        return response(net, kind=arguments.kind)
    return kernel(net, inputs=2 if arguments.of == "pair-kernel" else 1)
