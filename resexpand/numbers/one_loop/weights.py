r"""Order 1/N of weights that are not normal: the fourth cumulants of the draws.

Given the features it acts on, a draw of independent symmetric weights has the covariance of a
Gaussian one and the fourth cumulant ``Q_a / N``,

    Q_a = (E w^4/(E w^2)^2 - 3) sigma_a^4 < phi phi phi phi >,

entries ``Q_pr`` by pairs of entries of the Gram matrix, symmetric in all four inputs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resexpand.numbers.one_loop.sources import Sources
from resexpand.numbers.one_loop.tables import Tables, entry_pairs

Array = NDArray[np.float64]

GAUSSIAN = 3.0
"""``E w^4/(E w^2)^2`` of a normal law."""


def fourth_cumulants(tables: Tables, found: Sources, excess: float) -> list[Array]:
    """Return ``Q`` of every draw, ``(G, B, p, p)`` each.

    Parameters
    ----------
    tables : Tables
        Of the network.
    found : Sources
        Covariances of the features, which hold their fourth moments.
    excess : float
        Excess kurtosis of the weights.
    """
    first, second = np.array(entry_pairs(tables.inputs)).T
    each = np.arange(tables.last.size)
    fourth = []
    for place, site in enumerate(tables.sites):
        mean = tables.gram_of(place)[..., first, second] - site.biases[..., None]
        at = tables.grams(place)
        local = np.moveaxis(found.covariance[:, :, at, :, at][:, each, :, each], 0, 1)
        fourth.append(excess * (local + mean[..., :, None] * mean[..., None, :]))
    return fourth


def cumulants_read(tables: Tables, fourth: list[Array]) -> Array:
    """Return ``N`` times the fourth cumulants of what is read, ``(G, B, p + n, p + n)``."""
    entries = tables.entries
    width = entries + tables.size
    read = np.zeros((*tables.scales.shape, width, width))
    each = np.arange(tables.last.size)
    last = np.moveaxis(np.stack(fourth)[tables.last, :, each], 0, 1)
    added = tables.scales[:, :, None, None] ** 2 * last
    read[:, 1:, :entries, :entries] = np.cumsum(added, axis=1)[:, :-1]
    for place, own in enumerate(fourth):
        at = tables.grams(place)
        at = slice(at.start + entries, at.stop + entries)
        read[:, :, at, at] = own
    return read
