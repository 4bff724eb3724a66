"""Orthogonal weights in function space: the action of a random rotation on few columns.

The weight matrix is `W = sqrt(s) O` with O distributed by the Haar measure on the orthogonal
matrices; its entries have variance `s/N`, as those of the other laws. Let `A = Q R` be the thin
factorisation of the columns. The law of O is unchanged by rotations, so `O Q` is uniform among all
N x C matrices with orthonormal columns, independent of A, and such a matrix is the factor Y in the
thin factorisation `Z = Y T` of i.i.d. normals, T with positive diagonal. Hence

    W A = sqrt(s) Y R

is exact in law at every width, jointly for all columns, and costs `N C` normals instead of a Haar
matrix. Unlike in the Gaussian case biases are no weights of one more neuron: they are drawn apart.

Source: M. L. Eaton, *Multivariate Statistics* (1983), proposition 7.1: uniform distribution on the
Stiefel manifold.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.jit import inlined, loop, whole
from resexpand.montecarlo.lanes import clear, is_leader, shaped
from resexpand.montecarlo.loops.columns import (
    Biased,
    Columns,
    Place,
    add_piece,
    dot,
    meets_bias,
    write_multiple,
)
from resexpand.montecarlo.loops.factor import triangular_factor
from resexpand.montecarlo.loops.function_space import Law
from resexpand.montecarlo.random.normals import fill_normals
from resexpand.montecarlo.random.streams import (
    FUNCTION_SPACE_FIRST,
    READ_OUT_BIAS,
    READ_OUT_WEIGHTS,
    stream_word,
)

SINGLE = whole(1)


@inlined
def workspace(count: int, length: int) -> tuple[int, int]:
    """Return the shape of scratch space: basis, frame, bias, and two triangles."""
    return 2 * count + 3, max(length, count * count)


@loop
def column_factor(
    source: Columns, width: int, scratch: Columns, triangle: NDArray[np.float64]
) -> None:
    """Write R of the columns, upper triangular; the first C rows of scratch hold the basis."""
    count = source.shape[0]
    basis = scratch[:count]
    for c in range(count):
        write_multiple(basis[c], 1.0, source[c], width)
    triangular_factor(basis, width, triangle)


@loop
def add_bias(target: Columns, biased: Biased, width: int, variance: float, bias: Columns) -> None:
    """Add the bias to the columns that meet it."""
    for c in range(target.shape[0]):
        if meets_bias(c, biased):
            add_piece(target[c][:width], math.sqrt(variance), bias)


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
    """Write `W x_c + b` (where biased) and `W x_c` (elsewhere) with a fresh rotation and b.

    Parameters are those of `resexpand.montecarlo.loops.function_space.linear`.
    """
    key0, key1, layer, draw = place
    count, stream = source.shape[0], FUNCTION_SPACE_FIRST + 2 * operation
    triangle = shaped(scratch[2 * count + 1], (count, count))
    column_factor(source, width, scratch, triangle)
    frame = scratch[count : 2 * count]
    for j in range(count):
        fill_normals(key0, key1, np.uint64(j), stream_word(layer, stream), draw, frame[j], width)
    # Orthonormalised normals are the first columns of a Haar rotation: the image of the basis.
    lengths = shaped(scratch[2 * count + 2], (count, count))
    triangular_factor(frame, width, lengths)
    # The last column comes back with its length: nothing is orthogonal to it any more.
    last = count - 1
    for j in range(count):
        for c in range(j, count):
            factor = math.sqrt(law[0]) * triangle[j, c]
            if j == last:
                factor /= lengths[j, j]
            if j == 0:
                clear(target[c])
            add_piece(target[c][:width], factor, frame[j])
    # Without biases no normals are spent.
    if law[1] > 0.0:
        bias = scratch[2 * count]
        word = stream_word(layer, stream + 1)
        fill_normals(key0, key1, np.uint64(0), word, draw, bias, width)
        add_bias(target, biased, width, law[1], bias)


@loop
def read_out(
    source: Columns,
    size: tuple[int, int],
    law: Law,
    place: Place,
    scratch: Columns,
    out: NDArray[np.float64],
) -> None:
    """Write one output component per input, `out[a] = w . x_a + b`: w is a row of a rotation."""
    key0, key1, layer, draw = place
    inputs, width = size
    weights, bias = scratch[0], scratch[1]
    zero = np.uint64(0)
    fill_normals(key0, key1, zero, stream_word(layer, READ_OUT_WEIGHTS), draw, weights, width)
    fill_normals(key0, key1, zero, stream_word(layer, READ_OUT_BIAS), draw, bias, SINGLE)
    # A row of a rotation is a uniform direction of length one, not of length one on average.
    unit = math.sqrt(law[0] / dot(weights, weights, width))
    for a in range(inputs):
        product = dot(source[a], weights, width)
        if is_leader():
            out[a] = unit * product + math.sqrt(law[1]) * bias[0]
