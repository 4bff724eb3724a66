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

from resexpand.codegen.one_loop.tables import Tables
from resexpand.codegen.one_loop.two_point import local_variance, stream_cumulants
from resexpand.errors import UnsupportedError
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
    if tables.inputs > 1:
        raise UnsupportedError(
            f"the order 1/N of {tables.inputs} inputs", "not yet built", "use inputs=1"
        )
    points, blocks, draws = tables.weights.shape
    streams = stream_cumulants(process.draws[0].law, tables.stream[..., 0, 0])
    first = tables.weights[:, :, 0]
    weight = first[:, :, None] * first[:, None, :]
    covariance = np.zeros((points, blocks, draws, blocks, draws))
    covariance[:, :, 0, :, 0] = weight * streams.covariance
    error = streams.error
    each = np.arange(blocks)
    for draw in range(1, draws):
        variance, own = local_variance(process.draws[draw].law, tables.reads[:, :, draw, 0, 0])
        covariance[:, each, draw, each, draw] = tables.weights[:, :, draw] ** 2 * variance
        error = max(error, own)
    conditioning = (weight * streams.slope)[:, :, None, None, :, None]
    count = blocks * draws
    return Sources(covariance.reshape((points, count, count)), conditioning, error)
