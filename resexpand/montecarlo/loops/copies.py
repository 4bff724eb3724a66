"""Tangents that stand for a pass backward: where they begin, and what copies of weights add.

`resexpand.montecarlo.groups.tangents` says which columns these are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.jit import loop, whole
from resexpand.montecarlo.lanes import shaped
from resexpand.montecarlo.loops.columns import Columns, Place, padded
from resexpand.montecarlo.loops.function_space import Law, feature_factor
from resexpand.montecarlo.random.normals import add_normals
from resexpand.montecarlo.random.streams import BEGINNING, FUNCTION_SPACE_FIRST, stream_word

COPIES = whole(1 << 24)
"""First index of the normals of copies; those of the weights themselves stand before it."""


@loop
def begin_alike(columns: Columns, place: Place) -> None:
    """Add one random direction to all columns."""
    key0, key1, layer, draw = place
    word = stream_word(layer, BEGINNING)
    for c in range(columns.shape[0]):
        row = columns[c]
        add_normals(key0, key1, np.uint64(0), word, draw, row, row.size, 1.0)


@loop
def begin_as_inputs(columns: Columns, matrix: NDArray[np.float64], place: Place) -> None:
    """Add `sum_k matrix[k, c] z'_k` to column c, with other normals than those of the inputs."""
    key0, key1, layer, draw = place
    word = stream_word(layer, BEGINNING)
    for c in range(columns.shape[0]):
        row = columns[c]
        for k in range(c + 1):
            add_normals(key0, key1, np.uint64(1 + k), word, draw, row, row.size, matrix[k, c])


@loop
def add_copy(
    source: Columns,
    target: Columns,
    scale: float,
    first: int,
    width: int,
    law: Law,
    place: Place,
    operation: int,
    scratch: Columns,
) -> None:
    """Add scale times `W' x_c + b'` to the columns from a first one on, with copies W' and b'.

    Parameters
    ----------
    source : ndarray, shape (D, P)
        The columns of the inputs.
    target : ndarray, shape (C, P)
        Images, or the stream.
    scale : float
        Factor of the images.
    first : int
        Column of the target that belongs to the first input.
    width, law, place, operation
        As for `resexpand.montecarlo.loops.function_space.linear`.
    scratch : ndarray
        From `resexpand.montecarlo.loops.function_space.workspace`.
    """
    key0, key1, layer, draw = place
    count, length = source.shape[0], padded(width)
    triangle = shaped(scratch[count + 1], (count, count))
    feature_factor(source, (count - 1,), width, law, scratch, triangle)
    word = stream_word(layer, FUNCTION_SPACE_FIRST + 2 * operation)
    for j in range(count):
        if triangle[j, j] != 0.0:
            vector = np.uint64(COPIES + j)
            for c in range(j, count):
                factor = scale * triangle[j, c]
                add_normals(key0, key1, vector, word, draw, target[first + c], length, factor)
