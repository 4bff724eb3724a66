"""The loop that rescales columns by powers of two (`resexpand.montecarlo.groups.power_of_two`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.jit import loop
from resexpand.montecarlo.lanes import barrier, is_leader, lane_entry, lane_share
from resexpand.montecarlo.loops.columns import Columns

LARGEST = 2.0**256
"""Largest squared norm over N that is not rescaled; its square is still a double."""


@loop
def in_new_units(columns: Columns, gram: NDArray[np.float64], exponent: int) -> int:
    """Divide columns and their Gram matrix by powers of two where the latter is too large.

    Parameters
    ----------
    columns : ndarray, shape (S, P)
        In units of `2**exponent`; changed in place.
    gram : ndarray, shape (S, S)
        Their Gram matrix, in units of `4**exponent`; changed in place.
    exponent : int

    Returns
    -------
    int
        The exponent from now on. It does not change for columns that are infinite or NaN.
    """
    # The stream is rescaled by its largest column, so that ratios of columns stay exact.
    top = 0.0
    for c in range(gram.shape[0]):
        top = max(top, gram[c, c])
    barrier()
    # NaN fails both comparisons, so that broken networks keep their exponent.
    if not LARGEST < top < np.inf:
        return exponent
    # Powers of two change exponents alone, so that no digit of the network changes.
    factor = 1.0
    while top * (factor * factor) > 4.0:
        factor *= 0.5
        exponent += 1
    for c in range(columns.shape[0]):
        x = columns[c]
        for turn in range(lane_share(x.size)):
            i = lane_entry(turn)
            x[i] *= factor
    if is_leader():
        for a in range(gram.shape[0]):
            for b in range(gram.shape[1]):
                gram[a, b] *= factor * factor
    barrier()
    return exponent
