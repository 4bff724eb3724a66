r"""Moments of centred Gaussian variables restricted to the positive orthant, up to four of them.

``M(e) = < u_1^e_1 ... u_n^e_n ; all u > 0 >``. Integration by parts takes one power away,

    M(u_i g) = sum_j S_ij ( < dg/du_j ; u > 0 > + < g delta(u_j) ; others > 0 > ),

where a delta function conditions on one variable being zero and leaves one variable less. What
remains are orthant probabilities: arcsines for up to three variables, one integral for four. A
variable without variance counts half, as the limit of either sign does.

Source: Plackett (1954) for the probabilities; the recursion is Stein's lemma.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from resexpand.gaussian import four_point_sign

Array = NDArray[np.float64]


def orthant_moment(sigma: Array, powers: tuple[int, ...]) -> Array:
    """Return the moment for covariances of shape (m, n, n) and ``n <= 4`` powers.

    Parameters
    ----------
    sigma : ndarray, shape (m, n, n)
        Covariances, positive semi-definite.
    powers : tuple of int
        Non-negative.
    """
    raised = next((i for i, power in enumerate(powers) if power), None)
    if raised is None:
        return orthant_probability(sigma)
    lowered = [*powers]
    lowered[raised] -= 1
    total = np.zeros(sigma.shape[0])
    for j, power in enumerate(lowered):
        if power:
            once = [*lowered]
            once[j] -= 1
            total += sigma[:, raised, j] * power * orthant_moment(sigma, tuple(once))
        else:
            total += sigma[:, raised, j] * at_zero(sigma, tuple(lowered), j)
    return total


def at_zero(sigma: Array, powers: tuple[int, ...], index: int) -> Array:
    """Return ``< g delta(u_j) ; others > 0 >``, the power of ``u_j`` in g being zero."""
    variance = sigma[:, index, index]
    moves = variance > 0
    safe = np.where(moves, variance, 1.0)
    rest = [k for k in range(len(powers)) if k != index]
    if not rest:
        return np.where(moves, 1 / np.sqrt(2 * np.pi * safe), 0.0)
    column = sigma[:, rest, index]
    left = (
        sigma[:, rest][:, :, rest] - column[:, :, None] * column[:, None, :] / safe[:, None, None]
    )
    left = _cleared(left, sigma[:, rest, rest])
    moment = orthant_moment(left, tuple(powers[k] for k in rest))
    return np.where(moves, moment / np.sqrt(2 * np.pi * safe), 0.0)


def _cleared(left: Array, before: Array) -> Array:
    """Set rows of variables without variance to zero: they hold rounding errors."""
    own = np.diagonal(left, axis1=1, axis2=2)
    alive = own > four_point_sign.SINGULAR * before
    return left * alive[:, :, None] * alive[:, None, :]


def orthant_probability(sigma: Array) -> Array:
    """Return the probability that all variables are positive."""
    size = sigma.shape[1]
    angles = {pair: _angle(sigma, *pair) for pair in combinations(range(size), 2)}
    arcs = sum(angles.values(), np.zeros(sigma.shape[0])) * 2 / np.pi
    total = 1 + arcs
    if size == 4:
        signs = four_point_sign.covariance(sigma, 0.0)
        total = total + signs + (2 / np.pi) ** 2 * angles[0, 1] * angles[2, 3]
    return np.asarray(total / 2**size)


def _angle(sigma: Array, i: int, j: int) -> Array:
    """Return the arcsine of a correlation, exact where variables coincide."""
    product = sigma[:, i, i] * sigma[:, j, j]
    area = np.sqrt(np.maximum(product - sigma[:, i, j] ** 2, 0.0))
    return np.asarray(np.where(product > 0, np.arctan2(sigma[:, i, j], area), 0.0))
