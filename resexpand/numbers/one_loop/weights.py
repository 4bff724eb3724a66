r"""What weights of another law than the normal one add: the fourth cumulants of the draws.

Given the features it acts on, a draw of independent symmetric weights has the covariance of a
Gaussian one and the fourth cumulant ``Q_a / N``,

    Q_a = (E w^4/(E w^2)^2 - 3) sigma_a^4 < phi phi phi phi >,

entries ``Q_pr`` by pairs of entries of the Gram matrix, symmetric in all four inputs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resexpand.numbers.one_loop.sources import Sources
from resexpand.numbers.one_loop.tables import Tables, entry_index

Array = NDArray[np.float64]

GAUSSIAN = 3.0
"""``E w^4/(E w^2)^2`` of a normal law."""


def fourth_cumulants(tables: Tables, found: Sources, excess: float) -> Array:
    """Return ``Q`` of every draw, ``(G, B, J, p, p)``.

    Parameters
    ----------
    tables : Tables
        Of the network.
    found : Sources
        Covariances of the features, which hold their fourth moments.
    excess : float
        Excess kurtosis of the weights.
    """
    points, blocks, draws = tables.weights.shape
    entries = tables.entries
    spread = found.covariance.reshape((points, blocks, draws, entries, blocks, draws, entries))
    fourth = np.empty((points, blocks, draws, entries, entries))
    upper = [pair for pair in entry_index(tables.inputs) if pair[0] <= pair[1]]
    first, second = (np.array(side) for side in zip(*sorted(set(upper)), strict=True))
    for draw in range(draws):
        own = (tables.last == draw)[None, :, None, None]
        after = tables.reads[:, :, min(draw + 1, draws - 1)]
        gram = np.where(own, tables.gram, after)
        mean = gram[..., first, second] - tables.biases[:, :, draw, None]
        local = np.stack([spread[:, b, draw, :, b, draw] for b in range(blocks)], axis=1)
        fourth[:, :, draw] = local + mean[..., :, None] * mean[..., None, :]
    return excess * fourth


def cumulants_read(tables: Tables, fourth: Array) -> Array:
    """Return ``N`` times the fourth cumulants of what each draw reads, ``(G, B, J, p, p)``."""
    read = np.zeros_like(fourth)
    added = tables.responses.scales[:, :, None, None] ** 2 * fourth[:, :, -1]
    read[:, 1:, 0] = np.cumsum(added, axis=1)[:, :-1]
    read[:, :, 1:] = fourth[:, :, :-1]
    return read
