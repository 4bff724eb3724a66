r"""Function space for correlated layers: a Cholesky factor that grows with every column.

The rows of all images ``g_m = W^{l(m)} a_m`` of one operation, a_m being the columns on which it
acted so far (with the bias as the weight of one more neuron, see
`resexpand.montecarlo.loops.function_space`), are independent over the neurons, and those of one
neuron are jointly Gaussian given the columns:

    Cov(g_m, g_n) = c(l(m), l(n)) a_m . a_n = (R^T R)_mn,       g_n = sum_{m <= n} R_mn z_m.

A column appends one column to R, by a triangular solve, and draws N normals. The pivot is at least
the conditional variance of c at that layer times ``|a_n|^2``, because the entrywise product of two
positive semi-definite matrices is one: the factor is safe for rough c, and wrong for smooth c,
whose conditional variances drown in rounding. `resexpand.montecarlo.layer_methods` refuses those.

There is no transpose: it would need the covariance with images of other vectors.
"""

from __future__ import annotations

import math

import numpy as np

from resexpand.montecarlo.jit import inlined, loop
from resexpand.montecarlo.lanes import shaped
from resexpand.montecarlo.loops.columns import Biased, Columns, Place, clear_rows, dot, subtract
from resexpand.montecarlo.loops.function_space import Law, read_out, workspace, write_columns
from resexpand.montecarlo.random.normals import fill_normals
from resexpand.montecarlo.random.streams import FUNCTION_SPACE_FIRST, stream_word

__all__ = ["linear", "memory_shape", "read_out", "workspace"]

DEPENDENT = 1e-12
"""Share of the variance of an image below which its innovation is rounding: a column in the span
of others of the same layer."""


@inlined
def memory_shape(
    layers: int, count: int, inputs: int, width: int, length: int, roots: int
) -> tuple[int, int]:
    """Return the shape of what an operation remembers: columns, normals, R and one column of it."""
    most = layers * count
    return 2 * most + (most * most + length - 1) // length + (most + length - 1) // length, length


@loop
def solve(factor: Columns, n: int, column: Columns) -> float:
    """Replace covariances with n columns by a column of R; return its squared length."""
    square = 0.0
    for j in range(n):
        value, row = column[j], factor[j]
        for i in range(j):
            value -= row[i] * column[i]
        # Without a pivot the image is a combination of others, and has no normals.
        column[j] = value / row[j] if row[j] != 0.0 else 0.0
        square += column[j] * column[j]
    return square


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
    mixing: Columns,
    memory: Columns,
) -> None:
    """Write `W x_c + b` (where biased) and `W x_c` (elsewhere).

    Parameters are those of `resexpand.montecarlo.loops.function_space.linear`, and ``mixing``, the
    covariance c, shape (L + 1, L + 1), and ``memory``, from `memory_shape`.
    """
    key0, key1, layer, draw = place
    count, length = source.shape[0], memory.shape[1]
    most = mixing.shape[0] * count
    columns, normals = memory[:most], memory[most : 2 * most]
    square_rows = (most * most + length - 1) // length
    factor = shaped(memory[2 * most : 2 * most + square_rows].reshape(-1), (most, most))
    new = memory[2 * most + square_rows :].reshape(-1)
    old = (layer - 1) * count
    word = stream_word(layer, FUNCTION_SPACE_FIRST + 2 * operation)
    write_columns(source, columns[old : old + count], biased, width, law)
    clear_rows(target)
    for c in range(count):
        n = old + c
        for m in range(n):
            shared = mixing[layer - 1, m // count]
            new[m] = shared * dot(columns[m], columns[n], width + 1) if shared != 0.0 else 0.0
        whole = mixing[layer - 1, layer - 1] * dot(columns[n], columns[n], width + 1)
        rest = whole - solve(factor, n, new)
        pivot = math.sqrt(rest) if rest > DEPENDENT * whole else 0.0
        # Not a number or infinity must arrive in the image.
        if not math.isfinite(whole):
            pivot = whole
        for m in range(n):
            factor[n, m] = new[m]
            if new[m] != 0.0:
                subtract(target[c], -new[m], normals[m], width)
        factor[n, n] = pivot
        if pivot != 0.0:
            fill_normals(key0, key1, np.uint64(c), word, draw, normals[n], width)
            subtract(target[c], -pivot, normals[n], width)
