"""Back-propagation through the dense sampler of correlated layers: the same weights, transposed."""

from __future__ import annotations

import math
from collections.abc import Callable

from resexpand.montecarlo.jit import inlined, loop_for
from resexpand.montecarlo.lanes import barrier, lane_entry, lane_share
from resexpand.montecarlo.loops.columns import (
    Biased,
    Columns,
    Place,
    clear_rows,
    write_multiple,
)
from resexpand.montecarlo.loops.dense import clear_from
from resexpand.montecarlo.loops.dense_transpose import Transpose
from resexpand.montecarlo.loops.dense_transpose import dense_transpose as independent_transpose
from resexpand.montecarlo.loops.function_space import Law
from resexpand.montecarlo.loops.products import TILE, left_products_by_tiles
from resexpand.montecarlo.random.normals import BLOCK
from resexpand.montecarlo.random.streams import DENSE_FIRST, stream_word
from resexpand.montecarlo.weights.entries import Entries


@inlined
def transpose_workspace(count: int, inputs: int, length: int) -> tuple[int, int]:
    """Return the shape of scratch space: the result, one term of it, and one tile of weights."""
    return 2 * inputs + 1, max(length, BLOCK * TILE)


def dense_transpose(
    entries: Callable[..., Entries],
    products: Callable[..., Callable[..., None]] = left_products_by_tiles,
) -> tuple[Transpose, Transpose]:
    """Return `transposed` and `read_out_transposed` for weights made by a compiled function."""
    _, read_out_transposed = independent_transpose(entries, products)
    add_left_products = products(entries)

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
        mixing: Columns,
        memory: Columns,
    ) -> None:
        """Replace gradients with respect to the images by those with respect to the columns."""
        key0, key1, layer, draw = place
        inputs = gradients.shape[0]
        unit = math.sqrt(law[0] / width)
        clear_from(gradients, width)
        result, term = scratch[:inputs], scratch[inputs : 2 * inputs]
        clear_rows(result)
        for j in range(mixing.shape[1]):
            factor = mixing[layer - 1, j]
            if factor != 0.0:
                clear_rows(term)
                word = stream_word(j + 1, DENSE_FIRST + 2 * operation)
                sizes, words = (width, width), (key0, key1, word, draw)
                add_left_products(gradients, term, sizes, words, scratch[2 * inputs])
                for a in range(inputs):
                    for turn in range(lane_share(width)):
                        i = lane_entry(turn)
                        result[a, i] += factor * term[a, i]
                barrier()
        for a in range(inputs):
            write_multiple(gradients[a], unit, result[a], width)

    return transposed, read_out_transposed
