r"""Quadrature rules for Gaussian averages, and a slow reference at any precision.

Smooth integrands: the trapezoidal rule in the standard normal variable ``z`` on
``[-CUTOFF, CUTOFF]``, which converges geometrically (Trefethen & Weideman 2014) and, unlike
Gauss-Hermite, does not lose its nodes far outside a saturating activation. Integrands with kinks or
jumps: Gauss-Legendre panels between the singular points. Every rule comes in two resolutions; the
difference of their results is the stated error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import mpmath
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


def reference_average(
    function: Callable[..., mpmath.mpf],
    covariance: tuple[float | mpmath.mpf, ...],
    breaks: tuple[float, ...] = (),
    digits: int = 50,
) -> mpmath.mpf:
    """Return a Gaussian average by adaptive quadrature at high precision.

    Parameters
    ----------
    function : callable
        Function of one or two mpmath numbers.
    covariance : tuple of number
        ``(K,)`` or ``(K11, K12, K22)``, positive definite.
    breaks : tuple of float
        Points of the variables where the function is not smooth.
    digits : int
        Decimal digits carried.

    Returns
    -------
    mpmath.mpf
    """
    with mpmath.workdps(digits):
        if len(covariance) == 1:
            scale = mpmath.sqrt(covariance[0])
            edges = _edges([mpmath.mpf(b) / scale for b in breaks])
            return mpmath.quad(lambda z: mpmath.npdf(z) * function(scale * z), edges)
        k11, k12, k22 = map(mpmath.mpf, covariance)
        a = mpmath.sqrt(k11)
        b = k12 / a
        c = mpmath.sqrt(k22 - b**2)

        def inner(z: mpmath.mpf) -> mpmath.mpf:
            edges = _edges([(point - b * z) / c for point in breaks])
            return mpmath.quad(lambda y: mpmath.npdf(y) * function(a * z, b * z + c * y), edges)

        edges = _edges([mpmath.mpf(point) / a for point in breaks])
        return mpmath.quad(lambda z: mpmath.npdf(z) * inner(z), edges)


def _edges(breaks: list[mpmath.mpf]) -> list[mpmath.mpf]:
    """Return integration limits with enough subdivisions for the digits in force."""
    limit = mpmath.sqrt(2 * mpmath.mp.dps * mpmath.log(10)) + 2
    inside = {b for b in breaks if -limit < b < limit}
    return sorted({-limit, *(mpmath.mpf(i) for i in range(-6, 7, 2)), limit} | inside)
