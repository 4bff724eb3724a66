"""Where an expansion is evaluated: symbols, exact numbers, floats, vectors; and what comes back.

A number or an array of numbers gives numbers; an `mpmath` number gives one of the working
precision; a SymPy expression or Matrix gives expressions.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from resexpand.conventions import exact
from resexpand.errors import HyperparameterError

FLOAT_DIGITS = 17
_INFINITE = (sp.nan, sp.zoo, sp.oo, -sp.oo)


@dataclass(frozen=True)
class Point:
    """A state of the network.

    Attributes
    ----------
    entries : tuple of sympy.Expr
        Its entries.
    digits : int
        Significant digits of the numbers that come back; 0 for exact expressions.
    form : str
        ``scalar``, ``matrix`` or ``array``.
    shape : tuple of int
        Shape of a matrix or array.
    """

    entries: tuple[sp.Expr, ...]
    digits: int
    form: str
    shape: tuple[int, ...]

    def shaped(self, values: list[Any]) -> Any:
        """Return values of all entries in the form of the state.

        Raises
        ------
        HyperparameterError
            If a number has overflowed.
        """
        for value in values:
            if isinstance(value, float) and not math.isfinite(value):
                raise _not_finite(value)
        if self.form == "scalar":
            return values[0]
        if self.form == "matrix":
            return sp.Matrix(*self.shape, values)
        numbers = all(isinstance(value, float) for value in values)
        return np.array(values, dtype=float if numbers else object).reshape(self.shape)


def read_point(x: Any) -> Point:
    """Return a state as a `Point`.

    Parameters
    ----------
    x : number, sympy.Expr, sympy.Matrix, numpy.ndarray or sequence
        One entry, or a vector.

    Raises
    ------
    HyperparameterError
        If it is none of these, or holds a number that is not finite.
    """
    if isinstance(x, sp.MatrixBase):
        return Point(tuple(_scalar(entry).entries[0] for entry in x), 0, "matrix", x.shape)
    if isinstance(x, list | tuple):
        exact_entries = any(isinstance(entry, sp.Basic) for entry in x)
        try:
            vector = sp.Matrix(x) if exact_entries else np.array(x)
        except (TypeError, ValueError) as error:
            raise HyperparameterError(
                f"the state {x!r}", "its rows differ in length", "give one number per entry"
            ) from error
        return read_point(vector)
    if isinstance(x, np.ndarray) and x.ndim:
        if not x.size:
            raise HyperparameterError("a state without entries", "it is empty", "give its entries")
        entries = [read_point(entry) for entry in x.ravel().tolist()]
        digits = min(entry.digits for entry in entries)
        return Point(tuple(entry.entries[0] for entry in entries), digits, "array", x.shape)
    return _scalar(x)


def _scalar(x: Any) -> Point:
    try:
        exact(x, indexed=True)
    except TypeError as error:
        raise HyperparameterError(
            f"the state {x!r}",
            f"it is of type {type(x).__name__} ({error})",
            "give a number, a NumPy array, a SymPy expression or a Matrix",
        ) from None
    if isinstance(x, sp.Expr):
        return Point((x,), 0, "scalar", ())
    if isinstance(x, mpmath.mpf):
        digits = max(mpmath.mp.dps, FLOAT_DIGITS + 1)
        return Point((_finite(sp.Float(x, digits + 3), x),), digits, "scalar", ())
    number = sp.Float(float(x), FLOAT_DIGITS + 3)
    return Point((_finite(number, x),), FLOAT_DIGITS, "scalar", ())


def _finite(number: sp.Float, given: Any) -> sp.Float:
    if not number.is_finite:
        raise HyperparameterError(f"the state {given!r}", "it is not finite", "give finite numbers")
    return number


def as_number(expression: sp.Expr, digits: int) -> Any:
    """Return an expression as a number of as many digits; what still holds symbols stays as it is.

    A float for `FLOAT_DIGITS`, otherwise an `mpmath.mpf`.
    """
    if expression.has(*_INFINITE):
        raise _not_finite(expression)
    if not digits or not expression.is_number:
        return expression
    if expression.is_Rational and digits == FLOAT_DIGITS:
        return int(expression.p) / int(expression.q)
    value = expression.evalf(digits + 3)
    if not (value.is_Float or value.is_Rational) or not value.is_finite:
        raise _not_finite(expression)
    if digits == FLOAT_DIGITS and abs(value) > sys.float_info.max:
        raise _not_finite(value)
    return float(value) if digits == FLOAT_DIGITS else mpmath.mpf(sp.Float(value, digits))


def _not_finite(expression: sp.Expr | float) -> HyperparameterError:
    return HyperparameterError(
        f"the number {expression}",
        "it is not real and finite, or no double holds it",
        "evaluate where the blocks and their derivatives are",
    )


def summed(terms: list[list[Any]]) -> list[Any]:
    """Return the sum of vectors, entry by entry."""
    entries = list(zip(*terms, strict=True))
    return [_sum(entry) for entry in entries]


def _sum(terms: tuple[Any, ...]) -> Any:
    if all(isinstance(term, float) for term in terms):
        try:
            return math.fsum(terms)
        except (OverflowError, ValueError):
            # Too large, or infinities of both signs.
            raise _not_finite(math.nan) from None
    if any(isinstance(term, sp.Basic) for term in terms):
        return sp.Add(*terms)
    return mpmath.fsum(terms)
