"""Norms of weights in exact numbers, rounded up, and whether their shapes fit."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from resexpand.errors import DescriptionError
from resexpand.theory.remainder.majorant import real

DIGITS = 10
"""To which norms of weights are rounded up."""


def check_shapes(weights: Any, biases: Any, x: Any, inner: Any) -> None:
    """Refuse weights that do not map the state to a state."""
    rows, columns = _shape(weights, "weights")[-2:]
    # Without inner weights the activation stands between the state and the weights.
    back = (rows, rows) if inner is None else _shape(inner, "inner weights")[-2:]
    if back != (columns, rows):
        behind = "" if inner is None else f" behind inner weights of shape {back}"
        raise DescriptionError(
            f"blocks with weights of shape {(rows, columns)}{behind}",
            "a block maps the state to a state of the same length",
            "give square weights, or inner weights of the transposed shape",
        )
    for name, vector in (("biases", biases), ("the input", x)):
        entries = rows if vector is None else _shape(vector, name)[-1]
        if entries != rows:
            raise DescriptionError(
                f"{name} of {entries} entries",
                f"the weights map to {rows}",
                f"give {rows} entries",
            )


def _shape(values: Any, name: str) -> tuple[int, ...]:
    shape = values.shape if isinstance(values, sp.MatrixBase) else _array(values, name).shape
    if name.endswith("weights") and len(shape) not in (2, 3):
        raise DescriptionError(
            f"{name} of shape {shape}",
            "they are neither a matrix nor a list of matrices of one shape",
            "give an array of shape (N, M), or (n, N, M) for n blocks",
        )
    return tuple(int(size) for size in shape)


def row_norm(weights: Any, name: str) -> sp.Expr:
    """Return the largest sum of absolute values over a row, of one matrix or of several."""
    if isinstance(weights, sp.MatrixBase):
        rows, columns = weights.shape
        entries = [[real(weights[i, j], name) for j in range(columns)] for i in range(rows)]
        return sp.Max(*(sp.Add(*map(sp.Abs, row)) for row in entries))
    array = np.abs(_array(weights, name))
    rows = array.reshape(-1, array.shape[-1])
    sums = np.array([math.fsum(row) for row in rows])
    # Sums of floats are exact only as fractions, which are slow: only the largest rows need them.
    longest = rows[sums >= sums.max() * (1 - 1e-12)]
    return upper(max(sum(map(decimal, row), Fraction(0)) for row in longest))


def largest(values: Any, name: str) -> sp.Expr:
    """Return the sup norm of vectors."""
    return upper(decimal(np.max(np.abs(_array(values, name)))))


def decimal(value: float) -> Fraction:
    """Return what a float means: its shortest decimal, as in `resexpand.conventions.exact`."""
    return Fraction(repr(float(value)))


def upper(value: Fraction) -> sp.Rational:
    """Return the least number of `DIGITS` significant digits that is not below a fraction."""
    if value.denominator == 1:
        return sp.Integer(value.numerator)
    places = DIGITS - 1 - math.floor(math.log10(value))
    return sp.Rational(math.ceil(value * Fraction(10) ** places)) / sp.Integer(10) ** places


def _array(values: Any, name: str) -> Any:
    try:
        given = np.asarray(values)
        if given.dtype.kind == "c":
            raise TypeError("complex numbers")
        array = np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        raise DescriptionError(
            f"{name} of type {type(values).__name__}",
            "they are no array of real numbers",
            "give a NumPy array; matrices of one shape for several blocks",
        ) from None
    if array.ndim == 0 or not array.size or not np.isfinite(array).all():
        raise DescriptionError(
            f"{name} of shape {array.shape}",
            "they are empty, a single number, or not finite",
            "give a NumPy array of finite numbers",
        )
    return array
