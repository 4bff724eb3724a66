"""The value of an expression at a point, in as many operations as the expression has parts.

SymPy's own evaluation repeats the parts of a nested expression with more digits until the whole has
those that were asked for, which takes exponentially long in the nesting, and computes a tower of
exponentials to its last digit. Here each part is evaluated once to `DIGITS`, and an argument of a
function is infinite or zero beyond ``2**LARGEST``.
"""

from __future__ import annotations

from collections.abc import Mapping

import mpmath
import sympy as sp

from resexpand.activations.activation_law import X

DIGITS = 50
LARGEST = 100_000
"""Binary exponent of the largest argument: its exponential takes as many binary digits."""


def value_at(expression: sp.Basic, point: sp.Expr) -> sp.Basic:
    """Return the value of an expression in `X` at a number, to about `DIGITS` digits.

    Parameters
    ----------
    expression : sympy.Basic
    point : sympy.Expr
        A rational number or a float.

    Returns
    -------
    sympy.Basic
        A number, which may be complex, infinite or NaN.
    """
    return value_of(expression, {X: point})


def value_of(expression: sp.Basic, point: Mapping[sp.Symbol, sp.Expr]) -> sp.Basic:
    """Return the value at a number for every symbol, as `value_at`."""
    return _value(expression, dict(point))


def _value(node: sp.Basic, known: dict[sp.Basic, sp.Basic]) -> sp.Basic:
    if node.args and node not in known:
        parts = [_value(part, known) for part in node.args]
        if isinstance(node, sp.Function) and not isinstance(node, sp.log):
            parts = [_confined(part) for part in parts]
        value = node.func(*parts)
        known[node] = _number(value) if isinstance(value, sp.Expr) else value
    return known.get(node, node)


def _number(value: sp.Expr) -> sp.Expr:
    try:
        return value.evalf(DIGITS)
    except ValueError:
        # Some functions of mpmath refuse arguments outside their domain.
        return sp.nan


def _confined(value: sp.Basic) -> sp.Basic:
    """Return an argument, as infinity or zero where its exponential would take no end."""
    if not isinstance(value, sp.Float):
        return value
    exponent = mpmath.mag(mpmath.mpmathify(value))
    if abs(exponent) <= LARGEST:
        return value
    return sp.S.Zero if exponent < 0 else sp.oo * sp.sign(value)
