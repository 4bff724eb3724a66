"""``kernel``, ``response`` and ``optimal-scale``: derive, evaluate, show formula and numbers."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from resexpand.cli.description import Request, request
from resexpand.cli.layout import Array, Column, grid_table, layer_table, pairs
from resexpand.cli.show import say, table, theory_record, warn
from resexpand.cli.values import given, integer
from resexpand.codegen.routine import compile_routine
from resexpand.codegen.values import Values
from resexpand.errors import HyperparameterError
from resexpand.numbers.evaluation import evaluate
from resexpand.theory.closure import close_elementary
from resexpand.theory.kernel import kernel
from resexpand.theory.layer_kernel import LayerKernel
from resexpand.theory.optimal_scale import OptimalScale, optimal_scale
from resexpand.theory.recursion import Recursion
from resexpand.theory.response import response

Answer = dict[str, Any]

_OVER_LAYERS: tuple[str, ...] = ("K", "C", "chi_0", "chi_0_mean", "chi_0_deviation")
_OVER_LAYERS += ("tangent_mean", "tangent_deviation", "eta_layers_mean", "eta_layers_deviation")
_AT_THE_END = ("eta", "eta_mean", "eta_deviation", "K_star", "c", "rho", "rho_shift", "rho_width")
SHOWN = (*_OVER_LAYERS, *_AT_THE_END)
# C^l belongs to block l, which acts on layer l - 1: it stands in the row of that layer.
_HEADINGS = {"C": "C(l+1)"}


def run(arguments: argparse.Namespace) -> int:
    """Run one of the three commands."""
    if arguments.command == "optimal-scale":
        _optimal_scale_command(arguments)
    else:
        _recursion_command(arguments)
    return 0


def _recursion_command(arguments: argparse.Namespace) -> None:
    wanted = request(arguments)
    recursion = derive(arguments, wanted)
    names = shown_outputs(recursion)
    width = _width(arguments)
    own = isinstance(recursion, LayerKernel) or wanted.together == "batch"
    if width or wanted.options["positions"] or own:
        shown = {} if not own else {"outputs": names if wanted.together != "batch" else ["K", "C"]}
        how = {"target": arguments.target, **shown, **wanted.keywords(), **width}
        whole = [evaluate(recursion, depth=depth, **how) for depth in wanted.depths]
    else:
        routine = compile_routine(recursion, arguments.target, names)
        whole = [routine(depth=depth, **wanted.keywords()) for depth in wanted.depths]
    answers = [answer_of(d, values, SHOWN) for d, values in zip(wanted.depths, whole, strict=True)]
    equations = formulas(recursion)
    if arguments.json:
        kind = {"kind": arguments.kind} if hasattr(arguments, "kind") else {}
        settings = {**wanted.settings(), **kind}
        theory_record(arguments.command, recursion, settings, equations, answers)
        return
    head(recursion.title, equations, "O(1/N^2)" if width else recursion.neglects)
    _show_all(answers, wanted)


def shown_outputs(recursion: Recursion | LayerKernel) -> list[str] | None:
    """Return the outputs that are shown."""
    if isinstance(recursion, LayerKernel):
        return ["K", "C"] if recursion.follows == "kernel" else None
    # The whole propagator has (L+1)^2 numbers per point; its column chi_0 is what is shown.
    return [output.name for output in recursion.outputs if output.kind != "propagator"]


def _width(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the width as a keyword, if one is given."""
    width = given(arguments, "width", integer)
    return {} if width is None else {"width": width}


def derive(arguments: argparse.Namespace, wanted: Request) -> Recursion:
    """Return the recursion that the command asks for, its depth a symbol."""
    if arguments.command == "kernel":
        recursion: Recursion = kernel(wanted.net(), inputs=wanted.columns)
        return recursion
    return response(wanted.net(), kind=arguments.kind)


def _optimal_scale_command(arguments: argparse.Namespace) -> None:
    if arguments.rho is not None:
        raise HyperparameterError(
            f"--rho {arguments.rho} with optimal-scale",
            "the residual scale is what the command finds",
            "leave it out; 'resexpand response --rho ...' evaluates a given scale",
        )
    wanted = request(arguments)
    if wanted.pairs:
        raise HyperparameterError(
            "the optimal scale at a kernel of several inputs",
            "it depends on the variance of one input alone",
            "give --K0 one number, or a list of variances for one optimum each",
        )
    how = {"target": arguments.target, **wanted.keywords(), **_width(arguments)}
    optima = {
        depth: optimal_scale(wanted.net(depth), kind=arguments.kind) for depth in wanted.depths
    }
    answers = [
        answer_of(depth, evaluate(optimum, **how), SHOWN) for depth, optimum in optima.items()
    ]
    first = optima[wanted.depths[0]]
    equations = _optimum_formulas(first)
    if arguments.json:
        settings = {**wanted.settings(), "kind": arguments.kind}
        theory_record("optimal-scale", first, settings, equations, answers)
        return
    head(f"optimal residual scale of the {arguments.kind} response", equations, "")
    _show_all(answers, wanted)


