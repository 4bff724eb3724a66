r"""Back-propagation through weights in function space, where only their action was drawn.

Written with the bias as the weight of one more neuron, a linear operation of the function-space
sampler is a matrix W of i.i.d. standard normals, N rows and N + 1 columns, known only by `W Q = Y`:
Q has the orthonormal columns that it met on the way forward, Y are the normals that were drawn
(`resexpand.montecarlo.loops.function_space`). Its action on D gradients P on the way back is then

    W^T P = Q Y^T P + (1 - Q Q^T) Z R_P,        P = Q_P R_P,

with fresh normals Z: given `W Q = Y` the rest `W (1 - Q Q^T)` is independent of all that was drawn,
and meets P for the first and only time, because every W occurs in one layer. So this is exact in
law at every width, jointly with everything read off on the way forward, for `N D` more normals per
operation. In particular `(W^T P)^T A = P^T (W A)` for the columns A of the way forward, to
rounding: the chain rule holds within each network. Normals drawn afresh for the transposed matrix,
instead, would break it.

Q and Y are not kept: they are recomputed from the columns that are kept and from the counters.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.jit import inlined, loop
from resexpand.montecarlo.lanes import barrier, lane_entry, lane_share, shaped
from resexpand.montecarlo.loops.columns import (
    Biased,
    Columns,
    Place,
    clear_rows,
    dot,
    entries_met,
    subtract,
    write_multiple,
)
from resexpand.montecarlo.loops.factor import triangular_factor
from resexpand.montecarlo.loops.function_space import Law, per_entry, write_columns
from resexpand.montecarlo.random.normals import fill_normals
from resexpand.montecarlo.random.streams import (
    FUNCTION_SPACE_FIRST,
    READ_OUT_TRANSPOSED,
    READ_OUT_WEIGHTS,
    TRANSPOSED_FIRST,
    stream_word,
)


@inlined
def transpose_workspace(count: int, inputs: int, length: int) -> tuple[int, int]:
    """Return the shape of scratch space: Q, Q_P, the result, normals, and small matrices."""
    return count + 2 * inputs + 4, max(length, (count + inputs) ** 2)


@loop
def orthonormal(
    source: Columns,
    basis: Columns,
    biased: Biased,
    width: int,
    law: Law,
    triangle: NDArray[np.float64],
) -> None:
    """Write Q, and R, of the columns a_c; a column whose pivot is zero is no part of Q."""
    write_columns(source, basis, biased, width, law)
    triangular_factor(basis, width + 1, triangle)
    # `triangular_factor` leaves the last column as it is, since R does not need it normalised.
    last = source.shape[0] - 1
    if triangle[last, last] != 0.0:
        for turn in range(lane_share(width + 1)):
            i = lane_entry(turn)
            basis[last, i] /= triangle[last, last]
    barrier()


@loop
def project_out(
    normals: Columns, basis: Columns, triangle: NDArray[np.float64], length: int
) -> None:
    """Multiply a column by 1 - Q Q^T."""
    for c in range(basis.shape[0]):
        if triangle[c, c] != 0.0:
            subtract(normals, dot(basis[c], normals, length), basis[c], length)


@loop
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

    Parameters
    ----------
    source : ndarray, shape (C, P)
        The columns on which the operation acted on the way forward. If they are wide, the result
        replaces the first D of them.
    gradients : ndarray, shape (D, P)
        Overwritten.
    biased, width, law, place, operation
        As on the way forward (`resexpand.montecarlo.loops.function_space.linear`).
    scratch : ndarray
        From `transpose_workspace`.
    """
    key0, key1, layer, draw = place
    count, inputs = source.shape[0], gradients.shape[0]
    basis, others = scratch[:count], scratch[count : count + inputs]
    result = scratch[count + inputs : count + 2 * inputs]
    last = count + 2 * inputs
    normals = scratch[last]
    triangle = shaped(scratch[last + 1], (count, count))
    other_triangle = shaped(scratch[last + 2], (inputs, inputs))
    size = entries_met(source, gradients.shape[1], width)
    orthonormal(source, basis, biased, size, per_entry(law, size, width), triangle)
    # A copy of the gradients: the factorisation overwrites them, and Y^T P needs them below.
    for a in range(inputs):
        write_multiple(others[a], 1.0, gradients[a], width)
    triangular_factor(others, width, other_triangle)
    clear_rows(result)
    # The action beyond the span of Q: fresh normals, projected onto its complement.
    word = stream_word(layer, TRANSPOSED_FIRST + 2 * operation)
    for k in range(inputs):
        if other_triangle[k, k] != 0.0:
            fill_normals(key0, key1, np.uint64(k), word, draw, normals, size + 1)
            project_out(normals, basis, triangle, size + 1)
            for a in range(k, inputs):
                subtract(result[a], -other_triangle[k, a], normals, size)
    # The normals Y of the forward pass, from the same counters.
    word = stream_word(layer, FUNCTION_SPACE_FIRST + 2 * operation)
    for c in range(count):
        if triangle[c, c] != 0.0:
            fill_normals(key0, key1, np.uint64(c), word, draw, normals, width)
            for a in range(inputs):
                subtract(result[a], -dot(normals, gradients[a], width), basis[c], size)
    unit = math.sqrt(law[0] / width)
    for a in range(inputs):
        row = gradients[a] if size == width else source[a]
        write_multiple(row, unit, result[a], size)


@loop
def read_out_transposed(
    source: Columns,
    size: tuple[int, int],
    law: Law,
    place: Place,
    scratch: Columns,
    gradients: Columns,
) -> None:
    """Write dy_a/dx_a: the weights of the read-out whose outputs `read_out` drew, shape (D, P)."""
    key0, key1, layer, draw = place
    inputs, width = size
    basis, normals, few = scratch[:inputs], scratch[inputs], scratch[inputs + 1]
    triangle = shaped(scratch[inputs + 2], (inputs, inputs))
    orthonormal(source[:inputs], basis, (inputs - 1,), width, law, triangle)
    zero = np.uint64(0)
    word = stream_word(layer, READ_OUT_TRANSPOSED)
    fill_normals(key0, key1, zero, word, draw, normals, width + 1)
    project_out(normals, basis, triangle, width + 1)
    fill_normals(key0, key1, zero, stream_word(layer, READ_OUT_WEIGHTS), draw, few, inputs)
    for c in range(inputs):
        if triangle[c, c] != 0.0:
            subtract(normals, -few[c], basis[c], width)
    unit = math.sqrt(law[0] / width)
    for a in range(inputs):
        write_multiple(gradients[a], unit, normals, width)
