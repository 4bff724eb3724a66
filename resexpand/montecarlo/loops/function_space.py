"""Function-space sampler: draws the action of the weights on the few columns of a network.

A weight matrix W with i.i.d. entries `N(0, s/N)` and a bias b with entries `N(0, t)` act on the
columns `x_1 ... x_C` of one network. Written as one matrix, rows of `[W x_1 + b, ..., W x_C]` (no
bias on derivatives) are scalar products of i.i.d. standard normals with the columns

    a_c = ( x_c sqrt(s/N),  sqrt(t) if biased else 0 ),      length N + 1:

the bias is the weight of one more neuron. With the thin factorisation `A = Q R`, `W x = Y R` where
`Y = Z Q` again has i.i.d. standard normal entries, because Q has orthonormal columns. So only
`N C` normals per layer are drawn instead of `N^2`, and Q is never needed. This is exact in law at
every width, for any activation, jointly for all columns; C^l = R^T R is the layer covariance.

Not done: an eigendecomposition of the Gram matrix would do the same for generic columns, but ReLU
makes columns exactly zero or dependent with positive probability, where rounding splits them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.jit import inlined, loop
from resexpand.montecarlo.lanes import at_once, barrier, is_leader, shaped
from resexpand.montecarlo.loops.columns import (
    Biased,
    Columns,
    Place,
    add_piece,
    combine,
    dot,
    entries_met,
    meets_bias,
    padded,
    write_multiple,
)
from resexpand.montecarlo.loops.factor import triangular_factor
from resexpand.montecarlo.random.normals import BLOCK, add_normals, fill_normals, fill_piece
from resexpand.montecarlo.random.streams import FUNCTION_SPACE_FIRST, READ_OUT_WEIGHTS, stream_word

Law = tuple[float, float]
"""Weight variance (times fan-in) and bias variance of one linear operation."""


PIECE = 1024
"""Normals made at once: a multiple of `LANES`, and a small part of the first-level cache."""


@inlined
def workspace(count: int, length: int) -> tuple[int, int]:
    """Return the shape of scratch space: the columns a_c, one row of normals, R."""
    return count + 2, max(length, count * count)


@inlined
def per_entry(law: Law, size: int, width: int) -> Law:
    """Return the variances where weights of variance ``law[0] / N`` meet that many entries."""
    return law[0] * (size / width), law[1]


@loop
def write_columns(source: Columns, basis: Columns, biased: Biased, width: int, law: Law) -> None:
    """Write the columns a_c."""
    unit, constant = math.sqrt(law[0] / width), math.sqrt(law[1])
    # Entry N of a column belongs to the bias, the weight of one more neuron.
    for c in range(source.shape[0]):
        write_multiple(basis[c], unit, source[c], width)
        if is_leader():
            basis[c, width] = constant if meets_bias(c, biased) else 0.0
    barrier()


@loop
def feature_factor(
    source: Columns,
    biased: Biased,
    width: int,
    law: Law,
    scratch: Columns,
    triangle: NDArray[np.float64],
) -> None:
    """Write R of the columns a_c, shape (C, C)."""
    count = source.shape[0]
    if count == 1:  # R is the length of the column; Q is not needed
        square = law[0] / width * dot(source[0], source[0], width) + law[1]
        if is_leader():
            triangle[0, 0] = math.sqrt(square)
        barrier()
        return
    basis = scratch[:count]
    write_columns(source, basis, biased, width, law)
    triangular_factor(basis, width + 1, triangle)


@loop
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

    Parameters
    ----------
    source, target : ndarray, shape (C, P)
        Columns before and after; not the same array. The source may be wide: weights have the
        variance ``law[0] / N`` then, too.
    biased : tuple of int
        Columns that receive the bias: all up to the first of these, and the others.
    width : int
        Number N of neurons.
    law : tuple
        Weight variance times fan-in, bias variance.
    place : tuple
        Key words, layer, draw.
    operation : int
        Position in the branch.
    scratch : ndarray
        From `workspace`.
    """
    key0, key1, layer, draw = place
    count, length = source.shape[0], padded(width)
    triangle = shaped(scratch[count + 1], (count, count))
    size = entries_met(source, target.shape[1], width)
    feature_factor(source, biased, size, per_entry(law, size, width), scratch, triangle)
    word = stream_word(layer, FUNCTION_SPACE_FIRST + 2 * operation)
    normals = scratch[count, :length]
    for j in range(count):
        # The first column is written even if its pivot is zero, since it clears the target.
        if j == 0 or triangle[j, j] != 0.0:
            fill_normals(key0, key1, np.uint64(j), word, draw, normals, length)
            combine(target, triangle, j, normals)


@loop
def add_linear(
    source: Columns,
    stream: Columns,
    scale: float,
    added_to: NDArray[np.int64],
    biased: Biased,
    width: int,
    law: Law,
    place: Place,
    operation: int,
    scratch: Columns,
) -> None:
    """Close a residual block that ends in a linear operation: add scale times its images.

    The same networks, to rounding, as `linear` into an array of its own followed by `add_scaled`,
    whose parameters these are. The columns go piece by piece, short enough that the normals never
    leave the first-level cache.
    """
    key0, key1, layer, draw = place
    count, length = source.shape[0], padded(width)
    triangle = shaped(scratch[count + 1], (count, count))
    feature_factor(source, biased, width, law, scratch, triangle)
    word = stream_word(layer, FUNCTION_SPACE_FIRST + 2 * operation)
    if count == 1:  # normals go straight into the stream, without a row of their own
        factor = scale * triangle[0, 0]
        add_normals(key0, key1, np.uint64(0), word, draw, stream[added_to[0]], length, factor)
        return
    normals = scratch[count]
    pieces = at_once(length, PIECE)
    for first in range(0, length, pieces):
        size = min(pieces, length - first)
        for j in range(count):
            # A zero pivot marks a dependent column: it takes no normals of its own.
            if triangle[j, j] != 0.0:
                fill_piece(key0, key1, first // BLOCK, np.uint64(j), word, draw, normals, size)
                for c in range(j, count):
                    target = stream[added_to[c]]
                    add_piece(target[first : first + size], scale * triangle[j, c], normals)


@loop
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
    triangle = shaped(scratch[inputs + 1], (inputs, inputs))
    feature_factor(source[:inputs], (inputs - 1,), width, law, scratch, triangle)
    normals = scratch[inputs]
    word = stream_word(layer, READ_OUT_WEIGHTS)
    fill_normals(key0, key1, np.uint64(0), word, draw, normals, inputs)
    # One output component needs one normal per input: D numbers, for one lane.
    if is_leader():
        for a in range(inputs):
            out[a] = 0.0
            for j in range(a + 1):
                out[a] += triangle[j, a] * normals[j]
    barrier()
