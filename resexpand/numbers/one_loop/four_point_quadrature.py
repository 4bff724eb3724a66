r"""Four-point averages of a smooth activation by quadrature.

``Cov(phi(y_1) phi(y_2), phi(x_1) phi(x_2))`` and its derivatives with respect to the covariances of
the ``y`` are sums over nodes of the earlier pair ``x``, with the average over ``y`` given ``x``
inside. Pairs may coincide or have singular covariances. Two densities of nodes are compared
on some of the averages: their difference is the stated error.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resexpand.activations.activation_law import ActivationLaw
from resexpand.errors import UnsupportedError
from resexpand.gaussian.quadrature import CUTOFF
from resexpand.gaussian.two_point_quadrature import line_rule
from resexpand.numbers.one_loop.four_point_loop import features, loops, unit_weights

Array = NDArray[np.float64]

FINE, COARSE = 1.05, 0.88
STEP = 0.04
"""Spacing of the tables, in units in which activations bend."""

CHECKED = 4
"""Averages of every kind on which two densities are compared."""

SINGULAR = 1e-13

EMPTY = 1e-8
"""Size of features, relative to those of the other inputs, below which only rounding is left."""

TINY = float(np.finfo(float).tiny)

REACH = 1e4
"""Largest variance; the nodes of one average grow with it, to seconds here."""


def cumulants(
    law: ActivationLaw, sigma: Array, same: tuple[bool, bool], *, slopes: bool
) -> tuple[Array, float]:
    """Return covariance and its derivatives with respect to S_11, S_12, S_22.

    Parameters
    ----------
    law : ActivationLaw
        The activation.
    sigma : ndarray, shape (n, 4, 4)
        Covariances of ``y_1, y_2, x_1, x_2``.
    same : (bool, bool)
        Whether ``y_1`` and ``y_2``, ``x_1`` and ``x_2`` are one and the same variable; then the
        derivative with respect to the variance stands in the place of S_12.
    slopes : bool
        Whether the derivatives are wanted; without them, and for the same layer, the pairs may
        coincide.

    Returns
    -------
    values : ndarray, shape (4, n)
    error : float
        Relative to the standard deviation of the earlier product and the size of the later one,
        or of its derivative.

    Raises
    ------
    UnsupportedError
        If a variance is beyond `REACH`.
    """
    if not (np.diagonal(sigma, axis1=1, axis2=2) <= REACH).all():
        raise UnsupportedError(
            f"averages over pairs of inputs of the activation {law.name}",
            f"a variance is larger than {REACH:g}: its quadrature would not end",
            "use smaller scales or depth, one input, or an activation with closed averages",
        )
    values = np.zeros((4, sigma.shape[0]))
    error = 0.0
    checked = set(np.linspace(0, sigma.shape[0] - 1, CHECKED).astype(int).tolist())
    for n, covariance in enumerate(sigma):
        found, size = _one(law, covariance, same, FINE)
        values[:, n] = found
        if n in checked:
            coarse, _ = _one(law, covariance, same, COARSE)
            used = slice(0, 4 if slopes else 1)
            least = np.maximum(size, TINY)
            error = max(error, float((np.abs(found - coarse) / least)[used].max()))
    return values, error


def _one(
    law: ActivationLaw, sigma: Array, same: tuple[bool, bool], density: float
) -> tuple[Array, Array]:
    x, weights = _earlier(sigma[2:, 2:], same[1], density)
    first = features(law, x)[0]
    product = first.prod(axis=0)
    centred = weights * (product - weights @ product)
    loads, z = _standardised(sigma, x, same[1])
    means = loads @ z
    rest = sigma[:2, :2] - loads @ loads.T
    rest[np.abs(rest) < SINGULAR * sigma[:2, :2].max()] = 0.0
    inner = _later_same(law, means, rest, density) if same[0] else None
    averages = _later_pair(law, means, rest, density) if inner is None else inner
    # An input of length zero leaves rounding alone, which is relative to the features of others.
    natural = EMPTY * float(weights @ (first**2).sum(axis=0))
    floor = natural / np.array([1.0, *3 * (max(float(np.abs(sigma).max()), TINY),)])
    size = np.maximum(np.abs(averages).max(axis=1), floor)
    return averages @ centred, np.sqrt(max(float(centred @ product), 0.0)) * size


def _earlier(covariance: Array, same: bool, density: float) -> tuple[Array, Array]:
    """Return nodes ``(2, n)`` of the earlier pair and their weights."""
    first, weight = line_rule(np.zeros(1), float(np.sqrt(covariance[0, 0])), density)
    if same:
        return np.stack([first[0], first[0]]), weight[0]
    slope = covariance[0, 1] / covariance[0, 0] if covariance[0, 0] > 0 else 0.0
    left = covariance[1, 1] - slope * covariance[0, 1]
    left = left if left > SINGULAR * covariance[1, 1] else 0.0
    second, weights = line_rule(slope * first[0], float(np.sqrt(left)), density)
    nodes = np.stack([np.broadcast_to(first[0][:, None], second.shape), second])
    return nodes.reshape(2, -1), (weight[0][:, None] * weights).ravel()


def _standardised(sigma: Array, x: Array, same: bool) -> tuple[Array, Array]:
    """Return what the later pair shares with two standard normals, and these at the nodes.

    The first is that of ``x_1``, the second of what ``x_2`` has beside it: unlike with an inverse
    of their covariance, little is lost where they are nearly the same.
    """
    cross, first = sigma[:2, 2:], np.sqrt(sigma[2, 2])
    slope = sigma[2, 3] / sigma[2, 2] if first > 0 else 0.0
    left = 0.0 if same else sigma[3, 3] - slope * sigma[2, 3]
    second = np.sqrt(left) if left > SINGULAR * sigma[3, 3] else 0.0
    loads, z = np.zeros((2, 2)), np.zeros((2, x.shape[1]))
    if first > 0:
        loads[:, 0], z[0] = cross[:, 0] / first, x[0] / first
    if second > 0:
        loads[:, 1] = (cross[:, 1] - slope * cross[:, 0]) / second
        z[1] = (x[1] - slope * x[0]) / second
    return loads, z


def _later_same(law: ActivationLaw, means: Array, rest: Array, density: float) -> Array:
    """Average the square of one variable, and half of its second derivative, given the mean."""
    y, weights = line_rule(means[0], float(np.sqrt(max(rest[0, 0], 0.0))), density)
    phi, slope, half = features(law, y)
    result = np.zeros((4, means.shape[1]))
    result[0] = (weights * phi * phi).sum(axis=1)
    result[2] = (weights * (slope * slope + 2 * phi * half)).sum(axis=1)
    return result


def _later_pair(law: ActivationLaw, means: Array, rest: Array, density: float) -> Array:
    swapped = rest[1, 1] > rest[0, 0]
    if swapped:
        means, rest = means[::-1], rest[::-1, ::-1]
    a = float(np.sqrt(max(rest[0, 0], 0.0)))
    b = float(rest[0, 1] / a) if a > 0 else 0.0
    left = rest[1, 1] - b * b
    c = float(np.sqrt(left)) if left > SINGULAR * rest[1, 1] else 0.0
    reach = CUTOFF * abs(b) + 8 * STEP
    low, high = float(means[1].min()) - reach, float(means[1].max()) + reach
    grid = np.linspace(low, high, int((high - low) / STEP) + 16)
    y, table_weights = line_rule(grid, c, density)
    tables = (table_weights * features(law, y)).sum(axis=2)
    z, weights = _standard(a, density)
    out = np.empty((4, means.shape[1]))
    first, second = (np.ascontiguousarray(m) for m in means)
    step = float(grid[1] - grid[0])
    given = (first, second, a, b, z, weights, tables, low, step, unit_weights(), out)
    loops(law).average(*given)
    return out[[0, 3, 2, 1]] if swapped else out


def _standard(scale: float, density: float) -> tuple[Array, Array]:
    """Return nodes and weights in the standard normal variable itself."""
    count = int(density * max(26.0, 64.0 * scale)) + 1
    z = np.linspace(-CUTOFF, CUTOFF, count)
    return z, np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * (2 * CUTOFF / (count - 1))
