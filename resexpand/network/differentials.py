r"""Derivatives of a map, derived from its expression: tangents (jvp) and gradients (vjp).

With the averages ``s_k = (1/N) sum_i f_k(x_i; s_1 ... s_{k-1})`` and ``y_i = psi(x_i; s)``,

    ds_k = (1/N) sum_i [ f_k' v_i + sum_{m<k} (df_k/ds_m) ds_m ],
    dy_i = psi' v_i + sum_k (dpsi/ds_k) ds_k,

and, transposed, for gradients ``g_i = dE/dy_i``,

    b_k = (1/N) sum_i [ g_i dpsi/ds_k + sum_{m>k} (df_m/ds_k) b_m ],
    dE/dx_i = g_i psi' + sum_k b_k f_k'.

Both are again averages over the neurons and an expression at each: an `AveragedMap`.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from resexpand.network.operation import Map, X

OTHER = sp.Symbol("v", real=True)
"""The neuron's entry of a tangent, or of a gradient."""


@dataclass(frozen=True)
class AveragedMap:
    """Averages over the neurons, in order, and the expression that every neuron computes.

    Attributes
    ----------
    averages : tuple of (sympy.Symbol, sympy.Expr)
        Each of `X`, `OTHER`, parameters, and averages before it.
    value : sympy.Expr
        Expression of one neuron.
    """

    averages: tuple[tuple[sp.Symbol, sp.Expr], ...]
    value: sp.Expr


def forward(op: Map) -> AveragedMap:
    """Return the map itself."""
    return AveragedMap(op.averages, op.expression)


def tangent(op: Map) -> AveragedMap:
    """Return the image of a tangent, ``J v``."""
    moves = {symbol: sp.Symbol(f"{symbol.name}_moved", real=True) for symbol, _ in op.averages}

    def moved(value: sp.Expr, slope: sp.Expr) -> sp.Expr:
        return slope * OTHER + sp.Add(*(value.diff(s) * d for s, d in moves.items()))

    steps = tuple((moves[s], moved(f, f.diff(X))) for s, f in op.averages)
    return AveragedMap((*op.averages, *steps), moved(op.expression, op.derivative(1)))


def gradient(op: Map) -> AveragedMap:
    """Return the image of a gradient under the transpose, ``J^T g``."""
    backs = {symbol: sp.Symbol(f"{symbol.name}_back", real=True) for symbol, _ in op.averages}
    steps: list[tuple[sp.Symbol, sp.Expr]] = []
    for k in reversed(range(len(op.averages))):
        symbol = op.averages[k][0]
        through = (f.diff(symbol) * backs[s] for s, f in op.averages[k + 1 :])
        steps.append((backs[symbol], OTHER * op.expression.diff(symbol) + sp.Add(*through)))
    own = sp.Add(*(backs[s] * f.diff(X) for s, f in op.averages))
    return AveragedMap((*op.averages, *steps), OTHER * op.derivative(1) + own)
