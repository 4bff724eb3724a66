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
from resexpand.conventions import is_symbolic
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
    if is_symbolic(n, "number of labels"):
        return _factored(differences, n)
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


def _factored(differences: Sequence[Any], n: sp.Expr) -> sp.Expr:
    """Return ``sum_j D_j binomial(n, j)`` as a product of factors in `n`."""
    total: list[Fraction] = [Fraction(0)] * len(differences)
    binomial = [Fraction(1)]
    for j, difference in enumerate(differences):
        for power, coefficient in enumerate(binomial):
            total[power] += difference * coefficient
        # binomial(n, j + 1) = binomial(n, j) (n - j) / (j + 1)
        raised = [Fraction(0), *binomial]
        kept = [j * coefficient for coefficient in binomial] + [Fraction(0)]
        binomial = [(a - b) / (j + 1) for a, b in zip(raised, kept, strict=True)]
    symbol = sp.Dummy("n")
    listed = [exact_number(coefficient) for coefficient in reversed(total)]
    constant, factors = sp.Poly(listed, symbol, domain=sp.QQ).factor_list()
    product = sp.Mul(constant, *(factor.as_expr() ** power for factor, power in factors))
    return product.xreplace({symbol: n})


def exact_number(number: int | Fraction) -> sp.Rational:
    """Return an integer or a fraction as a SymPy number."""
    return sp.Rational(number.numerator, number.denominator)
