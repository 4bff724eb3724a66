r"""How a perturbation of the Gram matrices travels through the draws, on whole grids.

A source ``s_a`` at every draw changes all that follows,

    dC_a = s_a + T_a dK_a,    dK_a = sum_{c<a} M_ac^2 dC_c,

so that ``dC = R s`` and ``dK = B s`` with ``R = (1 - T M^2)^{-1}``, ``B = M^2 R``. The matrices
need not be formed: one pass through the layers applies them to any number of sources at once.
Axes are (points, blocks, draws of a block, entries of the Gram matrix, sources).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Responses:
    """What the draws do to a perturbation.

    Attributes
    ----------
    draws : ndarray, shape (G, B, J, p, p)
        ``T``: derivative of the Gram matrix of a draw by the covariance it reads.
    scales : ndarray, shape (G, B)
        Squares of the residual scales.
    """

    draws: Array
    scales: Array

    @property
    def count(self) -> int:
        """Number of sources: entries of all Gram matrices."""
        return int(np.prod(self.draws.shape[1:4]))

    def apply(self, sources: Array) -> tuple[Array, Array]:
        """Return ``R s`` and the change of the stream.

        Parameters
        ----------
        sources : ndarray, shape (G, B, J, p, Q)
            Q sources.

        Returns
        -------
        changes : ndarray, shape (G, B, J, p, Q)
            ``dC`` of every draw.
        streams : ndarray, shape (G, B, p, Q)
            ``dK`` of the stream that block ``l + 1`` reads, ``l = 0 .. B - 1``.
        """
        changes = np.empty(sources.shape)
        streams = np.zeros((*sources.shape[:2], *sources.shape[3:]))
        blocks, draws = sources.shape[1:3]
        for block in range(blocks):
            change = streams[:, block]
            for draw in range(draws):
                change = sources[:, block, draw] + _through(self.draws[:, block, draw], change)
                changes[:, block, draw] = change
            if block + 1 < blocks:
                scale = self.scales[:, block, None, None]
                streams[:, block + 1] = streams[:, block] + scale * change
        return changes, streams

    def identity(self) -> tuple[Array, Array]:
        """Return ``R`` and the rows of ``B`` that belong to the stream, one source per column."""
        points, count = self.draws.shape[0], self.count
        shape = (*self.draws.shape[:4], count)
        unit = np.broadcast_to(np.eye(count).reshape((1, *shape[1:])), shape)
        return self.apply(unit) if points else (np.empty(shape), np.empty(shape[:2] + shape[3:]))


def _through(response: Array, change: Array) -> Array:
    """Apply a response to changes; one entry needs no matrix product."""
    moved: Array = response * change if response.shape[-1] == 1 else response @ change
    return moved


@dataclass(frozen=True)
class Covariances:
    """Covariances times N, each axis pair of a Gram matrix flat: blocks, draws, entries.

    Attributes
    ----------
    draws : ndarray, shape (G, n, n)
        ``N Cov(C) = R S R^T``.
    mixed : ndarray, shape (G, n, m)
        ``N Cov(C, K) = R S B^T``.
    streams : ndarray, shape (G, m, m)
        ``N Cov(K) = B S B^T``.
    """

    draws: Array
    mixed: Array
    streams: Array


def covariances(responses: Responses, sources: Array) -> Covariances:
    """Return the covariances that sources with a covariance give.

    Parameters
    ----------
    responses : Responses
        Of the network.
    sources : ndarray, shape (G, n, n)
        ``S``, symmetric.
    """
    shape = responses.draws.shape[:4]
    points, count = sources.shape[:2]
    first, streams = responses.apply(sources.reshape((*shape, count)))
    # R and B act on rows; the transposed result carries the other index.
    read = int(np.prod(streams.shape[1:3]))
    turned = np.concatenate(
        [first.reshape((points, count, count)), streams.reshape((points, read, count))], axis=1
    ).swapaxes(1, 2)
    both, down = responses.apply(turned.reshape((*shape, turned.shape[2])))
    flat = both.reshape((points, count, turned.shape[2]))
    rows = down.reshape((points, read, turned.shape[2]))
    return Covariances(flat[..., :count], flat[..., count:], rows[..., count:])
