r"""Panels on which functions are resolved: the edges of a composite Gauss-Legendre rule.

Functions are looked at once, on the whole line, before any variance is known. A panel is halved
until the last Chebyshev coefficients of every function on it are below `TOLERANCE`, relative to the
largest value at arguments of that size; panels at singular points and over several powers of two
are cut in a fixed ratio. The edges therefore follow from the functions and not from their spelling:
they are dense where a function is steep, narrow, oscillating or singular, and nowhere else. This is
the way in which Chebfun resolves a piecewise smooth function (Pachon, Platte & Trefethen 2010).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FAR = 1e16
"""Arguments beyond are not looked at."""

OCTAVES = 4.0 ** np.arange(27)
"""Edges with which the search begins: a panel that is too long would step over the bend of tanh."""

DEGREE = 32
"""Degree of the interpolants: 16 nodes of Gauss integrate it exactly, and one more."""

TOLERANCE = 1e-13
"""Size of the last coefficients that counts as resolved."""

MOST = 1600
"""Panels; the outermost are left unresolved where more are needed."""

LEVELS = 130
SMALLEST = 1e-20
"""Width below which a panel at a singular point is not divided."""

CLOSE = np.array([1e-4, 1e-6, 1e-8, 1e-10])
"""Fractions of a panel next to its ends at which the interpolant is compared."""

_COUNT = DEGREE + 1
_ANGLES = np.pi * (np.arange(_COUNT) + 0.5) / _COUNT
_NODES = -np.cos(_ANGLES)
_COEFFICIENTS = np.polynomial.chebyshev.chebvander(_NODES, DEGREE).T * 2 / _COUNT
_COEFFICIENTS[0] /= 2
_PROBES = np.concatenate([2 * CLOSE - 1, 1 - 2 * CLOSE])
_AT_PROBES = np.polynomial.chebyshev.chebvander(_PROBES, DEGREE)

Functions = Callable[[Array], Array]
"""Values of several functions, shape ``(m, *x.shape)``."""


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


def panel_edges(functions: Functions, special: Sequence[float] = ()) -> Array:
    """Return sorted edges of panels on which all functions are resolved.

    Parameters
    ----------
    functions : callable
        Takes an array ``x`` and returns values of shape ``(m, *x.shape)``.
    special : sequence of float
        Points that must be edges: singular points, centres of narrow features.

    Returns
    -------
    ndarray
        Ascending, symmetric around zero, between ``-FAR`` and ``FAR``.
    """
    fixed = np.unique([0.0, *(p for p in special if abs(p) < FAR / 2)])
    start = np.unique(np.concatenate([fixed, OCTAVES, -OCTAVES]))
    sizes = _sizes(functions, fixed)
    left, right = start[:-1], start[1:]
    found = [start]
    for _ in range(LEVELS):
        open_ = ~_resolved(functions, left, right, sizes)
        room = MOST - sum(edges.size for edges in found)
        left, right = left[open_], right[open_]
        if not left.size or room <= 0:
            break
        if left.size > room:
            inner = np.argsort(np.minimum(np.abs(left), np.abs(right)))[:room]
            left, right = left[inner], right[inner]
        cut = _cuts(left, right, fixed)
        found.append(cut)
        left, right = np.concatenate([left, cut]), np.concatenate([cut, right])
    edges = np.concatenate(found)
    return np.unique(np.concatenate([edges, -edges]))


def _sizes(functions: Functions, fixed: Array) -> tuple[Array, Array]:
    """Return arguments and the largest values of the functions up to each."""
    near = (fixed[:, None] + np.array([-1e-3, -1e-6, 0, 1e-6, 1e-3])).ravel()
    reach = np.unique(np.abs(np.concatenate([np.geomspace(1e-24, FAR, 600), near])))
    return reach, running_size(functions, reach)


def running_size(functions: Functions, reach: Array) -> Array:
    """Return the largest finite values of functions at arguments up to some sizes, ascending."""
    values = [_finite(np.abs(functions(side * reach))) for side in (1.0, -1.0)]
    return np.maximum.accumulate(np.maximum(*values), axis=-1)


def _finite(values: Array) -> Array:
    return np.where(np.isfinite(values), values, 0.0)


def _resolved(
    functions: Functions, left: Array, right: Array, sizes: tuple[Array, Array]
) -> NDArray[np.bool_]:
    """Whether every function is resolved on each of some panels, or no division would help."""
    half, middle = (right - left) / 2, (left + right) / 2
    x = middle[:, None] + half[:, None] * np.concatenate([_NODES, _PROBES])
    values = functions(x)
    inner, probes = values[..., :_COUNT], values[..., _COUNT:]
    far = np.maximum(np.abs(left), np.abs(right))
    at = np.minimum(np.searchsorted(sizes[0], far), sizes[0].size - 1)
    size = np.maximum(sizes[1][:, at], _finite(np.abs(inner)).max(axis=-1))
    with np.errstate(all="ignore"):
        coefficients = inner @ _COEFFICIENTS.T
        tail = np.abs(coefficients[..., -4:]).max(axis=-1)
        missed = np.abs(coefficients @ _AT_PROBES.T - probes).max(axis=-1)
        steepest = np.abs(np.diff(inner, axis=-1) / np.diff(x[:, :_COUNT], axis=-1)).max(axis=-1)
        # The rounding of an argument shows in the values; no division removes it.
        allowed = TOLERANCE * size + 4 * np.finfo(float).eps * far * steepest
        good = (tail <= allowed) & (missed <= 100 * allowed)
    seen = np.isfinite(values)
    finite, lost = seen.all(axis=-1), ~seen.any(axis=-1)
    narrow = right - left <= np.maximum(1e-14 * far, SMALLEST)
    lost |= ~finite & (right - left < far / 16)
    return np.asarray(((good & finite) | lost).all(axis=0) | narrow)


def _cuts(left: Array, right: Array, fixed: Array) -> Array:
    """Return where panels are divided: in the middle, geometrically, or next to a fixed point."""
    cut = (left + right) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.maximum(left / right, right / left)
        wide = (left * right > 0) & (ratio > 8)
        cut = np.where(wide, np.sign(left) * np.sqrt(np.abs(left)) * np.sqrt(np.abs(right)), cut)
    at_left, at_right = np.isin(left, fixed), np.isin(right, fixed)
    cut = np.where(at_left & ~at_right & ~wide, left + (right - left) / 6, cut)
    return np.asarray(np.where(at_right & ~at_left & ~wide, right - (right - left) / 6, cut))
