"""The rule on a panel, and a slow reference at any precision.

Gaussian averages are sums over panels on which the integrand is resolved
(`resexpand.gaussian.panels`). The rule on a panel comes in two resolutions; the difference of their
results is the stated error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import mpmath
import numpy as np
from numpy.typing import NDArray

CUTOFF = 8.6
"""Half-width of a range in ``z``; the Gaussian weight beyond is below 1e-17."""

ORDER = {"fine": 16, "coarse": 12}
"""Nodes of a panel."""

Resolution = Literal["fine", "coarse"]


def panel_rule(
    resolution: Resolution = "fine",
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return nodes and weights of the Gauss-Legendre rule on ``[0, 1]``."""
    nodes, weights = np.polynomial.legendre.leggauss(ORDER[resolution])
    return (nodes + 1) / 2, weights / 2


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
