r"""How a perturbation of the collective variables travels through the blocks, on whole grids.

A source ``s`` at every variable of a block, averages and Gram matrices, changes all that follows.
With ``x_l`` the variables of a block and ``k_l`` the covariance of the stream it reads,

    dx_l = s_l + A_l dx_l + A'_l dk_l,    dk_{l+1} = dk_l + rho_l^2 dC_l,

``C_l`` the last Gram matrix of ``x_l`` and ``A`` strictly lower triangular. So ``dX = R s`` and
``dK = B s``; the matrices need not be formed: one pass through the layers applies them to any
number of sources at once. Axes are (points, blocks, variables of a block, sources).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Responses:
    """Effect of the variables on a perturbation.

    Attributes
    ----------
    inside : ndarray, shape (G, B, n, n)
        ``(1 - A)^{-1}``: response of the variables of a block to sources in it.
    outside : ndarray, shape (G, B, n, p)
        The same times ``A'``: to the covariance of the stream.
    scales : ndarray, shape (G, B)
        Squares of the residual scales.
    feedback : ndarray, shape (G, B, p, n), optional
        What the variables of a block add to the stream, where it is not the last Gram matrix alone.
    """

    inside: Array
    outside: Array
    scales: Array
    feedback: Array | None = None

    @classmethod
    def of(cls, direct: Array, scales: Array, feedback: Array | None = None) -> Responses:
        """Return those of direct derivatives by the stream and the block, ``(G, B, n, p + n)``."""
        size = direct.shape[2]
        stream, block = np.split(direct, [direct.shape[3] - size], axis=-1)
        inside: Array = np.ones_like(block)
        if size > 1:
            inside = np.asarray(np.linalg.inv(np.eye(size) - block), dtype=np.float64)
        return cls(inside, _times(inside, stream), scales, feedback)

    @property
    def count(self) -> int:
        """Number of sources: variables of all blocks."""
        return int(self.inside.shape[1] * self.inside.shape[2])

    def apply(self, sources: Array, added: Array | None = None) -> tuple[Array, Array]:
        """Return ``R s`` and the change of the stream.

        Parameters
        ----------
        sources : ndarray, shape (G, B, n, Q)
            Q sources.
        added : ndarray, shape (G, B, p, Q), optional
            Sources of the stream behind every block.

        Returns
        -------
        changes : ndarray, shape (G, B, n, Q)
            ``dx`` of every block.
        streams : ndarray, shape (G, B, p, Q)
            ``dk`` of the stream that every block reads.
        """
        blocks, entries = self.inside.shape[1], self.outside.shape[-1]
        changes = np.empty(sources.shape)
        streams = np.zeros((*sources.shape[:2], entries, sources.shape[-1]))
        for block in range(blocks):
            change = _times(self.inside[:, block], sources[:, block])
            change = change + _times(self.outside[:, block], streams[:, block])
            changes[:, block] = change
            if block + 1 < blocks:
                if self.feedback is None:
                    moved = self.scales[:, block, None, None] * change[:, -entries:]
                else:
                    moved = _times(self.feedback[:, block], change)
                moved = moved if added is None else moved + added[:, block]
                streams[:, block + 1] = streams[:, block] + moved
        return changes, streams

    def identity(self) -> tuple[Array, Array]:
        """Return ``R`` and ``B``, one source per column."""
        shape = (*self.inside.shape[:3], self.count)
        unit = np.eye(self.count).reshape((1, *shape[1:]))
        return self.apply(np.broadcast_to(unit, shape))


def _times(matrix: Array, change: Array) -> Array:
    """Return a matrix product; one variable needs none."""
    product: Array = matrix * change if matrix.shape[-1] == 1 else matrix @ change
    return product


@dataclass(frozen=True)
class Covariances:
    """Covariances times N between blocks.

    Attributes
    ----------
    draws : ndarray, shape (G, B, n, B, n)
        ``N Cov(X) = R S R^T``.
    mixed : ndarray, shape (G, B, n, B, p)
        ``N Cov(X, K) = R S B^T``.
    streams : ndarray, shape (G, B, p, B, p)
        ``N Cov(K) = B S B^T``.
    """

    draws: Array
    mixed: Array
    streams: Array

    @property
    def local(self) -> Array:
        """Covariance of the stream and the variables of each block, ``(G, B, p + n, p + n)``."""
        each = np.arange(self.draws.shape[1])
        draws, mixed, streams = (
            np.moveaxis(part[:, each, :, each], 0, 1)
            for part in (self.draws, self.mixed, self.streams)
        )
        top = np.concatenate([streams, mixed.swapaxes(-1, -2)], axis=-1)
        return np.concatenate([top, np.concatenate([mixed, draws], axis=-1)], axis=-2)


def covariances(responses: Responses, sources: Array) -> Covariances:
    """Return the covariances that sources with a covariance give.

    Parameters
    ----------
    responses : Responses
        Of the network.
    sources : ndarray, shape (G, B, n, B, n)
        ``S``, symmetric.
    """
    points, blocks, size = sources.shape[:3]
    count, entries = blocks * size, responses.outside.shape[-1]
    first, streams = responses.apply(sources.reshape((points, blocks, size, count)))
    # R and B act on rows; the transposed result carries the other index.
    turned = np.concatenate(
        [first.reshape((points, count, count)), streams.reshape((points, blocks * entries, count))],
        axis=1,
    ).swapaxes(1, 2)
    both, down = responses.apply(turned.reshape((points, blocks, size, turned.shape[2])))
    return Covariances(
        both[..., :count].reshape(sources.shape),
        both[..., count:].reshape((points, blocks, size, blocks, entries)),
        down[..., count:].reshape((points, blocks, entries, blocks, entries)),
    )
