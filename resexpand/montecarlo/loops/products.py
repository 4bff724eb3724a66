"""Products of weights that are made where they are needed: with columns, and from the left.

The weights of one operation are those of the vectors with indices 0 ... N - 1 under the counter
words of a place (`resexpand.montecarlo.loops.dense`). There are two ways to multiply with them:

by tiles    (CPU) four columns of weights for 256 rows are written to the first-level cache, and all
            columns of the network are multiplied with them by vector instructions. Vector lanes run
            over rows: each neuron sums its N products in the order of j, whatever the vector width.
by rows     (GPU) each lane makes the weights of its own neurons and multiplies at once; no weight
            leaves the registers. One column is summed up in a register, too.

Each is a factory around the function that makes four entries from four random words.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from resexpand.montecarlo.jit import loop, loop_for
from resexpand.montecarlo.lanes import barrier, lane_entry, lane_share, shaped
from resexpand.montecarlo.loops.columns import Columns, dot
from resexpand.montecarlo.random.normals import BLOCK
from resexpand.montecarlo.random.philox import philox4x32
from resexpand.montecarlo.weights.entries import Entries, rows_of

Words = tuple[np.uint64, np.uint64, np.uint64, np.uint64]
"""Key words 0 and 1, counter words 2 and 3."""

Sizes = tuple[int, int]
"""Neurons N, and the entries of the columns that the weights meet; N of them but for wide ones."""

Products = Callable[..., None]

TILE = 256
"""Rows per tile: four weights for each stay in the first-level cache."""

VECTOR = 8
"""Rows are rounded up to full vectors."""


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


def products_by_tiles(entries: Callable[..., Entries]) -> Products:
    """Return the loop that adds `unit W x_c` to every column of the target, tile by tile."""
    fill_rows = rows_of(entries)

    @loop_for(entries)
    def add_products(
        source: Columns, target: Columns, unit: float, sizes: Sizes, words: Words, scratch: Columns
    ) -> None:
        """Multiply; entries of the source behind those that count are zeros."""
        key0, key1, c2, c3 = words
        width, size = sizes
        rows = (width + VECTOR - 1) // VECTOR * VECTOR
        for row in range(0, rows, TILE):
            tile = min(TILE, rows - row)
            # A contiguous array of its own: strides known only at run time keep the loop scalar.
            weights = shaped(scratch, (BLOCK, tile))
            for block in range((size + BLOCK - 1) // BLOCK):
                # A tile stays in the first-level cache while all columns use it.
                fill_rows(key0, key1, np.uint64(block), row, c2, c3, weights)
                add_block(source, target, unit, block, row, weights)

    return add_products


def products_by_rows(entries: Callable[..., Entries]) -> Products:
    """Return the loop that adds `unit W x_c` to every column of the target, row by row."""

    @loop_for(entries)
    def add_products(
        source: Columns, target: Columns, unit: float, sizes: Sizes, words: Words, scratch: Columns
    ) -> None:
        """Multiply; entries of the source behind those that count are zeros."""
        key0, key1, c2, c3 = words
        width, size = sizes
        blocks, count = (size + BLOCK - 1) // BLOCK, source.shape[0]
        for turn in range(lane_share(width)):
            i = lane_entry(turn)
            # The sum of the first column stays in a register; the others go through memory.
            row, first, total = np.uint64(i), source[0], 0.0
            for block in range(blocks):
                w0, w1, w2, w3 = entries(*philox4x32(np.uint64(block), row, c2, c3, key0, key1))
                k = BLOCK * block
                total += w0 * first[k] + w1 * first[k + 1] + w2 * first[k + 2] + w3 * first[k + 3]
                for c in range(1, count):
                    x = source[c]
                    four = w0 * x[k] + w1 * x[k + 1] + w2 * x[k + 2] + w3 * x[k + 3]
                    target[c, i] += unit * four
            target[0, i] += unit * total
        barrier()

    return add_products


def left_products_by_tiles(entries: Callable[..., Entries]) -> Products:
    """Return the loop that adds `W^T p_a` to rows of a result, tile by tile."""
    fill_rows = rows_of(entries)

    @loop_for(entries)
    def add_left_products(
        gradients: Columns, result: Columns, sizes: Sizes, words: Words, scratch: Columns
    ) -> None:
        """Multiply; entries of the gradients from N on are zeros."""
        key0, key1, c2, c3 = words
        width, size = sizes
        rows = (width + VECTOR - 1) // VECTOR * VECTOR
        for row in range(0, rows, TILE):
            tile = min(TILE, rows - row)
            weights = shaped(scratch, (BLOCK, tile))
            for block in range((size + BLOCK - 1) // BLOCK):
                fill_rows(key0, key1, np.uint64(block), row, c2, c3, weights)
                for a in range(gradients.shape[0]):
                    # Rows of the tile are summed first; the tiles then follow in order.
                    for p in range(BLOCK):
                        share = dot(weights[p], gradients[a, row : row + tile], tile)
                        result[a, BLOCK * block + p] += share

    return add_left_products


def left_products_by_rows(entries: Callable[..., Entries]) -> Products:
    """Return the loop that adds `W^T p_a` to rows of a result; a lane owns columns of weights."""

    @loop_for(entries)
    def add_left_products(
        gradients: Columns, result: Columns, sizes: Sizes, words: Words, scratch: Columns
    ) -> None:
        """Multiply; rows of the result are longer than their entries rounded up to four."""
        key0, key1, c2, c3 = words
        width, size = sizes
        for turn in range(lane_share((size + BLOCK - 1) // BLOCK)):
            block = lane_entry(turn)
            number, k = np.uint64(block), BLOCK * block
            # A lane owns four entries of the result, so that no two lanes add to one number.
            s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
            for i in range(width):
                row, p = np.uint64(i), gradients[0, i]
                w0, w1, w2, w3 = entries(*philox4x32(number, row, c2, c3, key0, key1))
                s0, s1, s2, s3 = s0 + w0 * p, s1 + w1 * p, s2 + w2 * p, s3 + w3 * p
                for a in range(1, gradients.shape[0]):
                    p, g = gradients[a, i], result[a]
                    g[k] += w0 * p
                    g[k + 1] += w1 * p
                    g[k + 2] += w2 * p
                    g[k + 3] += w3 * p
            g = result[0]
            g[k] += s0
            g[k + 1] += s1
            g[k + 2] += s2
            g[k + 3] += s3
        barrier()

    return add_left_products
