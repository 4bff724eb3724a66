"""Orthogonal weights drawn in full, as a product of reflections that is never multiplied out.

Let `z_k` be k i.i.d. normals and H_k the reflection with `H_k e_k = -sign(z_kk) z_k/|z_k|`. Then

    O_k = -sign(z_kk) H_k diag(O_{k-1}, 1),    O_1 = sign(z_11),

has a last column `z_k/|z_k|`, uniform on the sphere, and is distributed by the Haar measure if
O_{k-1} is. So `W = sqrt(s) O_N` acts on a column by N reflections, of its first 1, 2, ... N
entries in turn: `N^2/2` normals and no stored matrix. Vector k of the normals has index k - 1.

This sampler shares nothing with that of `resexpand.montecarlo.weights.haar_columns` but the law.

Source: G. W. Stewart, "The efficient generation of random orthogonal matrices with an application
to condition estimators", SIAM J. Numer. Anal. 17 (1980) 403, doi:10.1137/0717034.
"""

from __future__ import annotations

import math

import numpy as np

from resexpand.montecarlo.jit import inlined, loop, whole
from resexpand.montecarlo.lanes import barrier, is_leader, lane_entry, lane_share
from resexpand.montecarlo.loops.columns import Biased, Columns, Place, dot, subtract
from resexpand.montecarlo.loops.function_space import Law
from resexpand.montecarlo.random.normals import fill_normals
from resexpand.montecarlo.random.streams import DENSE_FIRST, stream_word
from resexpand.montecarlo.weights import haar_columns
from resexpand.montecarlo.weights.haar_columns import add_bias

read_out = haar_columns.read_out

ROWS = whole(2)


@inlined
def workspace(count: int, length: int) -> tuple[int, int]:
    """Return the shape of scratch space: two rows of a network."""
    return ROWS, length


@loop
def reflect(columns: Columns, k: int, direction: Columns) -> None:
    """Multiply the first k entries of every column by `-sign(z_k) H`; z is overwritten."""
    last = direction[k - 1]
    sign = 1.0 if last >= 0.0 else -1.0
    square = dot(direction, direction, k)
    length = math.sqrt(square)
    if is_leader():
        direction[k - 1] = last + sign * length
    barrier()
    # |z + sign(z_k) |z| e_k|^2 / 2, a sum of positive numbers.
    half = square + abs(last) * length
    for c in range(columns.shape[0]):
        x = columns[c]
        subtract(x, dot(direction, x, k) / half, direction, k)
        for turn in range(lane_share(k)):
            i = lane_entry(turn)
            x[i] *= -sign
    barrier()


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
    stream, normals = DENSE_FIRST + 2 * operation, scratch[0]
    for c in range(source.shape[0]):
        x, y = source[c], target[c]
        for turn in range(lane_share(y.size)):
            i = lane_entry(turn)
            y[i] = math.sqrt(law[0]) * x[i] if i < width else 0.0
    barrier()
    word = stream_word(layer, stream)
    for k in range(1, width + 1):
        fill_normals(key0, key1, np.uint64(k - 1), word, draw, normals, k)
        reflect(target, k, normals)
    if law[1] > 0.0:
        word = stream_word(layer, stream + 1)
        fill_normals(key0, key1, np.uint64(0), word, draw, scratch[1], width)
        add_bias(target, biased, width, law[1], scratch[1])
