r"""What the order 1/N needs of every draw, layer by layer: a `Recursion` beside the kernel.

With ``C_a(K_a)`` the mean-field covariance of a draw as a function of the covariance of what it
reads, Price's theorem gives

    T_a = dC_a/dK_a,    H_a = d^2 C_a/dK_a^2,

the response of a draw and the curvature that makes the tadpole. Both are derivatives of the
definitions of the kernel recursion; nothing is typed in per activation. For two inputs ``K_a``
and ``C_a`` have the entries 11, 12, 22, and ``T`` and ``H`` one more index for each.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations_with_replacement

import sympy as sp

from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.one_loop.process import LinearLayer, Process
from resexpand.theory.recursion import Output, Recursion

Entries = tuple[sp.Expr, ...]


def reads_name(position: int, entry: int) -> str:
    """Name of the covariance entry that a draw reads."""
    return f"reads_{position}_{entry}"


def response_name(position: int, row: int, column: int) -> str:
    """Name of ``dC_row/dK_column`` of a draw."""
    return f"response_{position}_{row}_{column}"


def curvature_name(position: int, row: int, first: int, second: int) -> str:
    """Name of ``d^2 C_row/dK_first dK_second`` of a draw, ``first <= second``."""
    return f"curvature_{position}_{row}_{first}_{second}"


def weight_name(position: int) -> str:
    """Name of the weight variance of a draw."""
    return f"weight_{position}"


def bias_name(position: int) -> str:
    """Name of the bias variance of a draw."""
    return f"bias_{position}"


PRECISION = "precision"
"""Begin of the names of outputs that hold derivatives in units of what they change: their errors
are relative to that, where the derivatives themselves may vanish."""

SCALE = "scale"
"""Name of the square of the residual scale of a block."""


def layers(base: Recursion, process: Process) -> Recursion:
    """Return the kernel recursion with everything the order 1/N needs as outputs.

    Parameters
    ----------
    base : Recursion
        The kernel recursion of one or two inputs.
    process : Process
        Of the same network.
    """
    size = len(base.output("K").entries)
    outputs = [base.output("K"), base.output("C")]
    argument: Entries = base.state[:size]
    for draw in process.draws:
        start = (draw.position - 1) * size
        definitions = base.definitions[start : start + size]
        covariance = tuple(value for _, value in definitions)
        final = _closing(base, process, draw)
        outputs += _of_draw(draw, argument, covariance, final, base)
        argument = tuple(symbol for symbol, _ in definitions)
    rho = _names(base).scale()
    outputs.append(Output(SCALE, "layer", (rho**2,), at_end=(sp.Integer(0),)))
    return replace(base, title="response and curvature of every draw", outputs=tuple(outputs))


Closing = tuple[Entries, tuple[sp.Expr, sp.Expr]]
"""Covariance of a draw, its weight and its bias variance."""


def _closing(base: Recursion, process: Process, draw: LinearLayer) -> Closing | None:
    """Return those of the read-out where it stands in for the first draw."""
    if process.read_out is None or draw.position > 1:
        return None
    return base.output("C").at_end, _names(base).variances(process.read_out.linear, "_out")


def _names(base: Recursion) -> Hyperparameters:
    """Return the allocator of symbols as the recursion left it: asked again, it finds them."""
    return Hyperparameters(base.net, dict(base.bindings))


def _of_draw(
    draw: LinearLayer,
    argument: Entries,
    covariance: Entries,
    final: Closing | None,
    base: Recursion,
) -> list[Output]:
    suffix = f"_{draw.position}" if len(base.net.branch.linears) > 1 else ""
    own = _names(base).variances(draw.linear, suffix)
    at_end, last = final or (covariance, own)
    names = (weight_name(draw.position), bias_name(draw.position))
    outputs = [
        Output(name, "layer", (value,), at_end=(end,))
        for name, value, end in zip(names, own, last, strict=True)
    ]
    outputs += [
        Output(reads_name(draw.position, i), "layer", (entry,), at_end=(entry,))
        for i, entry in enumerate(argument)
    ]
    indices = range(len(argument))
    for row in indices:
        for column in indices:
            name = response_name(draw.position, row, column)
            by = (argument[column],)
            outputs += _derivative(name, covariance[row], at_end[row], by)
        for pair in combinations_with_replacement(indices, 2):
            name = curvature_name(draw.position, row, *pair)
            by = tuple(argument[k] for k in pair)
            outputs += _derivative(name, covariance[row], at_end[row], by)
    if len(argument) == 1 and draw.label is not None:
        outputs.append(_precision(draw, argument[0], covariance[0]))
    return outputs


def _precision(draw: LinearLayer, argument: sp.Expr, covariance: sp.Expr) -> Output:
    """Return ``C, K T, K^2 H``, parts of one whole."""
    parts = tuple(argument**n * sp.diff(covariance, argument, n) for n in range(3))
    return Output(f"{PRECISION}_{draw.position}", "layer", parts, at_end=parts, vector=True)


def _derivative(name: str, value: sp.Expr, at_end: sp.Expr, by: Entries) -> list[Output]:
    """Return the output of a derivative, none if it vanishes identically."""
    entry, last = sp.diff(value, *by), sp.diff(at_end, *by)
    return [] if entry == 0 and last == 0 else [Output(name, "layer", (entry,), at_end=(last,))]
