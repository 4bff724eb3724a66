r"""Nested Gaussian averages as sums over panels, in arrays.

Variables ``v_k = sum_j L_kj z_j`` of standard normals ``z`` are integrated one ``z`` after the
other. On the way of ``z_j`` the variable ``k`` moves along a line with the slope ``L_kj``, smoothed
over the width ``sqrt(sum_{i>j} L_ki^2)`` that later normals give it. A panel ends where one of the
lines meets an edge that is left after the smoothing, as in the generated averages
(`resexpand.codegen.quadrature`); all panels of all rows are found in step. The normals stay within
a ball: beyond its radius the integrand times the density is negligible.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.intp]

LONGEST = 3.5
"""Longest panel, in standard deviations: it resolves the density."""

SMOOTHED = 3.0
"""Width of a panel that resolves what is smoothed over one unit."""

NEAREST, FARTHEST = 9.0, 38.0
"""Between these the range of integration ends; the normal density beyond is no double."""

NEGLIGIBLE, LOST = -39.0, -32.0
"""Logarithm of integrand times density, relative to its largest value, at which the range may end,
and above which it must not end at `FARTHEST`."""


class Resolved(NamedTuple):
    """Panels and sizes of integrands.

    Attributes
    ----------
    edges, points : ndarray
        Edges of panels and singular points, sorted, symmetric around zero, with ends beyond all
        arguments.
    places, sizes : ndarray
        Arguments, ascending, and logarithms of the largest value of an integrand up to each.
    """

    edges: Array
    points: Array
    places: Array
    sizes: Array


@dataclass(frozen=True)
class Line:
    """How a variable moves with the normal that is integrated: one entry per row.

    Attributes
    ----------
    shift, slope, width : ndarray, shape (n,)
        Its mean at zero, its slope, and the deviation that later normals give it.
    """

    shift: Array
    slope: Array
    width: Array


def reaches(deviations: Array, resolved: Resolved) -> Array:
    """Return the radius beyond which an integrand is negligible; NaN where there is none.

    Parameters
    ----------
    deviations : ndarray, shape (n, m)
        Standard deviations of the variables of n averages.
    resolved : Resolved
        Sizes of the integrand with all its variables equal.
    """
    r = np.arange(FARTHEST + 1)
    at = np.searchsorted(resolved.places, deviations[..., None] * r, side="right")
    ring = resolved.sizes[np.minimum(at, resolved.sizes.size - 1)].mean(axis=1) - r * r / 2
    best = np.maximum.accumulate(ring, axis=1)
    ends = (r > NEAREST) & (ring <= best + NEGLIGIBLE)
    found = np.where(ends.any(axis=1), r[ends.argmax(axis=1)], FARTHEST)
    return np.where((found < FARTHEST) | (ring[:, -1] <= best[:, -1] + LOST), found, np.nan)


def nodes_of(
    lines: list[Line], reach: Array, resolved: Resolved, rule: tuple[Array, Array]
) -> tuple[Integers, Array, Array]:
    """Return nodes and weights of the average over one normal, for many rows at once.

    Parameters
    ----------
    lines : list of Line
        Of all variables that depend on the normal.
    reach : ndarray, shape (n,)
        End of the range of every row.
    resolved : Resolved
        Of the integrand.
    rule : (ndarray, ndarray)
        Nodes and weights on ``[0, 1]``.

    Returns
    -------
    rows, z, weights : ndarray, shape (nodes,)
        The row that a node belongs to, the value of the normal, and the weight with its density.
    """
    found = list(_panels(lines, -reach, reach, resolved))
    rows, start, stop = (np.concatenate(parts) for parts in zip(*found, strict=True))
    length = (stop - start)[:, None]
    z = start[:, None] + length * rule[0]
    weights = length * rule[1] * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    return np.repeat(rows, rule[0].size), z.ravel(), weights.ravel()


def panels_of(low: float, high: float, width: float, resolved: Resolved) -> Array:
    """Return edges of panels between two values of a variable that is smoothed over a width."""
    ends = np.array([low]), np.array([high])
    line = Line(np.zeros(1), np.ones(1), np.array([width]))
    return np.array([low, *(stop[0] for _, _, stop in _panels([line], *ends, resolved, np.inf))])


def _panels(
    lines: list[Line], start: Array, end: Array, resolved: Resolved, longest: float = LONGEST
) -> Iterator[tuple[Integers, Array, Array]]:
    # A row whose end is no number has one panel without length, which leaves it NaN.
    rows = np.arange(end.size)
    while rows.size:
        length = end - start
        for line in lines:
            length = np.minimum(length, _step(line, start, resolved))
        length /= np.floor(length / longest) + 1
        stop = np.where(start + length < end, start + length, end)
        yield rows, start, stop
        left = stop < end
        rows, start, end = rows[left], stop[left], end[left]
        lines = [Line(i.shift[left], i.slope[left], i.width[left]) for i in lines]


def _step(line: Line, start: Array, resolved: Resolved) -> Array:
    """Return how far the normal may go until a line needs a new panel."""
    edges, points = resolved.edges, resolved.points
    slope = np.abs(line.slope)
    # Edges and points are symmetric around zero: a falling line is a rising one, mirrored.
    at = np.sign(line.slope) * line.shift + slope * start
    width = SMOOTHED * line.width
    close = 1e-13 * slope + 4e-16 * np.abs(at)
    first = np.searchsorted(edges, at + close, side="right")
    last = np.searchsorted(edges, at + np.maximum(width, close), side="right")
    top = edges.size - 1
    step = edges[np.minimum(np.maximum(first, last - 1), top)] - at
    after = np.minimum(np.searchsorted(points, at + close, side="right"), points.size - 1)
    ahead = points[after] - at
    smooth = line.width > 0
    far = smooth & (ahead > 1.5 * width)
    step = np.where(far, np.minimum(step, np.maximum(ahead - width, ahead * (2 / 3))), step)
    behind = np.maximum(width, 2 * (at - points[np.maximum(after - 1, 0)]))
    step = np.where(smooth & (after > 0), np.minimum(step, behind), step)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((slope > 0) & (step > 0), step / slope, np.inf)
