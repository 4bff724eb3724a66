"""Derivatives of a recursion: forward sensitivities and the Jacobian of its update.

Differentiating ``s^l = U(s^{l-1}, p)`` with respect to a parameter or an initial value gives a
recursion for ``t^l = ds^l/dp`` of the same form,

    t^l = (dU/ds) t^{l-1} + dU/dp,    t^0 = ds^0/dp,

so that a derivative is again a `Recursion` that can be printed, unrolled and compiled. Price's
theorem enters through the derivative of the Gaussian averages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sympy as sp

from resexpand.theory.recursion import Recursion, always_zero


def jacobian(recursion: Recursion) -> sp.ImmutableMatrix:
    """Return the derivative of the update with respect to the state, entry ``[row, column]``."""
    return sp.ImmutableMatrix([[u.diff(s) for s in recursion.state] for u in recursion.flat_update])


def differentiate(
    recursion: Recursion, parameter: sp.Symbol, symbols: Sequence[sp.Symbol]
) -> Recursion:
    """Return the recursion with its state doubled by the derivatives with respect to a parameter.

    Parameters
    ----------
    recursion : Recursion
        Any recursion.
    parameter : sympy.Symbol
        A hyperparameter or a kernel entry at layer 0.
    symbols : sequence of sympy.Symbol
        Names for the derivatives of the state variables, one each.

    Returns
    -------
    Recursion
        State ``(s, t)``, without derivatives that vanish in every layer; the outputs are those
        of the original.
    """
    update = recursion.flat_update
    moved = [total_derivative(u, recursion, parameter, symbols) for u in update]
    start = [i.diff(parameter) for i in recursion.initial]
    zero = dict.fromkeys(vanishing_tangents(recursion, parameter, symbols), sp.Integer(0))
    kept = [i for i, symbol in enumerate(symbols) if symbol not in zero]
    return replace(
        recursion,
        state=recursion.state + tuple(symbols[i] for i in kept),
        initial=recursion.initial + tuple(start[i] for i in kept),
        update=recursion.update + tuple(moved[i].xreplace(zero) for i in kept),
    )


def vanishing_tangents(
    recursion: Recursion, parameter: sp.Symbol, symbols: Sequence[sp.Symbol]
) -> set[sp.Symbol]:
    """Return the tangents that start at zero and are fed only by tangents that are zero.

    With two inputs, for instance, moving ``K_12`` at the input never moves ``K_11``.
    """
    moved = [total_derivative(u, recursion, parameter, symbols) for u in recursion.flat_update]
    started = (initial.diff(parameter) for initial in recursion.initial)
    initial = dict(zip(symbols, started, strict=True))
    return set(always_zero(initial, dict(zip(symbols, moved, strict=True))))


def total_derivative(
    expression: sp.Expr,
    recursion: Recursion,
    parameter: sp.Symbol,
    symbols: Sequence[sp.Symbol],
) -> sp.Expr:
    """Return ``d expression / d parameter`` for an expression of the state and the parameter.

    `symbols` are the derivatives of the state variables of `recursion`, in its order; definitions
    are substituted first.
    """
    flat = recursion.flat(expression)
    through_state = (flat.diff(s) * t for s, t in zip(recursion.state, symbols, strict=False))
    return sp.Add(*through_state, flat.diff(parameter))
