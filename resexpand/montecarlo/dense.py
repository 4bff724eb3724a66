"""Dense sampler: draws every weight. The ground truth against which the other sampler is held.

For each linear operation all `N^2` weights of variance `s/N` and N biases `N(0, t)` are generated
and multiplied with the columns in one pass; no weight is stored. The weights are independent, of
any law: `entries` makes four of unit variance from four random words
(`resexpand.montecarlo.weights.entries`). Weight `W_ij` is entry j of the vector with index i (see
`resexpand.montecarlo.philox`), so any part of the matrix can be recomputed anywhere. Vector lanes
run over rows: each output neuron sums its N products in the order of j, whatever the vector width.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.columns import Biased, Columns, Place, dot, meets_bias
from resexpand.montecarlo.function_space import Law
from resexpand.montecarlo.jit import loop, loop_for
from resexpand.montecarlo.normals import BLOCK, fill_normals
from resexpand.montecarlo.streams import (
    DENSE_FIRST,
    READ_OUT_BIAS,
    READ_OUT_WEIGHTS,
    stream_word,
)
from resexpand.montecarlo.weights.entries import Entries, rows_of, vector_of

Linear = Callable[..., None]
ReadOut = Callable[..., None]

TILE = 256
"""Rows per tile: four normals for each stay in the first-level cache."""

VECTOR = 8
"""Rows are rounded up to full vectors."""


@loop
def workspace(count: int, length: int) -> Columns:
    """Return the scratch space of one network: two rows of a network, or one tile of normals."""
    return np.empty((2, max(length, BLOCK * TILE)))


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
    """Write a fresh bias where it is met, and zeros elsewhere; `bias` is scratch."""
    key0, key1, layer, draw = place
    constant = np.sqrt(variance)
    if constant > 0.0:
        word = stream_word(layer, DENSE_FIRST + 2 * operation + 1)
        fill_normals(key0, key1, np.uint64(0), word, draw, bias, width)
    for c in range(target.shape[0]):
        drawn = meets_bias(c, biased) and constant > 0.0
        for i in range(target.shape[1]):
            target[c, i] = constant * bias[i] if drawn and i < width else 0.0


@loop
def add_block(
    source: Columns, target: Columns, unit: float, block: int, row: int, normals: Columns
) -> None:
    """Add the products of four matrix columns with all columns to a tile of rows."""
    rows = normals.shape[1]
    first = BLOCK * block
    w0, w1, w2, w3 = normals[0], normals[1], normals[2], normals[3]
    for c in range(source.shape[0]):
        x = source[c]
        x0, x1, x2, x3 = x[first], x[first + 1], x[first + 2], x[first + 3]
        y = target[c, row : row + rows]
        for i in range(rows):
            y[i] += unit * (w0[i] * x0 + w1[i] * x1 + w2[i] * x2 + w3[i] * x3)


def dense_sampler(entries: Callable[..., Entries]) -> tuple[Linear, ReadOut]:
    """Return `linear` and `read_out` for weights that a compiled function makes from words.

    A factory, because a compiled function that takes another as an argument cannot be kept on disk.
    """
    fill_rows, fill_vector = rows_of(entries), vector_of(entries)

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

        Parameters are those of `resexpand.montecarlo.function_space.linear`. Entries of the source
        from N on are overwritten by zeros: they meet the unused weights of the last block.
        """
        key0, key1, layer, draw = place
        unit = np.sqrt(law[0] / width)
        source[:, width:] = 0.0
        write_bias(target, biased, width, law[1], place, operation, scratch[1])
        word = stream_word(layer, DENSE_FIRST + 2 * operation)
        rows = (width + VECTOR - 1) // VECTOR * VECTOR
        for row in range(0, rows, TILE):
            tile = min(TILE, rows - row)
            # A contiguous array of its own: strides known only at run time keep the loop scalar.
            weights = scratch[0, : BLOCK * tile].reshape((BLOCK, tile))
            for block in range((width + BLOCK - 1) // BLOCK):
                fill_rows(key0, key1, np.uint64(block), row, word, draw, weights)
                add_block(source, target, unit, block, row, weights)

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
        fill_vector(key0, key1, zero, word, draw, weights, width)
        fill_normals(key0, key1, zero, stream_word(layer, READ_OUT_BIAS), draw, bias, 1)
        for a in range(inputs):
            product = dot(source[a], weights, width)
            out[a] = np.sqrt(law[0] / width) * product + np.sqrt(law[1]) * bias[0]

    return linear, read_out
