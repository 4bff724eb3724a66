"""Where the panels of a quadrature end: functions of numbers and edges that no expression enters.

Every average that is computed on panels calls them by address (`resexpand.codegen.outlined`), so
that they are compiled once per machine. A product that leaves double precision where its factors
are taken in another order stands in a function of its own, where the compiler keeps the order.
"""

from __future__ import annotations

import math
from typing import Any

from resexpand.codegen.tiles import kept, outline

LONGEST = 3.5
"""Longest panel, in standard deviations: it resolves the density."""

SMOOTHED = 3.0
"""Width of a panel that resolves a function smoothed over one unit."""

NEAREST, FARTHEST = 9.0, 38.0
"""Between these the range of integration ends; the normal density beyond is no double."""

NEGLIGIBLE, LOST = -39.0, -32.0
"""Logarithm of integrand times density, relative to its largest value, at which the range may end,
and above which it must not end at `FARTHEST`."""

HUGE = 1e30


def panel(name: str) -> Any:
    """Return what stands for a function of this module in a routine of the CPU."""
    return outline(globals()[name])


def inlined(function: Any) -> Any:
    """Compile a part of the other functions.

    Left open, Numba would take whether it is inlined from whatever asks for its compilation first.
    """
    return kept(function, forceinline=True)


@inlined
def first_beyond(at: float, edges: Any) -> int:
    """Return the first edge beyond a point, or the last edge."""
    low = 0
    high = edges.size - 1
    while low < high:
        middle = (low + high) // 2
        if edges[middle] > at:
            high = middle
        else:
            low = middle + 1
    return low


@inlined
def end_of(start: float, stop: float, reach: float) -> float:
    """Return the end of the first of the equal panels up to a stop, none longer than allowed."""
    end = stop if stop > start else reach
    pieces = int((end - start) / LONGEST) + 1
    # An edge is met to its last digit: those around it may be far closer than one rounding.
    return end if pieces == 1 else start + (end - start) / float(pieces)


@kept
def line_stop(start: float, reach: float, shift: float, scale: float, edges: Any) -> Any:
    """Return the end of a panel in z for a function of ``shift + scale z``."""
    stop = reach
    if scale > 0.0:
        at = shift + scale * start
        close = 1e-15 * (abs(shift) + scale * abs(start))
        stop = min(reach, (edges[first_beyond(at + close, edges)] - shift) / scale)
    return end_of(start, stop, reach)


@kept
def smoothed_stop(
    start: float, reach: float, a: float, b: float, c: float, edges: Any, points: Any
) -> Any:
    """Return the end of a panel in z for a function of ``a z`` times one of ``b z``, smoothed.

    Edges and points are symmetric around zero, so that a negative slope b needs no other list.
    """
    stop = line_stop(start, reach, 0.0, a, edges)
    slope = abs(b)
    if slope == 0.0:
        return stop
    at = slope * start
    width = SMOOTHED * c
    close = 1e-15 * abs(at)
    first = first_beyond(at + close, edges)
    last = first_beyond(at + max(width, close), edges)
    end = edges[max(first, last - 1)]
    if c > 0.0:
        after = first_beyond(at + close, points)
        ahead = points[after] - at
        if ahead > 1.5 * width:
            end = min(end, at + min(ahead - width, ahead * (2 / 3)))
        if after > 0:
            end = min(end, at + max(width, 2.0 * (at - points[after - 1])))
    # Beyond the last edges the function looks like a jump or a kink at zero.
    if edges.size > 2 and width > edges[edges.size - 2]:
        if -at > 1.5 * width:
            end = min(end, at + min(-at - width, -at * (2 / 3)))
        elif at >= -close:
            end = min(end, at + max(width, 2.0 * at))
    if end > at:
        stop = min(stop, end / slope)
    return end_of(start, stop, reach)


@kept
def reach_of(first: float, second: float, places: Any, sizes: Any) -> float:
    """Return the end of the range for inputs of two deviations; NaN where there is none.

    Two standard normal variables at a distance r from the origin reach r times the deviations.
    """
    # Below the first place the integrand may be rounding alone, and its size is NaN.
    known = sizes[first_beyond(first, places)] if first > 0.0 else 0.0
    known += sizes[first_beyond(second, places)] if second > 0.0 else 0.0
    if math.isnan(known):
        return math.nan
    best = -HUGE
    ring = 0.0
    r = 1.0
    while r < FARTHEST and (r <= NEAREST or ring > best + NEGLIGIBLE):
        size = sizes[first_beyond(first * r, places)] + sizes[first_beyond(second * r, places)]
        ring = 0.5 * (size - r * r)
        best = max(best, ring)
        r += 1.0
    return r if r < FARTHEST or ring <= best + LOST else math.nan


@kept
def residual_variance(k0: float, k1: float, k2: float, b: float) -> float:
    """Return the variance that the second of two inputs keeps, given the first.

    If one variance vanishes, only the other input is integrated. For equal variances, k0 - k1 is
    formed first, which keeps the digits of nearly parallel inputs; a residual at the level of
    rounding counts as zero. The product of two kernels leaves double precision at 1e154.
    """
    if k0 == k2 and k0 > 0.0:
        left = (k0 - k1) * ((k0 + k1) / k0)
        return left if left > 0.0 else 0.0
    left = k2 - b * b
    return left if left > 4e-16 * k2 else 0.0