def answer_of(depth: int, values: Values, names: Iterable[str] | None = None) -> Answer:
    """Keep what is shown; a problem is part of the answer and is said on the error stream."""
    if values.problems:
        warn(f"depth {depth}: {values.status}")
    kept = values if names is None else [name for name in names if name in values]
    return {
        "depth": depth,
        **{name: np.asarray(values[name]) for name in kept},
        "target": values.target,
        "status": values.status,
        "quadrature_error": values.quadrature_error,
    }


def formulas(recursion: Recursion | LayerKernel) -> dict[str, str]:
    """Return the equations of a theory as text, left side to right side, in reading order.

    Averages with a closed form are closed; ``<...>_[K]`` is a Gaussian average with covariance K.
    """
    equations = {f"{label}(x)": _law(law) for label, law in recursion.laws}
    for symbol, expression in recursion.definitions:
        equations[str(symbol)] = str(close_elementary(expression, recursion.laws))
    if isinstance(recursion, LayerKernel):
        equations["K_lm"] = f"K0 + sum over a <= l, b <= m of rho_a rho_b {recursion.branch} (a, b)"
        equations["c_lm"] = repr(recursion.law)
    else:
        for symbol, update in zip(recursion.state, recursion.update, strict=True):
            equations[f"next {symbol}"] = str(close_elementary(update, recursion.laws))
    bound = ((symbol, value) for symbol, value in recursion.bindings if symbol != value)
    return equations | {str(symbol): str(value) for symbol, value in bound}


def _law(law: Any) -> str:
    (variable,) = law.expression.free_symbols
    return str(law.expression).replace(str(variable), "x")


def _optimum_formulas(optimum: OptimalScale) -> dict[str, str]:
    equations = {"rho*": "c/sqrt(L) (1 + O(1/L))"}
    for formula in (optimum.constant, optimum.closed_constant, optimum.kernel_star):
        if formula is not None:
            equations[str(formula.lhs)] = str(formula.closed())
    equations["0"] = str(close_elementary(optimum.condition.lhs, optimum.condition.laws))
    if optimum.reason:
        equations["no optimum"] = optimum.reason
    return equations


def head(title: str, equations: Mapping[str, str], neglects: str) -> None:
    """Print what an answer is, and its equations with their signs of equality aligned."""
    say(title + (f", up to {neglects}" if neglects else ""))
    width = max(map(len, equations))
    for left, right in equations.items():
        say(f"  {left:<{width}} = {right}")


def _show_all(answers: Sequence[Answer], wanted: Request) -> None:
    """Print the answers, and where they were computed unless that is the plain processor."""
    for answer in answers:
        say()
        _show(answer, wanted)
    elsewhere = dict.fromkeys(answer["target"] for answer in answers if answer["target"] != "cpu")
    for target in elsewhere:
        say(f"\ncomputed on: {target}")


def _show(answer: Answer, wanted: Request) -> None:
    """Print one row per layer, or per point of the grid with the values at the last layer."""
    axes = len(wanted.grid)
    over_layers = [name for name in _OVER_LAYERS if name in answer]
    at_the_end: list[Column] = [(name, answer[name]) for name in _AT_THE_END if name in answer]
    say(f"depth {answer['depth']}")
    if wanted.axes:
        ends = [
            column
            for name in over_layers
            if name != "C"
            for column in pairs(f"{name}(L)", _last_layer(answer[name], axes), axes)
        ]
        table(*grid_table(wanted.axes, [*ends, *at_the_end]))
        return
    columns = [c for n in over_layers for c in pairs(_HEADINGS.get(n, n), answer[n], 1)]
    if columns:
        table(*layer_table(columns))
    for name, value in at_the_end:
        say(f"{name} = {float(value):.6g}")


def _last_layer(values: Array, axes: int) -> Array:
    """Return the values at layer L; the layer axis follows the axes of the grid."""
    return np.asarray(np.take(values, -1, axis=axes))
