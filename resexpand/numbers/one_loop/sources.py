r"""The sources of the order 1/N: how the features of different draws fluctuate together.

``S_ab = s_a s_b Cov(F_a(u_a), F_b(u_b))`` couples the draws that read the stream, in all layers:
the stream of a later layer contains that of every earlier one. Draws inside a block read fresh
normals and are correlated with themselves alone. ``P_ak = s_a s_k Cov(T_a(u_a), F_k(u_k))``, ``k <
a``, is the conditioning: what an earlier draw found out about the neurons, and a later one meets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resexpand.numbers.one_loop.four_point import (
    PairCumulants,
    local_cumulants,
    pair_cumulants,
)
from resexpand.numbers.one_loop.tables import Tables, rounding
from resexpand.numbers.one_loop.two_point import local_variance, stream_cumulants
from resexpand.theory.one_loop.process import Process

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sources:
    """Cumulants of the features, with the weight variances.

    Attributes
    ----------
    covariance : ndarray, shape (G, n, n)
        ``S``; axes flat over blocks, draws and entries.
    conditioning : ndarray, shape (G, B, p, p, B, p)
        ``P`` of draws that read the stream: block, entry and column of ``T``; earlier block, entry.
    error : float
        Relative error of the averages.
    """

    covariance: Array
    conditioning: Array
    error: float


def sources(tables: Tables, process: Process) -> Sources:
    """Compute the sources of a network."""
    points, blocks, draws = tables.weights.shape
    entries = tables.entries
    streams = _streams(tables, process)
    first = tables.weights[:, :, 0]
    weight = first[:, :, None] * first[:, None, :]
    covariance = np.zeros((points, blocks, draws, entries, blocks, draws, entries))
    covariance[:, :, 0, :, :, 0] = weight[:, :, None, :, None] * streams.covariance
    error = streams.error
    for draw in range(1, draws):
        local, own = _inside(tables, process, draw)
        scaled = tables.weights[:, :, draw, None, None] ** 2 * local
        for block in range(blocks):
            covariance[:, block, draw, :, block, draw] = scaled[:, block]
        error = max(error, own)
    for draw, described in enumerate(process.draws):
        if described.law is not None and not described.law.is_smooth:
            error = max(error, rounding(tables.reads[:, :, draw]))
    conditioning = weight[:, :, None, None, :, None] * streams.slope
    count = blocks * draws * entries
    return Sources(covariance.reshape((points, count, count)), conditioning, error)


def _streams(tables: Tables, process: Process) -> PairCumulants:
    """Return the cumulants of the draws that read the stream."""
    law = process.draws[0].law
    if tables.inputs > 1:
        return pair_cumulants(law, tables.stream)
    single = stream_cumulants(law, tables.stream[..., 0, 0])
    covariance = single.covariance[:, :, None, :, None]
    return PairCumulants(covariance, single.slope[:, :, None, None, :, None], single.error)


def _inside(tables: Tables, process: Process, draw: int) -> tuple[Array, float]:
    """Return the covariance of the features of a draw inside a block, ``(G, B, p, p)``."""
    law = process.draws[draw].law
    if tables.inputs > 1:
        return local_cumulants(law, tables.reads[:, :, draw])
    variance, error = local_variance(law, tables.reads[:, :, draw, 0, 0])
    return variance[..., None, None], error
