"""Gauss-Legendre rules: on one panel, and on many.

Gaussian averages are sums over panels on which the integrand is resolved
(`resexpand.gaussian.panels`). The rule on a panel comes in two resolutions; the difference of their
results is the stated error.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ORDER = {"fine": 16, "coarse": 12, "lower": 11, "lowest": 9}
"""Nodes of a panel. Sums over four variables take the lower ones."""

Resolution = Literal["fine", "coarse", "lower", "lowest"]


Array = NDArray[np.float64]


def unit_rule(nodes: int, panels: int = 1) -> tuple[Array, Array]:
    """Return nodes and weights on ``[0, 1]``, cut into panels of equal length."""
    x, weights = np.polynomial.legendre.leggauss(nodes)
    places = (np.arange(panels)[:, None] + (x + 1) / 2) / panels
    return places.ravel(), np.tile(weights / (2 * panels), panels)


def panel_rule(resolution: Resolution = "fine") -> tuple[Array, Array]:
    """Return nodes and weights of the rule on ``[0, 1]`` at a resolution."""
    return unit_rule(ORDER[resolution])


def composite_rule(edges: Array, nodes: int) -> tuple[Array, Array]:
    """Return nodes and weights on the panels between edges, both along the last axis."""
    x, weights = np.polynomial.legendre.leggauss(nodes)
    middle, half = (edges[..., 1:] + edges[..., :-1]) / 2, np.diff(edges) / 2
    flat: Any = (*edges.shape[:-1], -1)
    places = middle[..., None] + half[..., None] * x
    return places.reshape(flat), (half[..., None] * weights).reshape(flat)
