"""Dense sampler: draws every weight. It is the reference for the function-space sampler.

For each linear operation all `N^2` weights of variance `s/N` and N biases `N(0, t)` are generated
and multiplied with the columns in one pass; no weight is stored. The weights are independent, of
any law: `entries` makes four of unit variance from four random words
(`resexpand.montecarlo.weights.entries`). Weight `W_ij` is entry j of the vector with index i (see
`resexpand.montecarlo.random.philox`), so any part of the matrix can be recomputed anywhere. The
products are in `resexpand.montecarlo.loops.products`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.jit import inlined, loop, loop_for, whole
from resexpand.montecarlo.lanes import barrier, is_leader, lane_entry, lane_share
from resexpand.montecarlo.loops.columns import Biased, Columns, Place, dot, entries_met, meets_bias
from resexpand.montecarlo.loops.function_space import Law
from resexpand.montecarlo.loops.products import TILE, products_by_tiles
from resexpand.montecarlo.random.normals import BLOCK, fill_normals
from resexpand.montecarlo.random.streams import (
    DENSE_FIRST,
    READ_OUT_BIAS,
    READ_OUT_WEIGHTS,
    stream_word,
)
from resexpand.montecarlo.weights.entries import Entries, vector_of

Linear = Callable[..., None]
ReadOut = Callable[..., None]

ROWS, SINGLE = whole(2), whole(1)


@inlined
def workspace(count: int, length: int) -> tuple[int, int]:
    """Return the shape of scratch space: two rows of a network, or one tile of weights."""
    return ROWS, max(length, BLOCK * TILE)


@loop
def write_bias(
    target: Columns,
    biased: Biased,
    width: int,
    variance: float,
    place: Place,
    operation: int,
    bias: Columns,
) -> None:
    """Write a fresh bias to the biased columns, and zeros elsewhere; `bias` is scratch."""
    key0, key1, layer, draw = place
    constant = math.sqrt(variance)
    if constant > 0.0:  # without biases no normals are spent
        word = stream_word(layer, DENSE_FIRST + 2 * operation + 1)
        fill_normals(key0, key1, np.uint64(0), word, draw, bias, width)
    for c in range(target.shape[0]):
        # The products are added to the target: columns without a bias start from zeros.
        drawn = meets_bias(c, biased) and constant > 0.0
        for turn in range(lane_share(target.shape[1])):
            i = lane_entry(turn)
            target[c, i] = constant * bias[i] if drawn and i < width else 0.0
    barrier()


@loop
def clear_from(columns: Columns, width: int) -> None:
    """Write zeros behind the first entries, which are multiplied with unused weights."""
    for c in range(columns.shape[0]):
        row = columns[c]
        for turn in range(lane_share(row.size - width)):
            row[width + lane_entry(turn)] = 0.0
    barrier()


def dense_sampler(
    entries: Callable[..., Entries],
    products: Callable[..., Callable[..., None]] = products_by_tiles,
) -> tuple[Linear, ReadOut]:
    """Return `linear` and `read_out` for weights that a compiled function makes from words.

    A factory, because a compiled function that takes another as an argument cannot be kept on disk.
    `products` is a factory as well; it makes the loop that multiplies weights with columns.
    """
    add_products, fill_vector = products(entries), vector_of(entries)

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
    ) -> None:
        """Write `W x_c + b` (where biased) and `W x_c` (elsewhere) with fresh W and b.

        Parameters are those of `resexpand.montecarlo.loops.function_space.linear`. Entries of the
        source from N on are overwritten by zeros; unused weights of the last block multiply them.
        """
        key0, key1, layer, draw = place
        unit = math.sqrt(law[0] / width)
        size = entries_met(source, target.shape[1], width)
        # Weights come in blocks of four; zeros make those beyond N harmless.
        clear_from(source, size)
        write_bias(target, biased, width, law[1], place, operation, scratch[1])
        word = stream_word(layer, DENSE_FIRST + 2 * operation)
        add_products(source, target, unit, (width, size), (key0, key1, word, draw), scratch[0])

    @loop_for(entries)
    def read_out(
        source: Columns,
        size: tuple[int, int],
        law: Law,
        place: Place,
        scratch: Columns,
        out: NDArray[np.float64],
    ) -> None:
        """Write one output component per input, `out[a] = w . x_a + b`, shape (D,)."""
        key0, key1, layer, draw = place
        inputs, width = size
        weights, bias = scratch[0], scratch[1]
        zero, word = np.uint64(0), stream_word(layer, READ_OUT_WEIGHTS)
        # Weights and bias have streams of their own: either can change without the other.
        fill_vector(key0, key1, zero, word, draw, weights, width)
        fill_normals(key0, key1, zero, stream_word(layer, READ_OUT_BIAS), draw, bias, SINGLE)
        for a in range(inputs):
            product = dot(source[a], weights, width)
            if is_leader():
                out[a] = math.sqrt(law[0] / width) * product + math.sqrt(law[1]) * bias[0]

    return linear, read_out
