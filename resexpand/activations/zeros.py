"""Real zeros of an argument: where it switches a function, or takes it to a branch point.

Zeros of a polynomial are exact. Those of anything else are looked for between points of a grid that
is dense up to `DENSE` and geometric beyond, by bisection on changes of the sign of the argument,
and of its derivative where it touches zero without crossing. A zero that turns out to be rational,
a rational multiple of pi, or the logarithm of a rational number, is given as such.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.expressions.arrays import array_values

Array = NDArray[np.float64]

DENSE = 40.0
"""Argument up to which zeros may lie as close as the grid, 1/50."""

MANY = 10
"""Zeros up to `DENSE` from which on a function counts as periodic: those beyond are left out."""

MOST = 64
"""Zeros that are returned, those next to the origin first."""

HALVINGS = 80
DIGITS = 30
DENOMINATOR = 1000
"""Largest denominator of a rational number that a zero is compared with."""

HIGHEST = 12
"""Degree up to which the zeros of a polynomial are computed exactly."""


def real_zeros(argument: sp.Expr, variable: sp.Symbol) -> list[sp.Expr]:
    """Return the real zeros of a function of one variable.

    Parameters
    ----------
    argument : sympy.Expr
        A function of `variable`, of no other symbol.
    variable : sympy.Symbol
        Its variable.
    """
    if argument.free_symbols != {variable}:
        return []
    if argument.is_polynomial(variable) and sp.degree(argument, variable) <= HIGHEST:
        return list(dict.fromkeys(sp.real_roots(sp.Poly(argument, variable))))
    grid = _grid()
    values = array_values(argument, variable, grid)
    search = (argument, variable, grid, values)
    found = sorted([*_crossings(*search), *_touches(*search)], key=abs)
    inside = [zero for zero in found if abs(zero) < DENSE]
    # Of zeros that go on and on the grid beyond finds a few by chance.
    found = inside if len(inside) >= MANY else found
    return list(dict.fromkeys(_exact(argument, variable, zero) for zero in found[:MOST]))


def _grid() -> Array:
    half = np.concatenate([np.geomspace(1e-12, 0.01, 60), np.arange(1, 50 * DENSE) / 50 + 1e-3])
    half = np.concatenate([half, np.geomspace(DENSE, 1e8, 700)])
    return np.concatenate([-half[::-1], [0.0], half])


def _crossings(u: sp.Expr, x: sp.Symbol, grid: Array, values: Array) -> Iterator[float]:
    sign = np.sign(values)
    # A function that underflows is zero at neighbouring points, too.
    lone = (sign[1:-1] == 0) & (sign[:-2] != 0) & (sign[2:] != 0)
    yield from grid[1:-1][lone].tolist()
    at = np.nonzero(sign[:-1] * sign[1:] < 0)[0]
    yield from _bisected(u, x, grid[at], grid[at + 1]).tolist()


def _touches(u: sp.Expr, x: sp.Symbol, grid: Array, values: Array) -> Iterator[float]:
    """Return zeros at which the argument does not change its sign."""
    size = np.abs(values)
    low = (size[1:-1] <= size[:-2]) & (size[1:-1] < size[2:]) & (size[1:-1] > 0)
    low &= np.sign(values[:-2]) * np.sign(values[2:]) > 0
    at = np.nonzero(low)[0] + 1
    if not at.size:
        return
    ends = _bisected(sp.diff(u, x), x, grid[at - 1], grid[at + 1])
    around = np.minimum(size[at - 1], size[at + 1])
    yield from ends[np.abs(array_values(u, x, ends)) <= 1e-12 * around].tolist()


def _bisected(u: sp.Expr, x: sp.Symbol, left: Array, right: Array) -> Array:
    if not left.size:
        return left
    rising = array_values(u, x, left) <= 0
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        below = (array_values(u, x, middle) <= 0) == rising
        left, right = np.where(below, middle, left), np.where(below, right, middle)
    return (left + right) / 2


def _exact(u: sp.Expr, x: sp.Symbol, zero: float) -> sp.Expr:
    """Return the number of a simple form at which the argument vanishes, or the zero itself."""
    near = sp.Rational(zero)
    forms = [(near, 1), (near / sp.pi, sp.pi)]
    for value, unit in forms:
        guess = sp.Rational(float(value)).limit_denominator(DENOMINATOR) * unit
        if _vanishes(u, x, guess, zero):
            return guess
    if abs(zero) < 50:
        power = sp.Rational(float(sp.exp(near))).limit_denominator(DENOMINATOR)
        if power > 0 and _vanishes(u, x, sp.log(power), zero):
            return sp.log(power)
    return _polished(u, x, zero)


def _vanishes(u: sp.Expr, x: sp.Symbol, guess: sp.Expr, zero: float) -> bool:
    if abs(float(guess) - zero) > 1e-7 * (1 + abs(zero)):
        return False
    value = u.subs(x, guess).evalf(DIGITS, maxn=100)
    return bool(value.is_number and abs(value) < 1e-25)


def _polished(u: sp.Expr, x: sp.Symbol, zero: float) -> sp.Expr:
    """Return a zero to `DIGITS` digits by Newton's method, as it is where that does not settle."""
    point, slope = sp.Float(zero, DIGITS), sp.diff(u, x)
    for _ in range(4):
        below = slope.subs(x, point).evalf(DIGITS)
        step = u.subs(x, point).evalf(DIGITS) / below if below.is_number and below != 0 else sp.nan
        if not (step.is_Float and abs(step) < 1e-6 * (1 + abs(zero))):
            return sp.Float(zero, DIGITS)
        point -= step
    return sp.Float(point, DIGITS)
