r"""Function space for layers that form a Markov chain: what is known of the weights, and no more.

For ``c(l, n) = c(l, m) c(m, n)`` and ``c(l, l) = 1`` the weights of a block are
``W^{l+1} = f W^l + sqrt(1 - f^2) Z`` with ``f = c(l + 1, l)``. Let Q be an orthonormal basis of all
columns so far. Given the images drawn so far, the rows of ``W^l Q`` are independent Gaussians with
means M, an N x r matrix, and one covariance S, r x r (a Kalman filter):

    next block          M <- f M,   S <- f^2 S + 1 - f^2
    new basis vector    mean 0, variance 1, no correlation
    image of a = Q s    g = M s + sqrt(v) z,  v = s . S s;   M <- M + z (S s)^T / sqrt(v),
                        S <- S - S s (S s)^T / v

N normals per column, as for independent layers, and a basis of at most N + 1 vectors: time of
order ``L N^2``, linear in the depth, and memory that does not grow with it. Variances v of a new
layer are at least ``1 - f^2``. There is no transpose.
"""

from __future__ import annotations

import math

import numpy as np

from resexpand.montecarlo.jit import inlined, loop
from resexpand.montecarlo.lanes import shaped
from resexpand.montecarlo.loops.columns import (
    Biased,
    Columns,
    Place,
    clear_rows,
    subtract,
    write_multiple,
)
from resexpand.montecarlo.loops.correlated_basis import capacity, entries_of_weights, into_basis
from resexpand.montecarlo.loops.function_space import Law, read_out, write_columns
from resexpand.montecarlo.random.normals import fill_normals
from resexpand.montecarlo.random.streams import FUNCTION_SPACE_FIRST, stream_word

__all__ = ["linear", "memory_shape", "read_out", "workspace"]

DEPENDENT = 1e-12
"""Share of the variance of an image below which it is known already, to rounding."""


@inlined
def workspace(count: int, length: int) -> tuple[int, int]:
    """Return the shape of scratch space: columns, shares, S s, and normals."""
    return count + 3, length


@inlined
def memory_shape(
    layers: int, count: int, inputs: int, width: int, length: int, roots: int
) -> tuple[int, int]:
    """Return the shape of what an operation remembers: a count, Q, M and S."""
    most = capacity(layers, count, width + 1)
    return 1 + 2 * most + (most * most + length - 1) // length, length


@loop
def pass_on(known: Columns, spread: Columns, used: int, width: int, factor: float) -> None:
    """Take means and covariance to the next block."""
    square = factor * factor
    for m in range(used):
        write_multiple(known[m], factor, known[m], width)
        row = spread[m]
        for n in range(used):
            row[n] *= square
        row[m] += 1.0 - square


@loop
def times(spread: Columns, share: Columns, used: int, out: Columns) -> float:
    """Write S s; return s . S s."""
    total = 0.0
    for m in range(used):
        row, value = spread[m], 0.0
        for n in range(used):
            value += row[n] * share[n]
        out[m] = value
        total += share[m] * value
    return total


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
    count = source.shape[0]
    most = capacity(mixing.shape[0], count, width + 1)
    basis, known = memory[1 : 1 + most], memory[1 + most : 1 + 2 * most]
    spread = shaped(memory[1 + 2 * most :].reshape(-1), (most, most))
    columns, share, image = scratch[:count], scratch[count], scratch[count + 1]
    normals = scratch[count + 2]
    used = 0 if layer == 1 else int(memory[0, 0])
    size = entries_of_weights(law, width)
    word = stream_word(layer, FUNCTION_SPACE_FIRST + 2 * operation)
    write_columns(source, columns, biased, width, law)
    clear_rows(target)
    if layer > 1:
        pass_on(known, spread, used, width, mixing[layer - 1, layer - 2])
    for c in range(count):
        for m in range(used):
            share[m] = 0.0
        rest = into_basis(columns[c], basis, used, size, share)
        if rest != 0.0:
            write_multiple(basis[used], 1.0 / rest, columns[c], width + 1)
            write_multiple(known[used], 0.0, columns[c], width)
            for m in range(used):
                spread[used, m] = 0.0
                spread[m, used] = 0.0
            spread[used, used] = 1.0
            share[used] = rest
            used += 1
        whole = 0.0
        for m in range(used):
            whole += share[m] * share[m]
            if share[m] != 0.0:
                subtract(target[c], -share[m], known[m], width)
        variance = times(spread, share, used, image)
        if variance > DEPENDENT * whole or not math.isfinite(variance):
            root = math.sqrt(variance)
            fill_normals(key0, key1, np.uint64(c), word, draw, normals, width)
            subtract(target[c], -root, normals, width)
            for m in range(used):
                gain = image[m] / root
                subtract(known[m], -gain, normals, width)
                row = spread[m]
                for n in range(used):
                    row[n] -= gain * image[n] / root
    memory[0, 0] = used
