"""Dense sampler of weights that are correlated between layers, any covariance c(l, m).

With a factor ``c = E E^T`` of k columns (`resexpand.montecarlo.weights.layer_factor`), the weights
of block l are sums of k independent Gaussian matrices,

    W^l = sum_j E_lj Z^j,      b^l = sum_j E_lj z^j,

each remade from its counters wherever it is needed, as by `resexpand.montecarlo.loops.dense`: Z^j
is what that sampler draws for block j + 1. No weight is stored. A block costs as much as k blocks
of independent weights, those with ``E_lj = 0`` left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from resexpand.montecarlo.jit import inlined, loop, loop_for, whole
from resexpand.montecarlo.lanes import barrier, lane_entry, lane_share
from resexpand.montecarlo.loops.columns import Biased, Columns, Place, clear_rows, meets_bias
from resexpand.montecarlo.loops.dense import Linear, ReadOut, clear_from, workspace
from resexpand.montecarlo.loops.dense import dense_sampler as independent_sampler
from resexpand.montecarlo.loops.function_space import Law
from resexpand.montecarlo.loops.products import products_by_tiles
from resexpand.montecarlo.random.normals import fill_normals
from resexpand.montecarlo.random.streams import DENSE_FIRST, stream_word
from resexpand.montecarlo.weights.entries import Entries

__all__ = ["dense_sampler", "memory_shape", "workspace"]

NOTHING = whole(0)


@inlined
def memory_shape(
    layers: int, count: int, inputs: int, width: int, length: int, roots: int
) -> tuple[int, int]:
    """Return the shape of what an operation remembers: nothing."""
    return NOTHING, length


@loop
def add_bias(
    target: Columns,
    biased: Biased,
    width: int,
    factor: float,
    variance: float,
    place: Place,
    operation: int,
    bias: Columns,
) -> None:
    """Add `factor` times a bias of this variance to the biased columns; `bias` is scratch."""
    key0, key1, layer, draw = place
    word = stream_word(layer, DENSE_FIRST + 2 * operation + 1)
    fill_normals(key0, key1, np.uint64(0), word, draw, bias, width)
    constant = factor * math.sqrt(variance)
    for c in range(target.shape[0]):
        if meets_bias(c, biased):
            for turn in range(lane_share(width)):
                i = lane_entry(turn)
                target[c, i] += constant * bias[i]
    barrier()


def dense_sampler(
    entries: Callable[..., Entries],
    products: Callable[..., Callable[..., None]] = products_by_tiles,
) -> tuple[Linear, ReadOut]:
    """Return `linear` and `read_out`; the read-out is independent of the blocks."""
    _, read_out = independent_sampler(entries, products)
    add_products = products(entries)

    @loop_for(entries)
    def linear(
        source: Columns,
        target: Columns,
        biased: Biased,
        width: int,
        law: Law,
        place: Place,
        operation: int,
        scratch: Columns,
        mixing: Columns,
        memory: Columns,
    ) -> None:
        """Write `W x_c + b` (where biased) and `W x_c` (elsewhere); mixing (L+1, k) is E."""
        key0, key1, layer, draw = place
        unit = math.sqrt(law[0] / width)
        clear_from(source, width)
        clear_rows(target)
        for j in range(mixing.shape[1]):
            factor = mixing[layer - 1, j]
            if factor != 0.0:
                at = (key0, key1, j + 1, draw)
                if law[1] > 0.0:
                    add_bias(target, biased, width, factor, law[1], at, operation, scratch[1])
                word = stream_word(j + 1, DENSE_FIRST + 2 * operation)
                sizes, words = (width, width), (key0, key1, word, draw)
                add_products(source, target, unit * factor, sizes, words, scratch[0])

    return linear, read_out
