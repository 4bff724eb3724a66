r"""Back-propagation through correlated layers whose matrices are known on one basis.

On the way forward the independent matrices Z^j met the orthonormal basis Q, ``Z^j Q = Y^j``
(`resexpand.montecarlo.loops.correlated_basis`). What they do beyond it is independent of all that
was drawn. Gradients grow a basis U of their own, with fresh normals ``G^j_m`` for every vector
``u_m``, so that

    Z^jT p = Q Y^jT p + (1 - Q Q^T) sum_m (u_m . p) G^j_m,       W^lT p = sum_j E_lj Z^jT p.

Exact jointly with the way forward, for all blocks together: the chain rule holds within each
network. Q is complete before the first gradient.
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
from resexpand.montecarlo.loops.correlated_basis import (
    capacity,
    entries_of_weights,
    into_basis,
    mix,
)
from resexpand.montecarlo.loops.function_space import Law
from resexpand.montecarlo.loops.function_space_transpose import read_out_transposed
from resexpand.montecarlo.loops.function_space_transpose import (
    transpose_workspace as read_out_workspace,
)
from resexpand.montecarlo.loops.products import Words
from resexpand.montecarlo.random.normals import fill_normals
from resexpand.montecarlo.random.streams import TRANSPOSED_FIRST, stream_word

__all__ = ["read_out_transposed", "transpose_workspace", "transposed"]


@inlined
def transpose_workspace(count: int, inputs: int, length: int) -> tuple[int, int]:
    """Return the shape of scratch space, which the read-out uses, too."""
    rows, size = read_out_workspace(count, inputs, length)
    return max(rows, 3 * inputs + 1), size


@loop
def add_beyond(
    gradients: Columns,
    results: Columns,
    known: Columns,
    width: int,
    words: Words,
    scratch: Columns,
    mixing: Columns,
    memory: Columns,
    used: int,
) -> int:
    """Write what the matrices do to gradients beyond the basis of the way forward.

    Parameters
    ----------
    gradients, results : ndarray, shape (D, P)
    known : ndarray, shape (r, P)
        Q.
    width : int
    words : tuple
        Key words, stream, draw.
    scratch : ndarray, shape (2 D + 1, P)
    mixing : ndarray, shape (k,)
        Row of E.
    memory : ndarray, shape (left (1 + k), P)
        U and its images.
    used : int
        Vectors in U.

    Returns
    -------
    int
        Vectors in U afterwards.
    """
    key0, key1, word, draw = words
    inputs, roots, start = gradients.shape[0], mixing.size, used
    left = memory.shape[0] // (1 + roots)
    basis, images = memory[:left], memory[left:]
    columns, shares, mixed = scratch[:inputs], scratch[inputs : 2 * inputs], scratch[2 * inputs]
    clear_rows(shares)
    for a in range(inputs):
        write_multiple(columns[a], 1.0, gradients[a], width)
        rest = into_basis(columns[a], basis, used, width, shares[a])
        if rest != 0.0:
            write_multiple(basis[used], 1.0 / rest, columns[a], width)
            shares[a, used] = rest
            for j in range(roots):
                vector, row = np.uint64((used - start) * roots + j), images[used * roots + j]
                fill_normals(key0, key1, vector, word, draw, row, width + 1)
            used += 1
    for m in range(used):
        mix(images[m * roots : (m + 1) * roots], mixing, mixed, width + 1)
        for a in range(inputs):
            subtract(results[a], -shares[a, m], mixed, width + 1)
    for a in range(inputs):
        for m in range(known.shape[0]):
            subtract(results[a], dot(known[m], results[a], width + 1), known[m], width + 1)
    return used


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
    mixing: Columns,
    memory: Columns,
) -> None:
    """Replace gradients with respect to the images by those with respect to the columns."""
    key0, key1, layer, draw = place
    inputs, roots, layers = gradients.shape[0], mixing.shape[1], mixing.shape[0]
    right = capacity(layers, source.shape[0], width + 1)
    basis, images = memory[1 : 1 + right], memory[1 + right : 1 + right * (1 + roots)]
    known = int(memory[0, 0])
    results, others = scratch[:inputs], scratch[inputs : 3 * inputs + 1]
    mixed = others[2 * inputs]
    clear_rows(results)
    if known < entries_of_weights(law, width):
        words = (key0, key1, stream_word(layer, TRANSPOSED_FIRST + 2 * operation), draw)
        used = 0 if layer == layers - 1 else int(memory[0, 1])
        behind = memory[1 + right * (1 + roots) :]
        memory[0, 1] = add_beyond(
            gradients, results, basis[:known], width, words, others, mixing[layer - 1], behind, used
        )
    for m in range(known):
        mix(images[m * roots : (m + 1) * roots], mixing[layer - 1], mixed, width)
        for a in range(inputs):
            subtract(results[a], -dot(mixed, gradients[a], width), basis[m], width + 1)
    unit = math.sqrt(law[0] / width)
    for a in range(inputs):
        write_multiple(gradients[a], unit, results[a], width)
