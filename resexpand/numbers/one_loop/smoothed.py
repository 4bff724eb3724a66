r"""Functions smoothed by a Gaussian, as a table: ``G(v) = <g(v + s z)>`` on a range of ``v``.

On panels that resolve the smoothed functions they are Chebyshev interpolants. The compiled loop
that reads the table inside a sum is the same for all functions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.source import module_source
from resexpand.codegen.store import load
from resexpand.gaussian.panels import Resolved
from resexpand.numbers.one_loop.panel_nodes import Line, nodes_of, panels_of

Array = NDArray[np.float64]
Integers = NDArray[np.intp]

GROWTH = 6.0
"""Logarithm by which a product of four features may grow on a panel."""

LOOP = '''@driver
def add_products(rows, v, weights, first, edges, coefficients, out):
    """Add to out[row] the terms ``g G, b G, s S, g B, g^2 Q`` of a sum.

    Rows of first: g, s, b. Interpolants of G, S, B, Q: (panels, n, 4), from the last coefficient
    down.
    """
    last = edges.size - 2
    panel = 0
    for i in range(v.size):
        # Neighbours lie close together.
        while panel > 0 and v[i] < edges[panel]:
            panel -= 1
        while panel < last and v[i] >= edges[panel + 1]:
            panel += 1
        left, right = edges[panel], edges[panel + 1]
        t = 2.0 * ((v[i] - left) - (right - v[i])) / (right - left)
        a0 = a1 = a2 = a3 = 0.0
        b0 = b1 = b2 = b3 = 0.0
        for row in coefficients[panel]:
            a0, b0 = row[0] + t * a0 - b0, a0
            a1, b1 = row[1] + t * a1 - b1, a1
            a2, b2 = row[2] + t * a2 - b2, a2
            a3, b3 = row[3] + t * a3 - b3, a3
        smooth = weights[i] * (a0 - 0.5 * t * b0)
        g, s, b = first[0, i], first[1, i], first[2, i]
        total = out[rows[i]]
        total[0] += g * smooth
        total[1] += b * smooth
        total[2] += s * weights[i] * (a1 - 0.5 * t * b1)
        total[3] += g * weights[i] * (a2 - 0.5 * t * b2)
        total[4] += g * g * weights[i] * (a3 - 0.5 * t * b3)
'''

Functions = Callable[[Array, Array, float], Array]
"""Values at ``v + width z``, given ``v``, ``z`` and the width: shape ``(4, *v.shape)``."""


class Smoothed(NamedTuple):
    """Interpolants of four smoothed functions, coefficients from the last one down."""

    edges: Array
    coefficients: Array

    def products(self, rows: Integers, v: Array, weights: Array, first: Array, count: int) -> Array:
        """Return sums over the nodes of each row, see `LOOP`: shape ``(5, count)``."""
        out = np.zeros((count, 5))
        load(_source()).add_products(rows, v, weights, first, *self, out)
        return out.T


@cache
def _source() -> str:
    return module_source([LOOP])


def smoothed(
    functions: Functions,
    width: float,
    ends: tuple[float, float],
    resolved: Resolved,
    rule: tuple[Array, Array],
    reach: float,
) -> Smoothed:
    """Return averages ``<g(v + width z)>`` of four functions.

    Nodes of the interpolants are twice those of the rule: two rules make two tables.

    Parameters
    ----------
    functions : callable
        What is averaged.
    width : float
        Deviation of the smoothing, ``> 0``.
    ends : (float, float)
        Smallest and largest ``v``.
    resolved : Resolved
        Panels of the functions.
    rule : (ndarray, ndarray)
        Rule on a panel.
    reach : float
        Range of ``z``.
    """
    edges = _slowly_growing(panels_of(*ends, width, resolved), width, resolved)
    count = 2 * rule[0].size
    nodes = -np.cos(np.pi * (np.arange(count) + 0.5) / count)
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    v = (middle[:, None] + half[:, None] * nodes).ravel()
    line = Line(v, np.full_like(v, width), np.zeros_like(v))
    rows, z, weights = nodes_of([line], np.full_like(v, reach), resolved, rule)
    values = weights * functions(v[rows], z, width)
    means = np.stack([np.bincount(rows, row, minlength=v.size) for row in values])
    basis = np.polynomial.chebyshev.chebvander(nodes, count - 1)[:, ::-1] * 2 / count
    basis[:, -1] /= 2
    table = means.reshape((4, middle.size, count)) @ basis
    return Smoothed(edges, np.ascontiguousarray(np.moveaxis(table, 0, 2)))


def _slowly_growing(edges: Array, width: float, resolved: Resolved) -> Array:
    """Divide panels over which the functions grow: an interpolant errs by its largest value."""
    at = np.searchsorted(resolved.places, np.abs(edges) + width, side="right")
    size = resolved.sizes[np.minimum(at, resolved.sizes.size - 1)]
    pieces = 1 + np.floor(np.abs(np.diff(size)) / GROWTH).astype(int)
    parts = [
        np.linspace(left, right, count, endpoint=False)
        for left, right, count in zip(edges[:-1], edges[1:], pieces, strict=True)
    ]
    return np.append(np.concatenate(parts), edges[-1])
