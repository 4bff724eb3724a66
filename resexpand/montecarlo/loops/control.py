"""The linear operation of a network together with its control network of infinite width.

`resexpand.montecarlo.groups.control` defines the control network (the twin); it shares the normals
of the sampler in `resexpand.montecarlo.loops.function_space`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.jit import loop
from resexpand.montecarlo.lanes import barrier, is_leader, shaped
from resexpand.montecarlo.loops.columns import Biased, Columns, Place, combine, padded
from resexpand.montecarlo.loops.function_space import Law, feature_factor
from resexpand.montecarlo.random.normals import fill_normals
from resexpand.montecarlo.random.streams import FUNCTION_SPACE_FIRST, stream_word


@loop
def linear_with_twin(
    source: Columns,
    target: Columns,
    biased: Biased,
    width: int,
    law: Law,
    factor: NDArray[np.float64],
    place: Place,
    operation: int,
    scratch: Columns,
) -> None:
    """Write the images of the sampled columns and of the twin, from the same normals.

    Parameters are those of `resexpand.montecarlo.loops.function_space.linear`, and

    factor : ndarray, shape (D, D)
        Upper triangular root R of the covariance at infinite width, `R^T R = C`; it may be
        singular. The last D columns of source and target are the twin.
    """
    key0, key1, layer, draw = place
    twins = factor.shape[0]
    count = source.shape[0]
    weighted = count - twins
    triangle = shaped(scratch[weighted + 1], (weighted, weighted))
    feature_factor(source[:weighted], biased, width, law, scratch, triangle)
    matrix = shaped(scratch[weighted + 2], (weighted, count))
    # One matrix for both: its last columns are the root of the covariance at infinite width.
    if is_leader():
        for j in range(weighted):
            for c in range(weighted):
                matrix[j, c] = triangle[j, c]
            for c in range(twins):
                matrix[j, weighted + c] = factor[j, c] if j < twins else 0.0
    barrier()
    word = stream_word(layer, FUNCTION_SPACE_FIRST + 2 * operation)
    normals = scratch[weighted, : padded(width)]
    for j in range(weighted):
        if j < twins or triangle[j, j] != 0.0:
            fill_normals(key0, key1, np.uint64(j), word, draw, normals, normals.size)
            combine(target, matrix, j, normals)
