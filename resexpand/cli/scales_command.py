"""``scales``: candidates for the residual scale over depths, and what each leads to."""

from __future__ import annotations

import argparse

import numpy as np

from resexpand.cli.description import request
from resexpand.cli.show import draw, record, say
from resexpand.cli.values import given, integer, real, split
from resexpand.errors import HyperparameterError
from resexpand.numbers.scales import compare_scales


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    wanted = request(arguments)
    if wanted.axes or wanted.inputs is not None or wanted.together:
        raise HyperparameterError(
            "scales over several values of a hyperparameter, or of data",
            "the table has one row per candidate and one part per depth",
            "give --rho, --K0 and the variances one number each; --depth may be a list",
        )
    comparison = compare_scales(
        wanted.net(wanted.depths[0]),
        wanted.depths,
        candidates=_names(arguments.candidates),
        kind=arguments.kind,
        order=integer(arguments.order, "--order"),
        share=real(arguments.share, "--share"),
        base_depth=given(arguments, "base_depth", integer),
        K0=np.asarray(wanted.kernel),
    )
    if arguments.out is not None:
        draw(comparison.plot(), arguments.out)
    if arguments.json:
        chosen = {"order": comparison.order, "kind": comparison.response_kind}
        record(
            command="scales",
            settings={**wanted.settings(), **chosen},
            citations=list(map(str, comparison.citations)),
            results=comparison.to_dict(),
        )
        return 0
    say(str(comparison))
    return 0


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in split(text, ","))
