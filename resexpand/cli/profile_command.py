"""``order-profile``: how much each order of the residual expansion contributes, over depths.

Here ``--rho`` may depend on the depth ``L``: ``--rho "1/L,1/sqrt(L)"`` follows two scalings.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

from resexpand.cli.description import Request, caption, request
from resexpand.cli.show import draw, say, table, theory_record, warn
from resexpand.cli.theory_commands import formulas, head
from resexpand.cli.values import integer, numbers
from resexpand.conventions import DEPTH
from resexpand.errors import HyperparameterError
from resexpand.numbers.evaluation import evaluate
from resexpand.theory.notation import in_notation
from resexpand.theory.order_profile import order_profile
from resexpand.theory.recursion import Recursion

Answer = dict[str, Any]

_BASES = {
    "taylor": "orders in the residual scale",
    "chaos": "degrees in the weights",
    "paths": "path lengths",
}


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    order = integer(arguments.order, "--order")
    scalings = numbers(arguments.rho or "1/sqrt(L)", "--rho", (DEPTH,))
    arguments.rho = None
    wanted = request(arguments)
    _require_one_input(wanted)
    places = [(scaling, depth) for scaling in scalings for depth in wanted.depths]
    recursions = [_derive(arguments, wanted, order, *place) for place in places]
    answers = [
        _answer(recursion, wanted, *place)
        for recursion, place in zip(recursions, places, strict=True)
    ]
    recursion = recursions[0]
    if arguments.out is not None:
        _draw(arguments, scalings, answers)
    if arguments.json:
        settings = {**wanted.settings(), "order": order, "basis": arguments.basis}
        del settings["rho"]  # every result has its own
        results = [{**answer, "rho": str(answer["rho"])} for answer in answers]
        theory_record("order-profile", recursion, settings, formulas(recursion), results)
        return 0
    head(recursion.title, formulas(recursion), recursion.neglects)
    for answer in answers:
        _show(answer)
    return 0


def _inline(scaling: sp.Expr) -> str:
    """Write a scaling with a slash: it stands in a title."""
    numerator, denominator = sp.fraction(scaling)
    if denominator == 1:
        return in_notation(scaling)
    return f"{in_notation(numerator)} / {in_notation(denominator)}"


def _require_one_input(wanted: Request) -> None:
    if wanted.axes or wanted.pairs or wanted.inputs is not None:
        raise HyperparameterError(
            "an order profile over several variances, kernels or inputs",
            "the table has one row per order and one part per scale and depth",
            "give --K0 and the variances one number each; --rho and --depth may be lists",
        )


def _derive(
    arguments: argparse.Namespace, wanted: Request, order: int, scaling: sp.Expr, depth: int
) -> Recursion:
    at = replace(wanted, options={**wanted.options, "rho": scaling.subs(DEPTH, depth)})
    return order_profile(at.net(depth), order, arguments.basis, remainder=arguments.remainder)


def _answer(recursion: Recursion, wanted: Request, scaling: sp.Expr, depth: int) -> Answer:
    values = evaluate(recursion, **wanted.keywords())
    if values.problems:
        warn(f"rho = {scaling}, depth {depth}: {values.status}")
    last = {name: np.asarray(values[name])[-1] for name in values}
    return {"rho": scaling, "depth": depth, **last, "status": values.status}


def _total(answer: Answer) -> float:
    """Return what shares are in units of: of a network without any signal they are zero."""
    return float(answer["K"]) or 1.0


def _show(answer: Answer) -> None:
    say(f"\nrho = {answer['rho']}, depth {answer['depth']}, K(L) = {float(answer['K']):.6g}")
    profile, total = answer["profile"], _total(answer)
    orders = np.arange(len(profile))
    headers = ["order", "E|T_k|^2/N", "share", "overlap with k-2"]
    has_rest = "remainder" in answer

    def row(k: int) -> list[object]:
        overlap = float(profile[k, k - 2]) if k >= 2 else 0.0
        cells: list[object] = [k, float(profile[k, k]), float(profile[k, k]) / total, overlap]
        return [*cells, float(answer["remainder"][k]) / total] if has_rest else cells

    table([*headers, *(["left out, share"] if has_rest else [])], len(orders), row)


def _draw(
    arguments: argparse.Namespace, scalings: Sequence[sp.Expr], answers: list[Answer]
) -> None:
    from resexpand.export.figures.profile import Shares, profile_figure

    panels = []
    for scaling in scalings:
        own = sorted((a for a in answers if a["rho"] == scaling), key=lambda a: int(a["depth"]))
        total = np.array([_total(a) for a in own])
        shares = np.array([np.diagonal(a["profile"]) for a in own]) / total[:, None]
        rest = (
            np.array([a["remainder"][-1] for a in own]) / total if "remainder" in own[0] else None
        )
        depths = np.array([float(a["depth"]) for a in own])
        panels.append(Shares(rf"$\rho = {_inline(scaling)}$", depths, shares, rest))
    title = f"{_BASES[arguments.basis]}: {caption(arguments, scale=False)}"
    draw(profile_figure(panels, subtitle=title), arguments.out)
