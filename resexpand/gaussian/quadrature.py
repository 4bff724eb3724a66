r"""Quadrature rules for Gaussian averages.

Smooth integrands: the trapezoidal rule in the standard normal variable ``z`` on
``[-CUTOFF, CUTOFF]``, which converges geometrically (Trefethen & Weideman 2014) and, unlike
Gauss-Hermite, does not lose its nodes far outside a saturating activation. Integrands with kinks or
jumps: Gauss-Legendre panels between the singular points. Every rule comes in two resolutions; the
difference of their results is the stated error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

CUTOFF = 8.6
"""Half-width of the integration range in ``z``; the Gaussian weight beyond is below 1e-17."""

SMOOTH_NODES = {"fine": 241, "coarse": 132}
"""Node counts. The 240 and 131 steps have no common divisor: an oscillation in step with one rule
is out of step with the other, so that the two differ."""

PANELS = {"fine": 6, "coarse": 3}
PANEL_ORDER = 16

Resolution = Literal["fine", "coarse"]


@dataclass(frozen=True)
class Rule:
    """Nodes and weights of a rule.

    Attributes
    ----------
    nodes, weights : ndarray
        For ``smooth`` rules nodes in ``z`` and weights that hold the normal density; for
        ``panel`` rules nodes in ``[0, 1]`` and plain weights, scaled to every panel by the caller.
    """

    nodes: NDArray[np.float64]
    weights: NDArray[np.float64]


def smooth_rule(resolution: Resolution = "fine") -> Rule:
    """Return the trapezoidal rule in the standard normal variable."""
    count = SMOOTH_NODES[resolution]
    nodes = np.linspace(-CUTOFF, CUTOFF, count)
    density = np.exp(-(nodes**2) / 2) / np.sqrt(2 * np.pi)
    # The difference of two nodes would carry their rounding, 1e-14 of the step.
    return Rule(nodes, density * (2 * CUTOFF / (count - 1)))


def panel_rule(resolution: Resolution = "fine") -> Rule:
    """Return a composite Gauss-Legendre rule on ``[0, 1]``."""
    points, weights = np.polynomial.legendre.leggauss(PANEL_ORDER)
    count = PANELS[resolution]
    edges = np.arange(count) / count
    nodes = (edges[:, None] + (points + 1) / (2 * count)).ravel()
    return Rule(nodes, np.tile(weights / (2 * count), count))
