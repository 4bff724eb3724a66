"""Columns of neighbouring positions side by side: what a convolution contracts over.

A convolution with n offsets is a contraction of *wide* columns of n pieces, piece k of column p
holding ``sqrt(v_k)`` times the column at offset k from p, or zeros outside of the input. Each piece
is as long as a padded column, and zero from entry N on; one vector of zeros ends them. Every group
of columns holds all positions of its inputs one after the other, so that the position of a column
is its number modulo P.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.jit import inlined, loop
from resexpand.montecarlo.lanes import barrier, is_leader, lane_entry, lane_share
from resexpand.montecarlo.loops.columns import Columns, clear_rows, dot

Offsets = tuple[tuple[int, int], ...]

FIRST_SHARE = 2
"""Place of the first share among the parameters of a convolution, behind its two variances."""


@inlined
def neighbour(c: int, offset: tuple[int, int], shape: tuple[int, int], circular: bool) -> int:
    """Return the column at an offset from column c; -1 outside of the input."""
    rows, columns = shape
    p = c % (rows * columns)
    row, column = p // columns + offset[0], p % columns + offset[1]
    if not circular and (row < 0 or row >= rows or column < 0 or column >= columns):
        return -1
    return c - p + row % rows * columns + column % columns


@loop
def gather(
    source: Columns,
    wide: Columns,
    law: NDArray[np.float64],
    offsets: Offsets,
    shape: tuple[int, int],
    circular: bool,
    width: int,
) -> None:
    """Write the wide columns of columns of shape (C, P)."""
    length = source.shape[1]
    for c in range(source.shape[0]):
        for k in range(len(offsets)):
            near = neighbour(c, offsets[k], shape, circular)
            root = math.sqrt(law[FIRST_SHARE + k])
            for turn in range(lane_share(length)):
                i = lane_entry(turn)
                meets = near >= 0 and i < width
                wide[c, k * length + i] = root * source[near, i] if meets else 0.0
        rest = len(offsets) * length
        for turn in range(lane_share(wide.shape[1] - rest)):
            wide[c, rest + lane_entry(turn)] = 0.0
    barrier()


@loop
def wide_gram(wide: Columns, width: int, out: NDArray[np.float64]) -> None:
    """Write the Gram matrix of wide columns over N: the sum of the shifted ones, by shares."""
    for a in range(wide.shape[0]):
        for b in range(a + 1):
            value = dot(wide[a], wide[b], wide.shape[1]) / width
            if is_leader():
                out[a, b] = value
                out[b, a] = value
    barrier()


@loop
def scatter(
    wide: Columns,
    target: Columns,
    law: NDArray[np.float64],
    offsets: Offsets,
    shape: tuple[int, int],
    circular: bool,
    width: int,
) -> None:
    """Write gradients with respect to columns, given those with respect to the wide ones."""
    length = target.shape[1]
    clear_rows(target)
    for c in range(target.shape[0]):
        for k in range(len(offsets)):
            near = neighbour(c, offsets[k], shape, circular)
            if near < 0:
                continue
            root = math.sqrt(law[FIRST_SHARE + k])
            for turn in range(lane_share(width)):
                i = lane_entry(turn)
                target[near, i] += root * wide[c, k * length + i]
    barrier()
