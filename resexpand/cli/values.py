"""From the text of an option to exact numbers, lists, matrices and arrays."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import sympy as sp

from resexpand.errors import ExpressionError, HyperparameterError
from resexpand.expressions import parse_expression

MAX_COUNT = 100_000
"""Values in one list or range."""

Exact = tuple[sp.Expr, ...]
Read = TypeVar("Read")


def number(text: str, option: str, symbols: Sequence[sp.Symbol] = ()) -> sp.Expr:
    """Return the exact number that a text means; some symbols may stand in it.

    Raises
    ------
    HyperparameterError
        If it is no constant expression.
    """
    try:
        return parse_expression(text, variables=symbols)
    except ExpressionError as error:
        raise HyperparameterError(
            f"{option} {text[:60]!a}",
            f"it is no number ({error.why})",
            "write one such as 0.3, 1/3 or sqrt(2)" + (", or 1/sqrt(L)" if symbols else ""),
        ) from None


def integer(text: str, option: str, minimum: int = 1) -> int:
    """Return a whole number that is not below the minimum; ``1e4`` is one.

    Raises
    ------
    HyperparameterError
        If it is not a whole number, or below the minimum.
    """
    value = number(text, option)
    if not value.is_Integer or value < minimum or value > 2**63 - 1:
        raise HyperparameterError(
            f"{option} {text[:60]}",
            f"it is no whole number from {minimum} to 2**63 - 1",
            f"write one, such as {max(minimum, 1)}",
        )
    return int(value)


def integers(text: str, option: str) -> tuple[int, ...]:
    """Return the whole numbers of a list or range."""
    return tuple(integer(str(value), option) for value in numbers(text, option))


def real(text: str, option: str) -> float:
    """Return the double next to a number."""
    return float(number(text, option))


def given(arguments: Namespace, name: str, read: Callable[..., Read], **how: Any) -> Read | None:
    """Return an option as `read` reads its text, None where it is not given."""
    text = getattr(arguments, name, None)
    return None if text is None else read(text, f"--{name.replace('_', '-')}", **how)


def numbers(text: str, option: str, symbols: Sequence[sp.Symbol] = ()) -> Exact:
    """Return the numbers of ``a``, ``a,b,c`` or ``first:last:count``, exactly.

    Raises
    ------
    HyperparameterError
        If the text has none of these forms.
    """
    if ":" not in text:
        return tuple(number(part, option, symbols) for part in split(text, ","))
    parts = text.split(":")
    if len(parts) != 3:
        raise HyperparameterError(
            f"{option} {text[:60]!a}", "a range has three parts", "write first:last:count"
        )
    first, last = number(parts[0], option), number(parts[1], option)
    count = integer(parts[2], f"{option}, count of the range", minimum=2)
    if count > MAX_COUNT:
        raise HyperparameterError(
            f"{option} {text}", f"it has more than {MAX_COUNT} values", "take fewer"
        )
    return tuple(first + (last - first) * sp.Rational(i, count - 1) for i in range(count))


def matrix(text: str, option: str) -> npt.NDArray[np.float64]:
    """Return the square matrix of ``a,b;c,d``.

    Raises
    ------
    HyperparameterError
        If it is not square.
    """
    rows = [[number(entry, option) for entry in split(row, ",")] for row in text.split(";")]
    if any(len(row) != len(rows) for row in rows):
        raise HyperparameterError(
            f"{option} {text[:60]!a}",
            f"its rows have the lengths {[len(row) for row in rows]}",
            "write a square matrix as a,b;c,d",
        )
    return np.array([[float(entry) for entry in row] for row in rows])


def split(text: str, separator: str) -> list[str]:
    """Split at separators outside brackets, so that max(1,2) stays one number."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
