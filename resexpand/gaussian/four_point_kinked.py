r"""Four-point averages of functions that are linear on either side of zero.

``phi(u) = r max(u, 0) + l max(-u, 0)`` is a sum over the signs of its argument, so that an average
of four becomes at most sixteen moments of positive orthants, with ``phi' = r`` or ``-l`` and
``phi'' = (r + l) delta(u)``. Variables that are one and the same are merged first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from resexpand.gaussian.orthant_moments import at_zero, orthant_moment

Array = NDArray[np.float64]
Labels = Sequence[object]


def covariance(sigma: Array, labels: Labels, right: float, left: float) -> Array:
    """Return ``Cov(phi_1 phi_2, phi_3 phi_4)``.

    Parameters
    ----------
    sigma : ndarray, shape (n, 4, 4)
        Covariances.
    labels : sequence
        Four labels; variables with equal labels are one and the same.
    right, left : float
        ``phi(1)`` and ``phi(-1)``.
    """
    return _crossed(sigma, labels, (0, 0), (right, left))


def slopes(sigma: Array, labels: Labels, right: float, left: float) -> tuple[Array, Array, Array]:
    """Return the derivatives of `covariance` with respect to S_11, S_12 and S_22.

    For one and the same variable (equal first labels) the second is the derivative with respect to
    its variance, ``<(phi^2)''/2 ...>``, and the others are zero.
    """
    along = []
    for orders in ((2, 0), (1, 1), (0, 2)):
        if labels[0] == labels[1] and orders != (1, 1):
            along.append(np.zeros(sigma.shape[0]))
            continue
        factor = 1.0 if orders == (1, 1) else 0.5
        along.append(factor * _crossed(sigma, labels, orders, (right, left)))
    return along[0], along[1], along[2]


def drifts(sigma: Array, labels: Labels, right: float, left: float) -> tuple[Array, Array]:
    """Return ``Cov(phi'_1 phi_2, phi_3 phi_4)`` and ``Cov(phi_1 phi'_2, phi_3 phi_4)``.

    For one and the same variable (equal first labels) they are the same: half of the derivative by
    its mean.
    """
    ends = right, left
    return _crossed(sigma, labels, (1, 0), ends), _crossed(sigma, labels, (0, 1), ends)


def _crossed(
    sigma: Array, labels: Labels, orders: tuple[int, int], ends: tuple[float, float]
) -> Array:
    """Return the covariance of a product of derivatives of the first two with the last two."""
    joint = _average(sigma, labels, (*orders, 0, 0), *ends)
    alone = _average(sigma[:, :2, :2], labels[:2], orders, *ends)
    return joint - alone * _average(sigma[:, 2:, 2:], labels[2:], (0, 0), *ends)


def _average(
    sigma: Array, labels: Labels, orders: tuple[int, ...], right: float, left: float
) -> Array:
    """Average the derivatives of the given orders, one variable each."""
    distinct = list(dict.fromkeys(labels))
    place = [labels.index(label) for label in distinct]
    merged = sigma[:, place][:, :, place]
    owners = [[n for n, label in enumerate(labels) if label == d] for d in distinct]
    singular = next((k for k, own in enumerate(owners) if 2 in [orders[n] for n in own]), None)
    total = np.zeros(sigma.shape[0])
    for signs in product((1, -1), repeat=len(distinct)):
        if singular is not None and signs[singular] < 0:
            continue
        amplitude, powers = _factors(signs, owners, orders, (right, left))
        if amplitude == 0.0:
            continue
        flip = np.array(signs, dtype=float)
        turned = merged * flip[:, None] * flip[None, :]
        if singular is None:
            total += amplitude * orthant_moment(turned, powers)
        else:
            total += amplitude * at_zero(turned, powers, singular)
    return total


def _factors(
    signs: tuple[int, ...],
    owners: list[list[int]],
    orders: tuple[int, ...],
    ends: tuple[float, float],
) -> tuple[float, tuple[int, ...]]:
    """Return the amplitude on one orthant and the power of every distinct variable."""
    right, left = ends
    amplitude, powers = 1.0, []
    for sign, own in zip(signs, owners, strict=True):
        slope = right if sign > 0 else left
        for n in own:
            amplitude *= (slope, sign * slope, right + left)[orders[n]]
        powers.append(sum(orders[n] == 0 for n in own))
    return amplitude, tuple(powers)
