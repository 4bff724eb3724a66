"""Back-propagation through the dense sampler: the transposes of the same weights.

Weights are not stored: they are recomputed from their counters and multiplied with the gradients
from the left (`resexpand.montecarlo.loops.products`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from resexpand.montecarlo.jit import inlined, loop_for
from resexpand.montecarlo.loops.columns import (
    Biased,
    Columns,
    Place,
    clear_rows,
    entries_met,
    write_multiple,
)
from resexpand.montecarlo.loops.dense import clear_from
from resexpand.montecarlo.loops.function_space import Law
from resexpand.montecarlo.loops.products import TILE, left_products_by_tiles
from resexpand.montecarlo.random.normals import BLOCK
from resexpand.montecarlo.random.streams import DENSE_FIRST, READ_OUT_WEIGHTS, stream_word
from resexpand.montecarlo.weights.entries import Entries, vector_of

Transpose = Callable[..., None]


@inlined
def transpose_workspace(count: int, inputs: int, length: int) -> tuple[int, int]:
    """Return the shape of scratch space: the result, and one tile of weights."""
    return inputs + 1, max(length, BLOCK * TILE)


def dense_transpose(
    entries: Callable[..., Entries],
    products: Callable[..., Callable[..., None]] = left_products_by_tiles,
) -> tuple[Transpose, Transpose]:
    """Return `transposed` and `read_out_transposed` for weights made by a compiled function."""
    add_left_products, fill_vector = products(entries), vector_of(entries)

    @loop_for(entries)
    def transposed(
        source: Columns,
        gradients: Columns,
        biased: Biased,
        width: int,
        law: Law,
        place: Place,
        operation: int,
        scratch: Columns,
    ) -> None:
        """Replace gradients with respect to the images by those with respect to the columns.

        Parameters are those of `resexpand.montecarlo.loops.function_space_transpose.transposed`.
        Entries of the gradients from N on are overwritten by zeros; unused weights of the last
        rows multiply them.
        """
        key0, key1, layer, draw = place
        inputs = gradients.shape[0]
        unit = math.sqrt(law[0] / width)
        size = entries_met(source, gradients.shape[1], width)
        # Rows are rounded up to full vectors; zeros make those beyond N harmless.
        clear_from(gradients, width)
        result = scratch[:inputs]
        clear_rows(result)
        word = stream_word(layer, DENSE_FIRST + 2 * operation)
        sizes, words = (width, size), (key0, key1, word, draw)
        add_left_products(gradients, result, sizes, words, scratch[inputs])
        for a in range(inputs):
            row = gradients[a] if size == width else source[a]
            write_multiple(row, unit, result[a], size)

    @loop_for(entries)
    def read_out_transposed(
        source: Columns,
        size: tuple[int, int],
        law: Law,
        place: Place,
        scratch: Columns,
        gradients: Columns,
    ) -> None:
        """Write dy_a/dx_a: the weights of the read-out, shape (D, P)."""
        key0, key1, layer, draw = place
        inputs, width = size
        weights = scratch[inputs]
        word = stream_word(layer, READ_OUT_WEIGHTS)
        fill_vector(key0, key1, np.uint64(0), word, draw, weights, width)
        unit = math.sqrt(law[0] / width)
        for a in range(inputs):
            write_multiple(gradients[a], unit, weights, width)

    return transposed, read_out_transposed
