r"""The order ``1/N`` with terms left out: what a comparison must be able to refute.

Deviations obey ``dC^l = e^l + T^l sum_{m<l} r_m dC^m``, with ``T`` the derivative of ``C`` with
respect to the kernel it is made from; hence ``dC = R e``. Given the full result, what drives it is
recovered, ``S = R^{-1} Cov(C) R^{-T}``, and propagated again after a part has been dropped:

    the source between different blocks (noise that blocks do not share),
    the conditioning term of the mean (neurons taken as independent once all C are given).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.concrete import concrete
from resexpand.montecarlo.statistics.first_order import first_order
from resexpand.network.resnet import ResNet

Array = NDArray[np.float64]


def reply(net: ResNet, start: Array) -> Array:
    """Return R, from the noise of each block to the covariances of all.

    Parameters
    ----------
    net : ResNet
        Without symbols, its branch ``W phi(h) + b``.
    start : ndarray, shape () or (D, D)
        Kernel at layer 0.

    Returns
    -------
    ndarray, shape ((L + 1) p, (L + 1) p)
        ``p`` entries of the covariance per block, upper triangle row by row.
    """
    matrix = np.atleast_2d(start)
    rows, columns = np.triu_indices(len(matrix))
    directions = np.zeros((len(rows), *matrix.shape))
    for k, (a, b) in enumerate(zip(rows, columns, strict=True)):
        directions[k, a, b] = directions[k, b, a] = 1.0
    limit = first_order(net.branch, concrete(net, {}), matrix, net.head)
    still = np.array([[step.moment for step in block] for block in limit.blocks])
    squares = [*(scale**2 for scale in limit.scales), 0.0]
    size, count = len(rows), len(limit.blocks)
    followed = np.zeros((count, size, count, size))
    for layer, block in enumerate(limit.blocks):
        moved = directions
        for step, moment in zip(block, still[layer], strict=True):
            moved = step.moved(moment, moved)
        slope = moved[:, rows, columns].T
        for before in range(layer):
            followed[layer, :, before, :] = squares[before] * slope
    total = count * size
    flat = followed.reshape(total, total)
    return np.asarray(np.linalg.inv(np.eye(total) - flat))


def unshared(covariance: Array, replied: Array, entries: int) -> Array:
    """Return the covariance of ``C`` if the noise of different blocks were independent.

    Parameters
    ----------
    covariance : ndarray, shape (n p, n p)
        ``N Cov(C, C)`` of ``n`` blocks with ``p`` entries each.
    replied : ndarray, shape (n p, n p)
        R of `reply`.
    entries : int
        ``p``.
    """
    back = np.linalg.inv(replied)
    source = back @ covariance @ back.T
    block = np.arange(len(source)) // entries
    return np.asarray(replied @ np.where(block[:, None] == block, source, 0.0) @ replied.T)


def sums(squares: Array, entries: int) -> Array:
    """Return the matrix that turns deviations of ``C^1 ... C^L`` into those of ``K^1 ... K^L``.

    Parameters
    ----------
    squares : ndarray, shape (L,)
        Squared residual scales.
    entries : int
        ``p``.
    """
    depth = len(squares)
    steps = np.tril(np.broadcast_to(squares, (depth, depth)))
    return np.asarray(np.kron(steps, np.eye(entries)), dtype=np.float64)
