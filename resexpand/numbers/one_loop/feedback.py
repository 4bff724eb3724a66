r"""Order 1/N of a stream that is normalised behind every block: averages scale every addition.

In units without normalisation (`resexpand.theory.one_loop.post_norm`) block l adds

    rho^2 C_pq S_p S_q,    S = 1 / slope(s),

to the covariance of the stream, ``s`` being averages over the stream that the block reads. It is
no average of its own but a function of variables of the block. So its derivatives carry
perturbations on, and half of its second ones times their covariance are one more source of means.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resexpand.numbers.one_loop.tables import Tables, entry_pairs

Array = NDArray[np.float64]


def feedback(tables: Tables) -> tuple[Array, Array]:
    """Return first and second derivatives of what a block adds, by the variables of the block.

    Parameters
    ----------
    tables : Tables
        Of a network whose first site reads a stream that is normalised.

    Returns
    -------
    first, second : ndarray, shapes (G, B, p, n) and (G, B, p, n, n)
    """
    site, inputs, size = tables.sites[0], tables.inputs, tables.size
    scale, slope = tables.scales, site.maps["slope"]
    ratio, ratios = site.maps["ratio"], site.maps["ratios"]
    rate = -ratio
    bent = 2 * ratio[..., :, None] * ratio[..., None, :] - ratios
    averages = np.arange(site.averages) * inputs
    grams = np.arange(size)[tables.grams(len(tables.sites) - 1)]
    first = np.zeros((*scale.shape, tables.entries, size))
    second = np.zeros((*first.shape, size))
    for entry, (p, q) in enumerate(entry_pairs(inputs)):
        unit = scale / (slope[..., p] * slope[..., q])
        added = (unit * tables.gram[..., p, q])[..., None]
        own, gram = {r: averages + r for r in (p, q)}, grams[entry]
        first[..., entry, gram] = unit
        for r, other in ((p, q), (q, p)):
            first[..., entry, own[r]] += added * rate[:, :, r]
            mixed = unit[..., None] * rate[:, :, r]
            second[..., entry, gram, own[r]] += mixed
            second[..., entry, own[r], gram] += mixed
            at = own[r][:, None]
            second[..., entry, at, own[r]] += added[..., None] * bent[:, :, r]
            cross = rate[:, :, r, :, None] * rate[:, :, other, None, :]
            second[..., entry, at, own[other]] += added[..., None] * cross
    return first, second


def additions(tables: Tables) -> Array | None:
    """Return what blocks add to the stream, ``(G, B, p, n)``; None if it is their last variables.

    Blocks of different shapes end at different sites.
    """
    ends = tables.last[:-1]
    if (ends == len(tables.sites) - 1).all():
        return None
    added = np.zeros((*tables.scales.shape, tables.entries, tables.size))
    for block, place in enumerate(ends):
        at = np.arange(tables.size)[tables.grams(place)]
        added[:, block, np.arange(tables.entries), at] = tables.scales[:, block, None]
    return added
