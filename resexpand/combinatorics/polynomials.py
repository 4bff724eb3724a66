"""Polynomials in the number of labels, given by their values at 0, 1, 2, ...

Newton's forward differences: ``p(n) = sum_j D_j binomial(n, j)`` with ``D_j`` the j-th difference
at zero. Exact for integers of any size and for symbols.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import sympy as sp

from resexpand.combinatorics.arguments import check_count
from resexpand.errors import HyperparameterError


def forward_differences(values: Sequence[Any]) -> list[Any]:
    """Return the differences at zero of all orders, from values at 0, 1, 2, ..."""
    row, found = list(values), []
    while row:
        found.append(row[0])
        row = [after - before for before, after in pairwise(row)]
    return found


def polynomial_at(values: Sequence[Any], n: Any) -> Any:
    """Return the polynomial through values at 0, 1, 2, ... at a number or a symbol.

    Parameters
    ----------
    values : sequence of int or Fraction
        One more than the degree.
    n : int or sympy.Expr
        Where to evaluate it.

    Returns
    -------
    int, sympy.Rational or sympy.Expr
        An integer stays one; a fraction becomes a `sympy.Rational`; a symbol gives the polynomial,
        factored.

    Raises
    ------
    HyperparameterError
        If `n` is neither an integer of 0 or more nor a SymPy expression.
    """
    differences = forward_differences(values)
    if isinstance(n, sp.Expr) and not n.is_number:
        terms = [exact_number(d) * sp.ff(n, j) / sp.factorial(j) for j, d in enumerate(differences)]
        return sp.factor(sp.expand_func(sp.Add(*terms)))
    if isinstance(n, str):
        raise HyperparameterError(
            f"number of labels {n!r}", "it is text", "give an integer or a SymPy symbol"
        )
    count = check_count(n)
    total, binomial = differences[0], 1
    for j, difference in enumerate(differences[1:], 1):
        binomial = binomial * (count - j + 1) // j
        total += difference * binomial
    return total if isinstance(total, int) else exact_number(total)


def exact_number(number: int | Fraction) -> sp.Rational:
    """Return an integer or a fraction as a SymPy number."""
    return sp.Rational(number.numerator, number.denominator)
