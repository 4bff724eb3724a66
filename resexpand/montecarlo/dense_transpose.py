"""Back-propagation through the dense sampler: the transposes of the same weights.

The weights were never stored; they are made again from their counters, tile by tile, and multiplied
with the gradients from the left.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from resexpand.montecarlo.columns import Biased, Columns, Place, dot
from resexpand.montecarlo.dense import TILE, VECTOR
from resexpand.montecarlo.function_space import Law
from resexpand.montecarlo.jit import loop, loop_for
from resexpand.montecarlo.normals import BLOCK
from resexpand.montecarlo.streams import DENSE_FIRST, READ_OUT_WEIGHTS, stream_word
from resexpand.montecarlo.weights.entries import Entries, rows_of, vector_of

Transpose = Callable[..., None]


@loop
def transpose_workspace(count: int, inputs: int, length: int) -> Columns:
    """Return scratch space: the result, and one tile of weights."""
    return np.empty((inputs + 1, max(length, BLOCK * TILE)))


def dense_transpose(entries: Callable[..., Entries]) -> tuple[Transpose, Transpose]:
    """Return `transposed` and `read_out_transposed` for weights made by a compiled function."""
    fill_rows, fill_vector = rows_of(entries), vector_of(entries)

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

        Parameters are those of `resexpand.montecarlo.function_space_transpose.transposed`.
        Entries of the gradients from N on are overwritten by zeros: they meet the unused weights
        of the last rows.
        """
        key0, key1, layer, draw = place
        inputs = gradients.shape[0]
        unit = np.sqrt(law[0] / width)
        gradients[:, width:] = 0.0
        result = scratch[:inputs]
        result[:, :] = 0.0
        word = stream_word(layer, DENSE_FIRST + 2 * operation)
        rows = (width + VECTOR - 1) // VECTOR * VECTOR
        for row in range(0, rows, TILE):
            tile = min(TILE, rows - row)
            weights = scratch[inputs, : BLOCK * tile].reshape((BLOCK, tile))
            for block in range((width + BLOCK - 1) // BLOCK):
                fill_rows(key0, key1, np.uint64(block), row, word, draw, weights)
                for a in range(inputs):
                    for p in range(BLOCK):
                        share = dot(weights[p], gradients[a, row : row + tile], tile)
                        result[a, BLOCK * block + p] += share
        for a in range(inputs):
            for i in range(width):
                gradients[a, i] = unit * result[a, i]

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
        unit = np.sqrt(law[0] / width)
        for a in range(inputs):
            for i in range(width):
                gradients[a, i] = unit * weights[i]

    return transposed, read_out_transposed
