"""Values of an expression on an array of points, by a walk over its nodes.

For what must be known about a function before code is generated for it: where it vanishes, how fast
it bends. Nothing is compiled or executed as text. Values that overflow or do not exist are inf or
NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.errors import UnsupportedError
from resexpand.expressions.accurate import Expm1, Log1p

Array = NDArray[np.float64]


def _mapped(function: Callable[[float], float]) -> Callable[[Array], Array]:
    each = np.frompyfunc(function, 1, 1)
    return lambda x: np.asarray(each(x), dtype=np.float64)


def _heaviside(x: Array, at_zero: Array | float = 0.5) -> Array:
    return np.heaviside(x, at_zero)


FUNCTIONS: Mapping[type[sp.Basic], Callable[..., Any]] = {
    sp.exp: np.exp,
    sp.log: np.log,
    Expm1: np.expm1,
    Log1p: np.log1p,
    sp.erf: _mapped(math.erf),
    sp.erfc: _mapped(math.erfc),
    sp.sin: np.sin,
    sp.cos: np.cos,
    sp.tan: np.tan,
    sp.sinh: np.sinh,
    sp.cosh: np.cosh,
    sp.tanh: np.tanh,
    sp.asin: np.arcsin,
    sp.acos: np.arccos,
    sp.atan: np.arctan,
    sp.asinh: np.arcsinh,
    sp.atan2: np.arctan2,
    sp.Abs: np.abs,
    sp.sign: np.sign,
    sp.floor: np.floor,
    sp.ceiling: np.ceil,
    sp.Heaviside: _heaviside,
    sp.Max: lambda *x: np.maximum.reduce(np.broadcast_arrays(*x)),
    sp.Min: lambda *x: np.minimum.reduce(np.broadcast_arrays(*x)),
    sp.Add: lambda *x: np.add.reduce(np.broadcast_arrays(*x)),
    sp.Pow: np.power,
    sp.Mul: lambda *x: np.multiply.reduce(np.broadcast_arrays(*x)),
    sp.StrictLessThan: np.less,
    sp.LessThan: np.less_equal,
    sp.StrictGreaterThan: np.greater,
    sp.GreaterThan: np.greater_equal,
    sp.Equality: np.equal,
    sp.Unequality: np.not_equal,
    sp.And: lambda *x: np.logical_and.reduce(np.broadcast_arrays(*x)),
    sp.Or: lambda *x: np.logical_or.reduce(np.broadcast_arrays(*x)),
    sp.Not: np.logical_not,
}


def array_values(expression: sp.Expr, variable: sp.Symbol, points: Array) -> Array:
    """Return the values of an expression in one symbol at some points.

    Parameters
    ----------
    expression : sympy.Expr
        A function of `variable`.
    variable : sympy.Symbol
        Its argument.
    points : ndarray
        Where it is evaluated.

    Returns
    -------
    ndarray
        Of the shape of `points`; NaN where the expression is no real number.

    Raises
    ------
    UnsupportedError
        If it holds a function that has no numerical counterpart here.
    """
    known: dict[sp.Basic, Any] = {variable: points}
    with np.errstate(all="ignore"):
        result = _value(expression, known)
    return np.broadcast_to(np.asarray(result, dtype=np.float64), points.shape)


def _value(node: sp.Basic, known: dict[sp.Basic, Any]) -> Any:
    if node not in known:
        known[node] = _computed(node, known)
    return known[node]


def _computed(node: sp.Basic, known: dict[sp.Basic, Any]) -> Any:
    if node in (sp.true, sp.false):
        return np.bool_(node == sp.true)
    if not node.free_symbols:
        return np.float64(node.evalf(20))
    if isinstance(node, sp.Piecewise):
        branches = [(_value(value, known), _value(c, known)) for value, c in node.args]
        result: Any = np.nan
        for value, condition in reversed(branches):
            result = np.where(condition, value, result)
        return result
    arguments = [_value(part, known) for part in node.args]
    if isinstance(node, sp.Pow):
        whole = node.exp.is_Integer and abs(node.exp) < 1000
        return arguments[0] ** float(node.exp) if whole else np.power(*arguments)
    function = FUNCTIONS.get(type(node))
    if function is None:
        raise UnsupportedError(
            f"values of {node}",
            f"{type(node).__name__} has no numerical function here",
            "use functions that resexpand.expressions knows",
        )
    return function(*arguments)
