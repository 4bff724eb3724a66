r"""Function space for correlated layers: independent matrices on one basis of all columns.

With a factor ``c = E E^T`` of k columns (`resexpand.montecarlo.weights.layer_factor`) the weights
of all blocks are sums of k independent matrices, ``W^l = sum_j E_lj Z^j``. The columns on which the
blocks act grow an orthonormal basis Q, and the images ``Y^j = Z^j Q`` of a basis vector, k N
independent normals, are drawn when the vector first appears. For a column ``a = Q s``

    W^l a = sum_m s_m sum_j E_lj Y^j_m.

Exact for every c. A basis has at most N + 1 vectors, so that the number of normals stops growing
with the depth. Smooth laws have a k of a few dozen at any depth and no differences are formed, so
that this is the sampler for them; with k = L it is the one that has gradients
(`resexpand.montecarlo.loops.correlated_basis_transpose`).
"""

from __future__ import annotations

import math

import numpy as np

from resexpand.montecarlo.jit import inlined, loop
from resexpand.montecarlo.loops.columns import (
    Biased,
    Columns,
    Place,
    clear_rows,
    dot,
    subtract,
    write_multiple,
)
from resexpand.montecarlo.loops.factor import DEPENDENT, KEPT
from resexpand.montecarlo.loops.function_space import Law, read_out, write_columns
from resexpand.montecarlo.random.normals import fill_normals
from resexpand.montecarlo.random.streams import FUNCTION_SPACE_FIRST, stream_word

__all__ = ["linear", "memory_shape", "read_out", "workspace"]


@inlined
def workspace(count: int, length: int) -> tuple[int, int]:
    """Return the shape of scratch space: columns, their shares in the basis, one mixed image."""
    return 2 * count + 1, length


@inlined
def capacity(layers: int, count: int, size: int) -> int:
    """Return the most vectors that columns of this size can add to a basis."""
    return min(layers * count, size)


@inlined
def memory_shape(
    layers: int, count: int, inputs: int, width: int, length: int, roots: int
) -> tuple[int, int]:
    """Return the shape of what an operation remembers.

    A row of counts; Q and its images; of the gradients of some inputs a basis and its images.
    """
    right, left = capacity(layers, count, width + 1), capacity(layers, inputs, width)
    return 1 + (right + left) * (1 + roots), length


@inlined
def entries_of_weights(law: Law, width: int) -> int:
    """Return how many entries columns have with the bias as the weight of one more neuron."""
    return width + 1 if law[1] > 0.0 else width


@loop
def into_basis(column: Columns, basis: Columns, used: int, size: int, share: Columns) -> float:
    """Add the shares of a column in a basis; return the length of the rest, which is left over.

    The column is overwritten. A rest that is rounding counts as zero.
    """
    length = math.sqrt(dot(column, column, size))
    rest = length
    if used == 0:
        return rest
    for _ in range(2):
        before = rest
        for m in range(used):
            part = dot(basis[m], column, size)
            share[m] += part
            subtract(column, part, basis[m], size)
        rest = math.sqrt(dot(column, column, size))
        if rest > KEPT * before:
            break
    if rest < DEPENDENT * length or used == size:
        rest = 0.0
    return rest


@loop
def mix(images: Columns, weights: Columns, out: Columns, width: int) -> None:
    """Write the sum of rows times weights."""
    first = True
    for j in range(weights.size):
        if weights[j] != 0.0:
            if first:
                write_multiple(out, weights[j], images[j], width)
                first = False
            else:
                subtract(out, -weights[j], images[j], width)
    if first:
        write_multiple(out, 0.0, images[0], width)


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
    factor E, shape (L + 1, k), and ``memory``, from `memory_shape`.
    """
    key0, key1, layer, draw = place
    count, roots = source.shape[0], mixing.shape[1]
    most = capacity(mixing.shape[0], count, width + 1)
    basis, images = memory[1 : 1 + most], memory[1 + most : 1 + most * (1 + roots)]
    columns, shares, mixed = scratch[:count], scratch[count : 2 * count], scratch[2 * count]
    used = 0 if layer == 1 else int(memory[0, 0])
    size, start = entries_of_weights(law, width), used
    word = stream_word(layer, FUNCTION_SPACE_FIRST + 2 * operation)
    write_columns(source, columns, biased, width, law)
    clear_rows(shares)
    for c in range(count):
        share = shares[c]
        rest = into_basis(columns[c], basis, used, size, share)
        if rest != 0.0:
            write_multiple(basis[used], 1.0 / rest, columns[c], width + 1)
            share[used] = rest
            for j in range(roots):
                vector, at = np.uint64((used - start) * roots + j), used * roots + j
                fill_normals(key0, key1, vector, word, draw, images[at], width)
            used += 1
    memory[0, 0] = used
    clear_rows(target)
    for m in range(used):
        mix(images[m * roots : (m + 1) * roots], mixing[layer - 1], mixed, width)
        for c in range(count):
            if shares[c, m] != 0.0:
                subtract(target[c], -shares[c, m], mixed, width)
