"""Back-propagation through a rotation drawn in full: the same reflections, in reverse order.

Reflections and signs are their own transposes, so the transpose of
`O_k = -sign(z_kk) H_k diag(O_{k-1}, 1)` applies them from the largest to the smallest
(`resexpand.montecarlo.weights.haar_householder`).
"""

from __future__ import annotations

import math

import numpy as np

from resexpand.montecarlo.jit import inlined, loop, whole
from resexpand.montecarlo.loops.columns import Biased, Columns, Place, write_multiple
from resexpand.montecarlo.loops.function_space import Law
from resexpand.montecarlo.random.normals import fill_normals
from resexpand.montecarlo.random.streams import DENSE_FIRST, stream_word
from resexpand.montecarlo.weights import haar_columns_transpose
from resexpand.montecarlo.weights.haar_householder import reflect

read_out_transposed = haar_columns_transpose.read_out_transposed

ROWS = whole(1)


@inlined
def transpose_workspace(count: int, inputs: int, length: int) -> tuple[int, int]:
    """Return the shape of scratch space: one row of normals."""
    return ROWS, length


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
    normals, unit = scratch[0], math.sqrt(law[0])
    word = stream_word(layer, DENSE_FIRST + 2 * operation)
    for k in range(width, 0, -1):
        fill_normals(key0, key1, np.uint64(k - 1), word, draw, normals, k)
        reflect(gradients, k, normals)
    for a in range(gradients.shape[0]):
        write_multiple(gradients[a], unit, gradients[a], width)
