r"""Gaussian averages as numbers of any precision, integrated with mpmath.

A smooth function is summed at equal steps, which converges geometrically for a Gaussian weight; one
with kinks or jumps is integrated piece by piece. Nothing here knows a closed form, so that closed
forms can be checked against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from resexpand.errors import UnsupportedError
from resexpand.expressions.numeric import value_at

GUARD = 5
"""Decimal digits carried beyond those that are asked for."""

AGREEING = 1e-13
"""Relative change in double precision."""

HALVINGS = 7
"""Of the step one; a function that needs more is integrated piece by piece."""

Function = Callable[..., Any]


def mp_function(expression: sp.Expr, *variables: sp.Symbol) -> Function:
    """Return a function of mpmath numbers; no name of a symbol reaches the generated text."""
    hidden = {v: sp.Dummy(real=True) for v in variables}
    written: Function = sp.lambdify(list(hidden.values()), expression.xreplace(hidden), "mpmath")
    return written


def average(function: Function, variance: Any, special: Sequence[Any] = ()) -> Any:
    """Return the average of a function over centred normals, to the precision of mpmath.

    Parameters
    ----------
    function : callable
        Of an mpmath number.
    variance : number
        Of the normals, ``>= 0``.
    special : sequence of numbers, optional
        Points at which the function has kinks or jumps.

    Raises
    ------
    UnsupportedError
        If the average is not finite.
    """
    digits = mpmath.mp.dps
    with mpmath.workdps(digits + GUARD):
        root = mpmath.sqrt(variance)
        if root == 0:
            return +function(mpmath.mpf(0))
        reach = mpmath.sqrt(2 * (digits + 2 * GUARD) * mpmath.log(10)) + 2

        def weighted(z: Any) -> Any:
            return mpmath.npdf(z) * function(root * z)

        value = None if special else _summed(weighted, reach, digits)
        if value is None:
            cuts = sorted(c for p in special if abs(c := mpmath.mpf(p) / root) < reach)
            # Behind the last kink the weight falls over some standard deviations.
            steps = [mpmath.mpf(s) for s in (-8, -3, -1, 0, 1, 3, 8)]
            edges = sorted({-reach, *cuts, *steps, reach})
            value = mpmath.fsum(mpmath.quad(weighted, pair) for pair in pairwise(edges))
        if not mpmath.isfinite(value):
            raise UnsupportedError(
                "a Gaussian average", "it is not finite", "choose a function with finite moments"
            )
    return +value


def pair_average(function: Function, covariance: Sequence[Any]) -> Any:
    """Return the average of a smooth function of two correlated normals, entries 11, 12, 22."""
    first, both, second = map(mpmath.mpf, covariance)
    slope = both / first if first else first
    rest = second - slope * both

    def over_second(x: Any) -> Any:
        return average(lambda y: function(x, slope * x + y), max(rest, 0))

    return average(over_second, first)


def grid_average(
    expression: sp.Expr, variables: Sequence[sp.Symbol], covariance: Sequence[Any]
) -> float | None:
    """Return the average of a smooth function of two correlated normals in double precision.

    None where halving the distance of the points goes on changing it.
    """
    first, both, second = map(float, covariance)
    slope = both / first if first else 0.0
    rest = max(second - slope * both, 0.0)
    last = math.nan
    for step in 2.0 ** -np.arange(1, 6):
        z = np.arange(-10, 10 + step / 2, step)
        weights = step * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        x = math.sqrt(first) * z[:, None]
        y = slope * x + math.sqrt(rest) * z
        values = value_at(expression, dict(zip(variables, (x, y), strict=True)))
        value = float(weights @ np.broadcast_to(values, (z.size, z.size)) @ weights)
        if abs(value - last) <= AGREEING * max(abs(value), 1e-300):
            return value
        last = value
    return None


def _summed(weighted: Function, reach: Any, digits: int) -> Any:
    """Return the sum over points at equal distances, halved until little changes; or None.

    Halving the distance squares the error, so that two thirds of the digits are enough to agree.
    """
    step = mpmath.mpf(1) / 2
    tolerance = mpmath.mpf(10) ** (-2 * digits // 3)
    count = int(reach / step)
    total = mpmath.fsum(weighted(step * i) for i in range(-count, count + 1))
    for _ in range(HALVINGS):
        count = int(reach / step)
        between = mpmath.fsum(weighted(step * (i + 0.5)) for i in range(-count - 1, count + 1))
        finer = (total + between) / 2
        if abs(finer - total) <= tolerance * abs(finer) or not (finer or total):
            return finer * step
        total, step = total + between, step / 2
    return None
