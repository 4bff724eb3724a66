r"""Orders of the majorant at finite depth, exactly.

In units of ``R`` for the state and ``R/M`` for the scales the majorant is
``u_i = u_{i-1} + z w(u_{i-1})`` with ``w_m = B_m R^m / (M m!)``, a power series in ``z`` that is
truncated. The coefficient of ``z^j`` of ``u_n`` is a polynomial in ``n`` of degree ``j`` without
constant term, known from ``j`` layers. For the entire family it is the weighted number of labelled
trees, for the analytic one the number of labelled trees whose children are ordered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import sympy as sp

from resexpand.combinatorics.polynomials import forward_differences, polynomial_at
from resexpand.theory.remainder.majorant import Majorant

Series = list[Any]


def unit_weights(majorant: Majorant, order: int) -> list[sp.Expr]:
    """Return ``w_0, ..., w_order``."""
    big, radius = majorant.M, majorant.R
    return [
        majorant.family.weight(m)
        if m >= len(majorant.bounds)
        else majorant.bounds[m] * radius**m / (big * sp.factorial(m))
        for m in range(order + 1)
    ]


def orders_per_depth(weights: Sequence[Any]) -> list[Series]:
    """Return for each order ``j`` its coefficients of ``u_n`` at the depths ``0 .. order``.

    Numbers of the kind of the weights ``w_0 .. w_order``: fractions, mpmath numbers, expressions.
    """
    state = [0 * weights[0]] * len(weights)
    found = [state]
    for _ in weights[1:]:
        state = _layer(state, weights, 1)
        found.append(state)
    return [[state[j] for state in found] for j in range(len(weights))]


def orders_of_layers(weights: Sequence[Any], steps: Sequence[Any]) -> Series:
    """Return the orders of ``u_n`` for one step ``|lambda_i| M/R`` per layer, from order 0."""
    state = [0 * weights[0]] * len(weights)
    for step in steps:
        state = _layer(state, weights, step)
    return state


def at_depth(values: Sequence[Any], depth: Any) -> Any:
    """Return the polynomial through values at the depths 0, 1, ... at a number or a symbol."""
    if all(isinstance(value, Fraction) for value in values):
        return polynomial_at(values, depth)
    total, factor = values[0], depth**0
    for j, difference in enumerate(forward_differences(values)[1:], 1):
        factor = factor * (depth - j + 1)
        total = total + difference * factor / math.factorial(j)
    return _tidy(total)


def fractions(values: Sequence[sp.Expr]) -> list[Any]:
    """Return numbers as fractions if all of them are rational, which is faster."""
    if all(value.is_Rational for value in values):
        return [Fraction(int(value.p), int(value.q)) for value in values]
    return list(values)


def _layer(state: Series, weights: Sequence[Any], step: Any) -> Series:
    """Return ``u + step z w(u)``, truncated."""
    size = len(state)
    inside = [weights[size - 1]] + [state[0]] * (size - 1)
    for m in range(size - 2, -1, -1):
        inside = _product(inside, state)
        inside[0] = inside[0] + weights[m]
    added = [state[0], *inside[:-1]]
    return [_tidy(before + step * new) for before, new in zip(state, added, strict=True)]


def _product(left: Series, right: Series) -> Series:
    size = len(left)
    return [
        _tidy(sum((left[i] * right[j - i] for i in range(j + 1)), right[0])) for j in range(size)
    ]


def _tidy(value: Any) -> Any:
    return sp.expand(value) if isinstance(value, sp.Expr) and not value.is_Number else value
