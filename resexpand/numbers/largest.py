"""The largest maximum of a function along a line, at every point of a grid of hyperparameters.

A function is scanned on a line that reaches from where nothing has changed yet to the end of its
range, and the `TRIED` highest of its local maxima are looked at more closely: by two finer scans,
then by bisecting the sign of the slope. Values decide which one is largest, the two ends
included; where a value is not known, the line ends, and the largest one before it counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function = Callable[[Array], Array]
"""From places of shape (rows, points) to values of that shape."""

TRIED = 3
"""Local maxima that are looked at more closely: those of the scan are known to its spacing."""

ZOOM = 17
"""Places of a finer scan."""

BISECTIONS = 60

ROUNDING = 1e-9
"""Difference of logarithms that does not tell one value from another."""


@dataclass(frozen=True)
class Largest:
    """Where a function is largest, per point.

    Attributes
    ----------
    place : ndarray
        Of the largest maximum inside the range, NaN if there is none or an end is larger; before
        an end that is only where knowledge ends, the largest one inside.
    at_start, at_end : ndarray of bool
        Whether the value at this end is larger than at every maximum inside.
    complete : ndarray of bool
        Whether the function is known on the whole line.
    end : ndarray
        Last place at which it is known.
    """

    place: Array
    at_start: NDArray[np.bool_]
    at_end: NDArray[np.bool_]
    complete: NDArray[np.bool_]
    end: Array


def largest(places: Array, values: Array, value: Function, slope: Function) -> Largest:
    """Return where a function is largest.

    Parameters
    ----------
    places : ndarray, shape (rows, points)
        Increasing along the first axis, from the start to the end of the range.
    values : ndarray, shape (rows, points)
        The function there; NaN where it is not known.
    value, slope : callable
        The function up to a constant per point, and anything with the sign of its slope.
    """
    rows, points = values.shape
    columns = np.arange(points)
    known = np.logical_and.accumulate(np.isfinite(values) | (values == -np.inf), axis=0)
    count = np.maximum(known.sum(axis=0), 1)
    values = np.where(known, values, -np.inf)
    inside = np.full(values.shape, False)
    inside[1:-1] = (values[1:-1] > values[:-2]) & (values[1:-1] >= values[2:])
    # The last known value has no neighbour to be compared with.
    inside[count - 1, columns] = False
    # A maximum within the first cell shows in the slope alone.
    inside[0] = (values[0] >= values[min(1, rows - 1)]) & (slope(places[:1])[0] > 0)
    best, height = np.full(points, np.nan), np.full(points, -np.inf)
    heights = np.where(inside, values, -np.inf)
    for _ in range(TRIED):
        index = heights.argmax(axis=0)
        is_inside = inside[index, columns]
        low = places[np.maximum(index - 1, 0), columns]
        high = places[np.minimum(index + 1, rows - 1), columns]
        place, turns = _refined(low, high, value, slope)
        reached = value(place[None])[0] - value(places[index, columns][None])[0]
        reached += values[index, columns]
        better = is_inside & turns & (reached > height)
        best, height = np.where(better, place, best), np.where(better, reached, height)
        inside[index, columns], heights[index, columns] = False, -np.inf
    last = values[count - 1, columns]
    rising = (count > 1) & (last > values[np.maximum(count - 2, 0), columns])
    at_end = rising & (last > np.maximum(height, values[0]) + ROUNDING)
    # A maximum that is as high as the start to rounding counts if it was climbed to.
    at_start = ~at_end & ~((height > values[0]) & np.isfinite(best))
    complete = count == rows
    place = np.where(at_start | (at_end & complete), np.nan, best)
    return Largest(place, at_start, at_end, complete, places[count - 1, columns])


def _refined(
    low: Array, high: Array, value: Function, slope: Function
) -> tuple[Array, NDArray[np.bool_]]:
    """Return the highest place between two, and whether the slope changes its sign there."""
    columns, steps = np.arange(low.size), np.linspace(0.0, 1.0, ZOOM)[:, None]
    for _ in range(2):
        scan = low + steps * (high - low)
        index = np.nan_to_num(value(scan), nan=-np.inf).argmax(axis=0)
        low, high = (scan[np.clip(index + shift, 0, ZOOM - 1), columns] for shift in (-1, 1))
    middle = (low + high) / 2
    rises = slope(middle[None])[0] > 0
    low, high = np.where(rises, middle, low), np.where(rises, high, middle)
    turns = (slope(low[None])[0] > 0) & (slope(high[None])[0] <= 0)
    low, high = bisected(lambda middle: slope(middle[None])[0] > 0, low, high)
    return (low + high) / 2, turns


def bisected(below: Function, low: Array, high: Array) -> tuple[Array, Array]:
    """Return ends around the places up to which something holds, `BISECTIONS` times closer."""
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        holds = below(middle)
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    return low, high
