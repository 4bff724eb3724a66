r"""Nested Gaussian averages as sums over panels, in arrays.

Variables ``v_k = sum_j L_kj z_j`` of standard normals ``z`` are integrated one ``z`` after the
other. On the way of ``z_j`` the variable ``k`` moves along a line with the slope ``L_kj``, smoothed
over the width ``sqrt(sum_{i>j} L_ki^2)`` that later normals give it. A panel ends where one of the
lines meets an edge that is left after the smoothing, as in the generated averages
(`resexpand.codegen.quadrature`). The normals stay within a ball: beyond its radius the integrand
times the density is negligible.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.panels import FARTHEST, LONGEST, LOST, NEAREST, NEGLIGIBLE, SMOOTHED
from resexpand.codegen.source import module_source
from resexpand.codegen.store import load
from resexpand.gaussian.panels import Resolved

Array = NDArray[np.float64]
Integers = NDArray[np.intp]

GUESS = 12
"""Panels of a row for which there is room at first."""

_TEXTS = (
    f'''@chunk
def step(shift, slope, width, start, edges, points):
    """Return how far the normal may go until a line needs a new panel."""
    steep = abs(slope)
    if not steep > 0.0:
        return np.inf
    # Edges and points are symmetric around zero: a falling line is a rising one, mirrored.
    at = (shift if slope > 0.0 else -shift) + steep * start
    wide = {SMOOTHED} * width
    close = 1e-13 * steep + 4e-16 * abs(at)
    first = np.searchsorted(edges, at + close, side="right")
    last = np.searchsorted(edges, at + max(wide, close), side="right")
    length = edges[min(max(first, last - 1), edges.size - 1)] - at
    if width > 0.0:
        after = min(np.searchsorted(points, at + close, side="right"), points.size - 1)
        ahead = points[after] - at
        if ahead > 1.5 * wide:
            length = min(length, max(ahead - wide, ahead * (2.0 / 3.0)))
        if after > 0:
            length = min(length, max(wide, 2.0 * (at - points[after - 1])))
    return length / steep if length > 0.0 else np.inf
''',
    '''@driver
def panels(shift, slope, width, start, end, longest, edges, points, rows, starts, stops):
    """Fill in the panels of all rows while there is room; return how many there are."""
    count = 0
    for row in range(end.size):
        at, last = start[row], end[row]
        # A row whose end is no number has one panel without length, which leaves it NaN.
        more = True
        while more:
            length = last - at
            for line in range(shift.shape[0]):
                way = step(shift[line, row], slope[line, row], width[line, row], at, edges, points)
                if way < length:
                    length = way
            length /= np.floor(length / longest) + 1.0
            stop = at + length if at + length < last else last
            if count < rows.size:
                rows[count], starts[count], stops[count] = row, at, stop
            count += 1
            more = stop < last
            at = stop
    return count
''',
)


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


@cache
def _source() -> str:
    return module_source(_TEXTS)


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
    rows, start, stop = _panels(lines, -reach, reach, resolved)
    length = (stop - start)[:, None]
    z = start[:, None] + length * rule[0]
    weights = length * rule[1] * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    return np.repeat(rows, rule[0].size), z.ravel(), weights.ravel()


def panels_of(low: float, high: float, width: float, resolved: Resolved) -> Array:
    """Return edges of panels between two values of a variable that is smoothed over a width."""
    ends = np.array([low]), np.array([high])
    line = Line(np.zeros(1), np.ones(1), np.array([width]))
    return np.array([low, *_panels([line], *ends, resolved, np.inf)[2]])


def _panels(
    lines: list[Line], start: Array, end: Array, resolved: Resolved, longest: float = LONGEST
) -> tuple[Integers, Array, Array]:
    """Return row, start and stop of all panels, row by row."""
    along = [
        np.stack([getattr(line, name) for line in lines]) for name in ("shift", "slope", "width")
    ]
    given = (*along, start, end, longest, resolved.edges, resolved.points)
    run, room = load(_source()).panels, GUESS * end.size
    while True:
        rows, starts, stops = np.empty(room, dtype=np.intp), np.empty(room), np.empty(room)
        count = run(*given, rows, starts, stops)
        if count <= room:
            return rows[:count], starts[:count], stops[:count]
        room = count
