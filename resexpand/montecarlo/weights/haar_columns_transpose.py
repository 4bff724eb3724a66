r"""Back-propagation through a random rotation of which only the action on a few columns was drawn.

A linear operation is `W = sqrt(s) O`, O uniform among the rotations, known only by `O Q = Y`: Q has
the orthonormal columns that it met on the way forward, Y those that were drawn
(`resexpand.montecarlo.weights.haar_columns`). Given that, O maps what is orthogonal to Q to what is
orthogonal to Y, by a rotation that is again uniform. For D gradients P on the way back, with the
thin factorisations

    [Y | P] = [Y | U] [1  Y^T P]          [Q | Z] = [Q | V] [1  .]
                      [0    R  ],                           [0  .],       Z fresh normals,

V is uniform among the orthonormal columns orthogonal to Q, as `O^T U` is, and so

    W^T P = sqrt(s) (Q Y^T P + V R)

is exact in law at every width, jointly with everything read off on the way forward. The chain rule
`(W^T P)^T A = P^T (W A)` holds within each network. A read-out is drawn in full on the way forward.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.jit import inlined, loop
from resexpand.montecarlo.lanes import barrier, clear, is_leader, lane_entry, lane_share, shaped
from resexpand.montecarlo.loops.columns import (
    Biased,
    Columns,
    Place,
    clear_rows,
    dot,
    subtract,
    write_multiple,
)
from resexpand.montecarlo.loops.factor import triangular_factor
from resexpand.montecarlo.loops.function_space import Law
from resexpand.montecarlo.random.normals import fill_normals
from resexpand.montecarlo.random.streams import (
    FUNCTION_SPACE_FIRST,
    READ_OUT_WEIGHTS,
    TRANSPOSED_FIRST,
    stream_word,
)


@inlined
def transpose_workspace(count: int, inputs: int, length: int) -> tuple[int, int]:
    """Return the shape of scratch space: [Q | V], [Y | U], and two triangles."""
    both = count + inputs
    return 2 * both + 2, max(length, both * both)


@loop
def normalised(columns: Columns, n: int, triangle: NDArray[np.float64]) -> None:
    """Factorise; the last column, which `triangular_factor` leaves as it is, is normalised, too.

    Columns without a pivot become zero.
    """
    triangular_factor(columns, n, triangle)
    last = columns.shape[0] - 1
    for c in range(columns.shape[0]):
        pivot = triangle[c, c]
        if c == last or pivot == 0.0:
            for turn in range(lane_share(n)):
                i = lane_entry(turn)
                columns[c, i] = columns[c, i] / pivot if pivot != 0.0 else 0.0
    barrier()


@loop
def write_frames(
    source: Columns, before: Columns, behind: Columns, width: int, place: Place, operation: int
) -> None:
    """Write Q and, from the normals of the way forward, Y; both zero where Q has no column.

    The rows of both behind the C columns are scratch.
    """
    key0, key1, layer, draw = place
    count = source.shape[0]
    triangle = shaped(behind[behind.shape[0] - 1], (count, count))
    for c in range(count):
        write_multiple(before[c], 1.0, source[c], width)
    normalised(before[:count], width, triangle)
    used = before[before.shape[0] - 1]
    if is_leader():
        for c in range(count):
            used[c] = triangle[c, c]
    barrier()
    word = stream_word(layer, FUNCTION_SPACE_FIRST + 2 * operation)
    for c in range(count):
        fill_normals(key0, key1, np.uint64(c), word, draw, behind[c], width)
    normalised(behind[:count], width, triangle)
    for c in range(count):
        if used[c] == 0.0:
            for turn in range(lane_share(width)):
                i = lane_entry(turn)
                behind[c, i] = 0.0
    barrier()


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

    Parameters are those of `resexpand.montecarlo.loops.function_space_transpose.transposed`.
    """
    key0, key1, layer, draw = place
    count, inputs = source.shape[0], gradients.shape[0]
    both = count + inputs
    before, behind = scratch[:both], scratch[both : 2 * both]
    triangle = shaped(scratch[2 * both], (both, both))
    other = shaped(scratch[2 * both + 1], (both, both))
    write_frames(source, before, behind, width, place, operation)
    for a in range(inputs):
        write_multiple(behind[count + a], 1.0, gradients[a], width)
    normalised(behind, width, triangle)  # [Y | U], and P in its terms
    word = stream_word(layer, TRANSPOSED_FIRST + 2 * operation)
    for k in range(count, both):
        if triangle[k, k] != 0.0:  # index 0 of this stream is the bias
            fill_normals(key0, key1, np.uint64(1 + k - count), word, draw, before[k], width)
        else:
            clear(before[k])
    normalised(before, width, other)  # [Q | V]
    clear_rows(gradients)
    for c in range(both):
        for a in range(inputs):
            if c <= count + a:
                factor = math.sqrt(law[0]) * triangle[c, count + a]
                subtract(gradients[a], -factor, before[c], width)


@loop
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
    weights = scratch[0]
    word = stream_word(layer, READ_OUT_WEIGHTS)
    fill_normals(key0, key1, np.uint64(0), word, draw, weights, width)
    unit = math.sqrt(law[0] / dot(weights, weights, width))
    for a in range(inputs):
        write_multiple(gradients[a], unit, weights, width)
