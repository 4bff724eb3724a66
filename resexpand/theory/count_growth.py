r"""How the number of terms grows with the depth, and which scales tame it.

Sums over the classes of labelled trees of order ``k`` with labels up to ``n``, all elementary
differentials of norm 1:

    a_k(n) = sum 1/|Aut|      the sum of the absolute values, the worst case
    s_k(n) = sum 1/|Aut|^2    the mean square of the sum, if the differentials are uncorrelated
    d_k(n) = C(n, k) (k-1)!   classes whose labels all differ, the same in both

are polynomials in ``n`` of degree ``k``, and all three have the leading coefficient ``1/k``: that
of ``a_k`` is the coefficient of the flow ``u' = exp(u)``, ``u = -log(1 - t) = sum_k t^k/k``. So

    lambda = c/n          worst case -> c^k/k, and over all orders -log(1 - c) for c < 1
    lambda = c/sqrt(n)    worst case ~ c^k n^(k/2)/k, mean square -> c^(2k)/k

and repeated labels do not matter in either limit. Sums of powers of ``1/|Aut|`` come from one
family of series: with weight ``|Aut|^-p`` the multisets of one tree have the series
``I_p(y) = sum_r y^r/r!^p``, and from ``log I_p(y) = sum_m b_m y^m``

    t_i^(p)(z) = z exp( sum_m b_m sum_{j < i} t_j^(p m)(z^m) ),

where ``p = 0`` counts classes, ``p = 1`` weights them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import factorial
from typing import Any

import sympy as sp

from resexpand.combinatorics import distinct_count, weighted_count
from resexpand.combinatorics.arguments import check_count, check_order
from resexpand.combinatorics.counting_series import exponential_series
from resexpand.combinatorics.polynomials import polynomial_at
from resexpand.references import REFERENCES, Citation
from resexpand.theory.expansion.build import DEPTH
from resexpand.theory.formula import Formula

CONSTANT = sp.Symbol("c", positive=True)
"""Scale of the blocks in units of ``1/n`` or ``1/sqrt(n)``."""


def power_count(order: int, n: Any, power: int) -> Any:
    """Return the sum of ``|Aut|^-power`` over the classes of labelled trees.

    Parameters
    ----------
    order : int
        Number of vertices, from 1.
    n : int or sympy.Expr
        Number of labels.
    power : int
        0 counts classes, 1 weights them as the expansion does, 2 gives the mean square of a sum of
        uncorrelated terms.

    Returns
    -------
    int, sympy.Rational or sympy.Expr
        For a symbol, a polynomial of degree `order`.

    Raises
    ------
    HyperparameterError
        If an argument is no integer that makes sense.

    Examples
    --------
    >>> [power_count(k, 4, 2) for k in range(1, 5)]
    [4, 6, 19/2, 103/6]
    """
    size, exponent = check_order(order), check_count(power, "power")
    values = [series[size] for series in _totals(exponent, size, size)]
    return polynomial_at(values, n)


@lru_cache(maxsize=256)
def _totals(power: int, size: int, layers: int) -> tuple[tuple[Fraction, ...], ...]:
    """Return the series of all trees with root labels up to 0, 1, ..., `layers`."""
    logarithm = _logarithm(power, size)
    inner = {
        m: _totals(power * m, size // m, layers - 1)
        for m in range(2, size + 1)
        if layers and logarithm[m]
    }
    total = [Fraction(0)] * (size + 1)
    found = [tuple(total)]
    for layer in range(layers):
        exponent = [logarithm[1] * value for value in total]
        for m, series in inner.items():
            for k, value in enumerate(series[layer]):
                exponent[k * m] += logarithm[m] * value
        rooted = [Fraction(0), *exponential_series(exponent)[:size]]
        total = [a + b for a, b in zip(total, rooted, strict=True)]
        found.append(tuple(total))
    return tuple(found)


def _logarithm(power: int, size: int) -> list[Fraction]:
    """Return the coefficients of ``log sum_r y^r / r!^power`` up to ``y^size``."""
    plain = [Fraction(1, factorial(r) ** power) for r in range(size + 1)]
    found = [Fraction(0)] * (size + 1)
    for m in range(1, size + 1):
        known = sum((j * found[j] * plain[m - j] for j in range(1, m)), Fraction(0))
        found[m] = plain[m] - known / m
    return found


ABSOLUTE, SQUARES = "sum of absolute values", "sum of squares"


@dataclass(frozen=True)
class CountGrowth:
    """Size of one order of the expansion over the depth, for differentials of norm 1.

    Attributes
    ----------
    order : int
        The order ``k``.
    depth, constant : sympy.Symbol
        Number of blocks ``n``, and the constant ``c`` of the scale.
    worst, square, distinct : sympy.Expr
        ``a_k``, ``s_k`` and ``d_k`` as polynomials in the depth.
    """

    order: int
    depth: sp.Symbol
    constant: sp.Symbol
    worst: sp.Expr
    square: sp.Expr
    distinct: sp.Expr

    def leading(self, polynomial: sp.Expr, power: sp.Expr) -> sp.Expr:
        """Return what a polynomial times a power of the depth tends to, to leading order."""
        highest = sp.Poly(polynomial, self.depth)
        exponent = highest.degree() + power
        return highest.LC() * self.depth**exponent

    @property
    def formulas(self) -> tuple[Formula, ...]:
        """Number of terms; worst case at ``c/n`` and ``c/sqrt(n)``; mean square at ``c/sqrt(n)``.

        The right sides are the leading terms of the polynomials, to relative order ``1/n``.
        """
        k, c = self.order, self.constant
        half = sp.Rational(k, 2)
        size, squares = c**k, c ** (2 * k)
        rows = (
            ("terms", "a", sp.S.One, self.worst, 0, "weighted number of terms of"),
            ("worst case at c/n", "A", size, self.worst, -k, f"{ABSOLUTE} at c/n,"),
            ("worst case at c/sqrt(n)", "A", size, self.worst, -half, f"{ABSOLUTE} at c/sqrt(n),"),
            ("mean square at c/sqrt(n)", "S", squares, self.square, -k, f"{SQUARES} at c/sqrt(n),"),
        )
        formulas = []
        for name, letter, factor, polynomial, power, meaning in rows:
            value = factor * self.leading(polynomial, sp.sympify(power, strict=True))
            symbol, said = sp.Symbol(f"{letter}_{k}"), f"{meaning} order {k}"
            formulas.append(
                Formula(f"{name}, order {k}", symbol, value, said, "O(1/n)", _CITATIONS)
            )
        return tuple(formulas)


_CITATIONS = (Citation(REFERENCES["dherin2025"]),)


def count_growth(order: int, depth: sp.Symbol = DEPTH) -> CountGrowth:
    """Return how the size of one order grows with the depth.

    Raises
    ------
    HyperparameterError
        If the order is not an integer of 1 or more.

    Examples
    --------
    >>> growth = count_growth(3)
    >>> growth.worst, growth.square
    (n*(n - 1)*(4*n - 5)/12, n*(n - 1)*(8*n - 13)/24)
    >>> [formula.rhs for formula in growth.formulas]
    [n**3/3, c**3/3, c**3*n**(3/2)/3, c**6/3]
    """
    k = check_order(order)
    return CountGrowth(
        k,
        depth,
        CONSTANT,
        weighted_count(k, depth),
        power_count(k, depth, 2),
        distinct_count(k, depth),
    )


def total_worst_case() -> Formula:
    """Return the worst case over all orders at ``lambda = c/n`` in the limit of depth.

    Examples
    --------
    >>> print(total_worst_case())
    A = -log(1 - c)
    """
    return Formula(
        "worst case over all orders at c/n",
        sp.Symbol("A"),
        -sp.log(1 - CONSTANT),
        "sum of the absolute values of all orders at c/n, finite for c below 1",
        "O(1/n)",
        _CITATIONS,
    )
