"""Numbers behind a bound: the majorant layer by layer, in 60 digits, rounded up at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import sympy as sp

from resexpand.theory.remainder.layers import (
    at_depth,
    orders_of_layers,
    orders_per_depth,
    unit_weights,
)
from resexpand.theory.remainder.majorant import Majorant

DIGITS = 60
"""Working precision."""

HUGE = 10**12
"""States beyond this many radii count as infinite: no network follows them."""


def number(expression: Any) -> Any:
    """Return an exact number in the current precision of mpmath."""
    return mpmath.mpmathify(sp.N(sp.sympify(expression, strict=True), mpmath.mp.dps))


def rounded_up(value: Any) -> float:
    """Return a float that is not below a number."""
    with mpmath.workdps(DIGITS):
        exact = number(value) if isinstance(value, sp.Basic) else value
        if not mpmath.isfinite(exact):
            return math.inf
        rounded = float(exact)
        return rounded if rounded >= exact else math.nextafter(rounded, math.inf)


def remainder_of_layers(majorant: Majorant, order: int, scales: Sequence[sp.Expr]) -> float:
    """Return ``S_n`` minus its orders up to one, rounded up; infinite beyond the radius.

    Parameters
    ----------
    majorant : Majorant
        In numbers.
    order : int
        Last order kept.
    scales : sequence of sympy.Expr
        Absolute value of the scale of each block.
    """
    if len(scales) == 1:
        return 0.0
    with mpmath.workdps(DIGITS):
        _, state = _states(majorant, scales)
        if not mpmath.isfinite(state):
            return math.inf
        rest = max(state - mpmath.fsum(_orders(majorant, order, scales)), 0)
        # Far above the rounding of the working precision, far below any double.
        return rounded_up(rest + state * mpmath.mpf(10) ** (10 - DIGITS))


def converges(majorant: Majorant, scales: Sequence[sp.Expr]) -> bool:
    """Whether the majorant stays inside of its radius up to the last block."""
    with mpmath.workdps(DIGITS):
        before, state = _states(majorant, scales)
        return bool(mpmath.isfinite(state) and before < _function(majorant)[1])


def _states(majorant: Majorant, scales: Sequence[sp.Expr]) -> tuple[Any, Any]:
    """Return ``S_{n-1}`` and ``S_n``."""
    known = {scale: number(scale) for scale in set(scales)}
    function, end = _function(majorant)
    before, state = mpmath.mpf(0), mpmath.mpf(0)
    for scale in scales:
        before = state
        if state >= end or state > HUGE * number(majorant.R):
            return before, mpmath.inf
        state = state + known[scale] * function(state)
    return before, state


def _function(majorant: Majorant) -> tuple[Callable[[Any], Any], Any]:
    """Return ``fhat`` on mpmath numbers, and where it ends."""
    big, radius = number(majorant.M), number(majorant.R)
    corrections = [
        number(bound - majorant.of_family(m)) / math.factorial(m)
        for m, bound in enumerate(majorant.bounds)
    ]
    ends = majorant.family.radius is not None

    def function(s: Any) -> Any:
        family = 1 / (1 - s / radius) if ends else mpmath.exp(s / radius)
        return big * family + mpmath.polyval(corrections[::-1] or [0], s)

    return function, radius if ends else mpmath.inf


def _orders(majorant: Majorant, order: int, scales: Sequence[sp.Expr]) -> list[Any]:
    """Return the bounds of the orders 1 .. k."""
    weights = [number(weight) for weight in unit_weights(majorant, order)]
    unit, radius = number(majorant.M) / number(majorant.R), number(majorant.R)
    if len(set(scales)) > 1:
        steps = [number(scale) * unit for scale in scales]
        return [radius * value for value in orders_of_layers(weights, steps)[1:]]
    step, values = number(scales[0]) * unit, orders_per_depth(weights)
    return [radius * at_depth(values[j], len(scales)) * step**j for j in range(1, order + 1)]
