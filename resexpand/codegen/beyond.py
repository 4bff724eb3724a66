"""Points at which closed averages have lost their digits are computed again by quadrature.

Closed averages of functions that stop growing are differences of terms that grow, and end at some
variance (`resexpand.activations.in_range`). Quadrature has no such end, but is slower: it takes the
points of a grid that are no numbers, and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.arguments import sampled
from resexpand.codegen.binding import Point
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


def without_limits(recursion: Recursion) -> Recursion | None:
    """Return a recursion whose averages end nowhere, None if those of the given one do not."""
    laws = tuple((label, law.without_limit()) for label, law in recursion.laws)
    return None if laws == recursion.laws else replace(recursion, laws=laws)


def completed(found: Found, point: Point, compute: Callable[[Point], Found]) -> Found:
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
