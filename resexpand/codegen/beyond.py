"""Points at which averages have lost their digits are computed again in another form.

Closed averages of functions that stop growing are differences of terms that grow, and end at some
variance (`resexpand.activations.in_range`). Quadrature has no such end, but is slower: it takes the
points of a grid that are no numbers, and no others.

The derivative of an average by a variance K is ``<(phi^2)''>/2`` or ``<x (phi^2)'>/(2 K)``. The
first has all digits at small variances; at large ones its integral vanishes to leading order if
phi saturates, and the second form is taken (`by_parts`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.arguments import sampled
from resexpand.codegen.binding import Point
from resexpand.codegen.values import QUADRATURE_LIMIT
from resexpand.theory.recursion import Recursion

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """Outputs of a routine on a grid.

    Attributes
    ----------
    arrays : mapping of str to ndarray
        In their final shape, the axes of the grid first.
    error : mapping of str to float
        Relative error of the outputs that rest on quadrature.
    unresolved : tuple of str
        Sentences on differences that are rounding.
    is_finite : bool
        Whether all numbers are known to be finite.
    """

    arrays: Mapping[str, Array]
    error: Mapping[str, float] = field(default_factory=dict)
    unresolved: tuple[str, ...] = ()
    is_finite: bool = False


Compute = Callable[[Point], Found]


def without_limits(recursion: Recursion) -> Recursion | None:
    """Return a recursion whose averages end nowhere, None if those of the given one do not."""
    laws = tuple((label, law.without_limit()) for label, law in recursion.laws)
    return None if laws == recursion.laws else replace(recursion, laws=laws)


def by_parts(recursion: Recursion) -> Recursion:
    """Return a recursion whose averages are differentiated on their weight."""
    laws = tuple((label, replace(law, by_parts=True)) for label, law in recursion.laws)
    return replace(recursion, laws=laws)


def is_poor(found: Found) -> bool:
    """Whether some output is no number, or its quadrature is worse than `QUADRATURE_LIMIT`."""
    poor = any(error > QUADRATURE_LIMIT for error in found.error.values())
    return poor or not all(np.isfinite(array).all() for array in found.arrays.values())


def improved(found: Found, point: Point, plain: Compute, moved: Compute) -> Found:
    """Return outputs with the points of large variance computed by parts, if that is better.

    Parameters
    ----------
    found : Found
        What the plain form gave on the whole grid.
    point : Point
        Where.
    plain, moved : callable
        Compute the outputs on a grid of one axis, in either form.
    """
    is_matrix = point.kernel.ndim > len(point.grid)
    axes = (-2, -1) if is_matrix else ()
    count = int(np.prod(point.grid, dtype=int))
    sizes = np.broadcast_to(np.abs(point.kernel).max(axis=axes), point.grid).reshape(count)
    large, small = np.nonzero(sizes > 1)[0], np.nonzero(~(sizes > 1))[0]
    if not large.size:
        return found
    again = moved(sampled(point, large, matrix=is_matrix))
    before = plain(sampled(point, large, matrix=is_matrix)) if small.size else found
    rest = plain(sampled(point, small, matrix=is_matrix)) if small.size else Found({})
    arrays, error = dict(found.arrays), dict(found.error)
    for name, array in found.arrays.items():
        whole = np.array(array)
        flat = whole.reshape(-1, *whole.shape[len(point.grid) :])
        is_number = np.isfinite(again.arrays[name]).all() or not np.isfinite(flat[large]).all()
        if name in error and is_number and again.error[name] <= before.error[name]:
            flat[large] = again.arrays[name]
            arrays[name] = flat.reshape(whole.shape)[()]
            error[name] = max(again.error[name], rest.error.get(name, 0.0))
    return Found(arrays, error, found.unresolved)


def completed(found: Found, point: Point, compute: Compute) -> Found:
    """Return outputs with the points that are no numbers computed in another way.

    Parameters
    ----------
    found : Found
        What closed averages gave.
    point : Point
        Where.
    compute : callable
        Computes the outputs on a grid of one axis.
    """
    lost = _lost(found, point)
    if not lost.size:
        return found
    is_matrix = point.kernel.ndim - len(point.grid) == 2 or bool(point.variances)
    again = compute(sampled(point, lost, matrix=is_matrix))
    arrays = {}
    for name, array in found.arrays.items():
        whole = np.array(array)
        flat = whole.reshape(-1, *whole.shape[len(point.grid) :])
        flat[lost] = again.arrays[name]
        arrays[name] = flat.reshape(whole.shape)[()]
    names = {*found.error, *again.error}
    error = {n: max(found.error.get(n, 0.0), again.error.get(n, 0.0)) for n in names}
    unresolved = tuple(dict.fromkeys((*found.unresolved, *again.unresolved)))
    return Found(arrays, error, unresolved)


def _lost(found: Found, point: Point) -> NDArray[np.int_]:
    """Return the points of the flat grid at which some output is no number."""
    bad = np.zeros(int(np.prod(point.grid, dtype=int)), dtype=bool)
    for array in found.arrays.values():
        own = np.asarray(array)
        bad |= np.isnan(own).reshape(bad.size, -1).any(axis=1)
    return np.nonzero(bad)[0]
