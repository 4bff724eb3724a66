"""The value of an expression where its symbols have values, without generated text.

A single point is computed by SymPy, rounded once. An array goes through NumPy's functions, and
through SymPy entry by entry where NumPy has none. No name of a symbol or function is ever executed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from sympy.core.function import AppliedUndef

from resexpand.errors import ExpressionError
from resexpand.expressions.arrays import FUNCTIONS

Array = NDArray[np.float64]

OWN = ("sympy", "resexpand")
"""Packages whose functions have a value."""

DIGITS = 17
"""Significant decimal digits that hold a double."""


def value_at(expression: sp.Expr, values: Mapping[sp.Symbol, Array]) -> Array:
    """Return the value of an expression; NaN where it is not a real number.

    Parameters
    ----------
    expression : sympy.Expr
        Its symbols are keys of `values`.
    values : mapping of Symbol to ndarray
        Arrays that broadcast against each other.

    Returns
    -------
    ndarray
        Of the common shape of the arrays the expression reads.

    Raises
    ------
    ExpressionError
        If the expression holds a function without a definition.
    """
    check_functions(expression)
    if expression in values:
        return values[expression]
    symbols = sorted(expression.free_symbols, key=sp.default_sort_key)
    if all(values[s].ndim == 0 for s in symbols):
        return np.asarray(_at_point(expression, symbols, *(values[s] for s in symbols)))
    with np.errstate(all="ignore"):
        return np.asarray(_on_arrays(expression, values), dtype=np.float64)


def check_functions(expression: sp.Expr) -> None:
    """Refuse functions without a definition: undefined ones, and classes from elsewhere.

    For a class that says nothing of its value SymPy calls what mpmath has under its name.

    Raises
    ------
    ExpressionError
        If there is such a function, naming it.
    """
    unknown = sorted(
        {
            type(node).__name__
            for node in expression.atoms(sp.Function)
            if isinstance(node, AppliedUndef) or type(node).__module__.split(".")[0] not in OWN
        }
    )
    if unknown:
        raise ExpressionError(
            f"the value of an expression with {', '.join(map(ascii, unknown))}",
            "it is a function without a definition",
            "write what it computes, such as sqrt(L)",
        )


def _on_arrays(node: sp.Expr, values: Mapping[sp.Symbol, Array]) -> Array:
    if node in values:
        return values[node]
    symbols = sorted(node.free_symbols, key=sp.default_sort_key)
    function = FUNCTIONS.get(type(node))
    if symbols and function is not None:
        parts = [_on_arrays(part, values) for part in node.args]
        return np.asarray(function(*parts))
    at_each = np.vectorize(lambda *point: _at_point(node, symbols, *point), otypes=[float])
    return np.asarray(at_each(*(values[s] for s in symbols)) if symbols else _at_point(node, []))


def _at_point(node: sp.Expr, symbols: list[sp.Symbol], *point: Any) -> float:
    """Return the double nearest to the value at a point; NaN if there is no real one."""
    exact = {s: _exact(float(number)) for s, number in zip(symbols, point, strict=True)}
    value = node.xreplace(exact).evalf(DIGITS)
    # Infinities are numbers, too; what is complex or undefined is not comparable.
    if not (value.is_Float or value.is_Rational or value in (sp.oo, -sp.oo)):
        return math.nan
    return float(value)


def _exact(number: float) -> sp.Number:
    return sp.Integer(int(number)) if number.is_integer() else sp.Float(number, DIGITS)
