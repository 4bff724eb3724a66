r"""Counting series: how many trees there are, from their generating functions alone.

With ``t_i(z)`` the series of the trees whose root has label ``i`` and ``S_n = t_1 + ... + t_n``,
in which ``z`` marks a vertex,

    classes    t_i = z exp( sum_{m >= 1} S_{i-1}(z^m) / m )     (Euler transform)
    weighted   t_i = z exp( S_{i-1}(z) )

and unlabelled trees are the fixed point ``t = z exp(sum_m t(z^m)/m)``. The coefficients of ``z^k``
in ``S_n`` are polynomials in ``n`` of degree ``k``, so ``k + 1`` values determine them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache, lru_cache
from typing import TypeVar

Number = TypeVar("Number", int, Fraction)


def multiset_series(series: Sequence[int]) -> list[int]:
    """Return the counting series of multisets (the Euler transform), from that of their elements.

    Parameters
    ----------
    series : sequence of int
        Coefficients from ``z^0``, which must be zero; the result has the same length.
    """
    size = len(series)
    marked = [0] * size
    for d in range(1, size):
        for multiple in range(d, size, d):
            marked[multiple] += d * series[d]
    result = [1] + [0] * (size - 1)
    for m in range(1, size):
        result[m] = sum(marked[r] * result[m - r] for r in range(1, m + 1)) // m
    return result


def exponential_series(series: Sequence[Fraction]) -> list[Fraction]:
    """Return the exponential of a power series without constant term, to the same length."""
    size = len(series)
    result = [Fraction(1)] + [Fraction(0)] * (size - 1)
    for m in range(1, size):
        terms = (r * series[r] * result[m - r] for r in range(1, m + 1))
        result[m] = sum(terms, Fraction(0)) / m
    return result


@cache
def rooted_tree_numbers(order: int) -> tuple[int, ...]:
    """Return how many unlabelled rooted trees have 0, 1, ..., `order` vertices.

    The recurrence of `multiset_series` with the series itself as its argument, one coefficient at
    a time.
    """
    counts, marked = [0, 1], [0, 0]
    while len(counts) <= order:
        m = len(counts) - 1
        marked[m] = sum(d * counts[d] for d in range(1, m + 1) if m % d == 0)
        marked.append(0)
        counts.append(sum(marked[r] * counts[m - r + 1] for r in range(1, m + 1)) // m)
    return tuple(counts[: order + 1])


@lru_cache(maxsize=64)
def class_values(order: int) -> tuple[int, ...]:
    """Return the number of labelled classes of an order with 0, 1, ..., `order` labels."""
    return tuple(_values(order, 0, multiset_series))


@lru_cache(maxsize=64)
def weighted_values(order: int) -> tuple[Fraction, ...]:
    """Return the weighted number of labelled trees with 0, 1, ..., `order` labels."""
    return tuple(_values(order, Fraction(0), exponential_series))


def _values(
    order: int, zero: Number, forests: Callable[[list[Number]], list[Number]]
) -> list[Number]:
    total: list[Number] = [zero] * (order + 1)
    values: list[Number] = [zero]
    for _ in range(order):
        rooted = forests(total)[:order]
        for k, number in enumerate(rooted, 1):
            total[k] += number
        values.append(total[order])
    return values
