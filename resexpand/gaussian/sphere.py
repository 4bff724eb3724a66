r"""Averages over the sphere of radius sqrt(B) in the plane orthogonal to (1, ..., 1).

There a batch of B exchangeable Gaussian numbers is after it was centred and scaled to unit
variance, whatever their variance and common part were:

- one entry is ``u = sqrt(B-1) t`` with the density ``(1 - t^2)^((B-4)/2)``; with ``t = sin x``,
  ``cos(x)^(B-3)``. For B = 2, ``t = +-1``.
- two entries are projections on unit vectors whose angle has the cosine ``-1/(B-1)``; in their
  plane the direction is uniform and the radius ``r = sin y`` has the density
  ``sin(y) cos(y)^(B-4)``. For B = 3, ``r = 1``.

Both rules put Gauss-Legendre nodes on panels that are split at the kinks of the integrand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resexpand.gaussian.quadrature import composite_rule

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

WIDEST = 9.5
"""Standard deviations beyond which the density of an entry of a large batch is below rounding."""

PANELS = 16
NODES = {"fine": 24, "coarse": 16}


@dataclass(frozen=True)
class BatchAverages:
    """Averages of a function of normalised entries.

    Attributes
    ----------
    square, product, mean : float
        ``V_B = E psi(u_1)^2``, ``J_B = E psi(u_1) psi(u_2)`` and ``mu_B = E psi(u_1)``.
    """

    square: float
    product: float
    mean: float


def batch_averages(
    psi: Function, kinks: Sequence[float], size: int, resolution: str = "fine"
) -> BatchAverages:
    """Return the averages of a function over batches of B entries.

    Parameters
    ----------
    psi : callable
        Of an array.
    kinks : sequence of float
        Where it is not smooth.
    size : int
        B, at least 2.
    resolution : {"fine", "coarse"}
        Their difference bounds the error.
    """
    u, weights = entry_rule(size, kinks, NODES[resolution])
    first, second, of_pair = pair_rule(size, kinks, NODES[resolution])
    values = psi(u)
    return BatchAverages(
        float(weights @ values**2),
        float(of_pair @ (psi(first) * psi(second))),
        float(weights @ values),
    )


def gradient_averages(
    slope: Function,
    kinks: Sequence[float],
    size: int,
    square: Function | None = None,
) -> tuple[float, float]:
    """Return ``kappa_B`` and ``tau_B`` of a function's derivative, B above 3.

    They are what `resexpand.theory.batch_gradients` says. For a function that masks draw, `slope`
    is the mean of its derivative and `square` that of the derivative's square.
    """
    u, weights = entry_rule(size, kinks, NODES["fine"])
    first, second, of_pair = pair_rule(size, kinks, NODES["fine"])
    squares = slope(u) ** 2 if square is None else square(u)
    own = float(weights @ (squares * (1 - 1 / size - u**2 / size)))
    products = slope(first) * slope(second) * (1 + first * second)
    both = -float(of_pair @ products) / size
    factor = size / (size - 3)
    return factor * (own - both), factor * (own / (size - 1) + both)


def entry_rule(size: int, kinks: Sequence[float], nodes: int) -> tuple[Array, Array]:
    """Return nodes and weights for one entry."""
    if size == 2:
        return np.array([-1.0, 1.0]), np.array([0.5, 0.5])
    # Large batches are nearly Gaussian: the density is below rounding long before pi/2.
    end = min(np.pi / 2, WIDEST / np.sqrt(max(size - 3, 1)))
    at = np.clip(np.array(kinks) / np.sqrt(size - 1), -1, 1)
    x, weights = _panels(-end, end, np.arcsin(at), nodes)
    # The constant of the density follows from the sum of the weights.
    weights = weights * np.cos(x) ** (size - 3)
    return np.sqrt(size - 1) * np.sin(x), weights / weights.sum()


def pair_rule(size: int, kinks: Sequence[float], nodes: int) -> tuple[Array, Array, Array]:
    """Return nodes of two entries, and weights."""
    if size == 2:
        signs, weights = entry_rule(2, kinks, nodes)
        return signs, -signs, weights
    at = np.array(kinks) / np.sqrt(size - 1)
    radius, of_radius = np.array([1.0]), np.array([1.0])
    if size > 3:
        end = min(np.pi / 2, WIDEST / np.sqrt(size - 3) if size > 60 else np.pi)
        y, weights = _panels(0.0, end, np.arcsin(np.clip(np.abs(at), 0, 1)), nodes)
        radius, of_radius = np.sin(y), weights * np.sin(y) * np.cos(y) ** (size - 4)
    apart = np.arccos(-1 / (size - 1))
    angle, of_angle = _angles(radius, at, apart, nodes)
    weights = (of_radius[:, None] * of_angle).ravel()
    scaled = np.sqrt(size - 1) * radius[:, None]
    first, second = scaled * np.cos(angle), scaled * np.cos(angle - apart)
    return first.ravel(), second.ravel(), weights / weights.sum()


def _panels(low: float, high: float, breaks: Array, nodes: int) -> tuple[Array, Array]:
    """Return Gauss-Legendre nodes on panels between the ends, split at breaks."""
    ends = np.union1d(np.linspace(low, high, PANELS + 1), breaks[(breaks > low) & (breaks < high)])
    return composite_rule(ends, nodes)


def _angles(radius: Array, kinks: Array, apart: float, nodes: int) -> tuple[Array, Array]:
    """Return the angles for every radius, split where either entry meets a kink."""
    ratio = np.clip(kinks / np.maximum(radius[:, None], 1e-300), -1, 1)
    met = np.arccos(ratio)
    # Without kinks four arcs keep the panels short enough.
    fixed = np.broadcast_to(np.arange(4) * np.pi / 2, (radius.size, 4))
    breaks = np.hstack([met, -met, met + apart, apart - met, fixed]) % (2 * np.pi)
    breaks.sort(axis=1)
    # The circle has no end: the last panel leads back to the first break.
    closed = np.hstack([breaks, breaks[:, :1] + 2 * np.pi])
    return composite_rule(closed, nodes)
