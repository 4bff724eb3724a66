"""Loops that compute distances and norms of columns beside the Gram matrices of the stream.

Differences of columns are formed neuron by neuron, because a Gram matrix would lose small ones in
rounding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.jit import loop, reduction
from resexpand.montecarlo.lanes import is_leader, lane_entry, lane_share, over_lanes
from resexpand.montecarlo.loops.columns import Columns, dot


@reduction
def square_of_difference(x: Columns, y: Columns, n: int) -> float:
    """Return `|x - y|^2` over the first n entries."""
    total = 0.0
    for turn in range(lane_share(n)):
        i = lane_entry(turn)
        total += (x[i] - y[i]) * (x[i] - y[i])
    return over_lanes(total)


@loop
def write_distances(stream: Columns, width: int, origin: int, out: NDArray[np.float64]) -> None:
    """Write `|h_a - h_a^0|^2 / N` of the inputs; the h_a^0 are the columns from `origin` on."""
    for a in range(out.size):
        square = square_of_difference(stream[a], stream[origin + a], width)
        if is_leader():
            out[a] = square / width


@loop
def write_squares(columns: Columns, width: int, out: NDArray[np.float64]) -> None:
    """Write `|x_a|^2 / N` of the first columns."""
    for a in range(out.size):
        square = dot(columns[a], columns[a], width)
        if is_leader():
            out[a] = square / width
