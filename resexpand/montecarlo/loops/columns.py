"""The columns of one network, and the few loops over them that every sampler needs.

A network of width `N` is propagated as columns of neurons: the states `h_1 ... h_D` of its inputs,
then other groups such as tangents or jets, in the order of `resexpand.montecarlo.groups.layout`.
Arrays of columns have shape `(C, P)`, one contiguous row per column, with `P > N` a multiple of
`LANES` so that vector loops have no remainder. Entries from `N` on are finite and without meaning.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.jit import inlined, loop, reduction, whole
from resexpand.montecarlo.lanes import barrier, is_leader, lane_entry, lane_share, over_lanes
from resexpand.montecarlo.random.normals import fill_normals
from resexpand.montecarlo.random.streams import DIRECTION, INPUT, stream_word

Columns = NDArray[np.float64]
Place = tuple[np.uint64, np.uint64, int, np.uint64]
"""Key words 0 and 1, layer, and draw, on which random numbers depend beside stream and index."""

Biased = tuple[int, ...]
"""Columns that receive biases: all up to the first of these numbers, and the others."""

INPUT_LAYER = whole(0)
LANES = 32


@inlined
def padded(width: int) -> int:
    """Return the smallest multiple of `LANES` that is not below the width."""
    return (width + LANES - 1) // LANES * LANES


@inlined
def entries_met(source: Columns, length: int, width: int) -> int:
    """Return how many entries of a column weights act on, `length` being that of the images.

    They are the neurons, or all entries of a wide column (`resexpand.montecarlo.loops.positions`).
    """
    return source.shape[1] if source.shape[1] > length else width


@inlined
def meets_bias(c: int, biased: Biased) -> bool:
    """Return whether biases are added to the image of column c."""
    meets = c < biased[0]
    for column in biased:
        meets = meets or c == column
    return meets


@reduction
def dot(x: Columns, y: Columns, n: int) -> float:
    """Return the scalar product of the first n entries."""
    # A sum per lane first: LLVM may split it into vector lanes, since it is a reduction.
    total = 0.0
    for turn in range(lane_share(n)):
        i = lane_entry(turn)
        total += x[i] * y[i]
    return over_lanes(total)


@loop
def clear_rows(rows: Columns) -> None:
    """Write zeros."""
    for c in range(rows.shape[0]):
        row = rows[c]
        for turn in range(lane_share(row.size)):
            i = lane_entry(turn)
            row[i] = 0.0
    barrier()


@loop
def has_entries(row: Columns) -> bool:
    """Return whether an entry is not zero."""
    found = False
    for i in range(row.size):
        found = found or row[i] != 0.0
    return found


@loop
def write_multiple(target: Columns, factor: float, source: Columns, n: int) -> None:
    """Write factor times the first n entries of a column; it may be the target itself."""
    for turn in range(lane_share(n)):
        i = lane_entry(turn)
        target[i] = factor * source[i]
    barrier()


@loop
def subtract(x: Columns, factor: float, y: Columns, n: int) -> None:
    """Subtract factor * y from x in place."""
    for turn in range(lane_share(n)):
        i = lane_entry(turn)
        x[i] -= factor * y[i]
    barrier()


@loop
def gram(columns: Columns, width: int, out: NDArray[np.float64]) -> None:
    """Write `x_a . x_b / N` for all pairs of columns, shape (C, C)."""
    for a in range(columns.shape[0]):
        for b in range(a + 1):
            value = dot(columns[a], columns[b], width) / width
            if is_leader():
                out[a, b] = value
                out[b, a] = value
    barrier()


@loop
def combine(columns: Columns, matrix: NDArray[np.float64], j: int, normals: Columns) -> None:
    """Add `matrix[j, c] * normals` to every column c >= j (set instead of add for j = 0)."""
    # Whole rows, not slices: a slice of a matrix has strides known only at run time.
    for c in range(j, columns.shape[0]):
        factor = matrix[j, c]
        target = columns[c]
        # The first normals overwrite the target, which saves a pass that clears it.
        if j == 0:
            for turn in range(lane_share(normals.size)):
                i = lane_entry(turn)
                target[i] = factor * normals[i]
        elif factor != 0.0:
            for turn in range(lane_share(normals.size)):
                i = lane_entry(turn)
                target[i] += factor * normals[i]
    barrier()


@loop
def add_piece(target: Columns, factor: float, piece: Columns) -> None:
    """Add factor times the first entries of a piece to a target that may be shorter."""
    for turn in range(lane_share(target.size)):
        i = lane_entry(turn)
        target[i] += factor * piece[i]
    barrier()


@loop
def start(columns: Columns, matrix: NDArray[np.float64], place: Place, normals: Columns) -> None:
    """Draw the columns at layer 0, `x_c = sum_k matrix[k, c] z_k`.

    Parameters
    ----------
    columns : ndarray, shape (C, P)
        The result.
    matrix : ndarray, shape (D + 1, C)
        Row k < D multiplies the normals of input k, row D those of the random direction.
    place : tuple
        Key words, layer (unused: the input is layer 0), draw.
    normals : ndarray, shape (P,)
        Scratch.
    """
    key0, key1, _, draw = place
    clear_rows(columns)
    last = matrix.shape[0] - 1
    for k in range(last + 1):
        # Unused rows draw no normals: counters, not an order, decide what the others are.
        if not has_entries(matrix[k]):
            continue
        word = stream_word(INPUT_LAYER, DIRECTION if k == last else INPUT)
        fill_normals(key0, key1, np.uint64(k), word, draw, normals, normals.size)
        for c in range(columns.shape[0]):
            subtract(columns[c], -matrix[k, c], normals, normals.size)


@loop
def add_scaled(stream: Columns, scale: float, branch: Columns, added_to: NDArray[np.int64]) -> None:
    """Close a residual block, `h += scale * branch(h)`, in place: column c into added_to[c]."""
    for c in range(branch.shape[0]):
        x, step = stream[added_to[c]], branch[c]
        for turn in range(lane_share(x.size)):
            i = lane_entry(turn)
            x[i] += scale * step[i]
    barrier()


@loop
def remainders(
    stream: Columns,
    width: int,
    first: int,
    added_to: NDArray[np.int64],
    rest: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Write `|h - (x_0 + ... + x_k)|^2 / N` for k = 0, 1, ... to out, h being column 0.

    Each x_k passes through the branch into x_{k+1}; `first` is the place of x_0. Differences are
    formed neuron by neuron, because a Gram matrix would lose them in rounding. `rest` is scratch.
    """
    for turn in range(lane_share(width)):
        i = lane_entry(turn)
        rest[i] = stream[0, i]
    column = first  # columns of a group are linked by added_to, not adjacent
    for k in range(out.size):
        subtract(rest, 1.0, stream[column], width)
        square = dot(rest, rest, width)
        if is_leader():
            out[k] = square / width
        if k + 1 < out.size:
            column = added_to[first + k]
