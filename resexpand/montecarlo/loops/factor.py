"""Gram-Schmidt: the triangular factor of the columns of a network.

`triangular_factor` differs from the textbook: a column that shrank is orthogonalised a second time
("twice is enough", Giraud, Langou & Rozloznik 2005), and one that lies in the span of its
predecessors, to rounding, gets the pivot zero instead of a normalised rounding error; equal inputs
and columns that ReLU switched off are exact cases of it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.jit import loop
from resexpand.montecarlo.lanes import barrier, is_leader, lane_entry, lane_share
from resexpand.montecarlo.loops.columns import Columns, clear_rows, dot, subtract

DEPENDENT = 1e-14
"""Share of its length below which the rest of a column counts as rounding error."""

KEPT = 0.7
"""Share of its length above which a column is orthogonal after one pass, to rounding."""


@loop
def triangular_factor(columns: Columns, n: int, triangle: NDArray[np.float64]) -> None:
    """Write the upper triangular R of `columns^T = Q R`; the columns are overwritten by Q.

    Parameters
    ----------
    columns : ndarray, shape (C, P)
        Overwritten; rows whose pivot is zero are left as rounding error and never used.
    n : int
        Entries that count.
    triangle : ndarray, shape (C, C)
        The result; its diagonal is not negative. NaN and inf in the columns arrive here.
    """
    count = columns.shape[0]
    clear_rows(triangle)
    for j in range(count):
        column = columns[j]
        # Gram-Schmidt against the columns before, once more if cancellation left too few digits.
        length = math.sqrt(dot(column, column, n))
        rest = length
        if j > 0:
            for _ in range(2):
                before = rest
                for i in range(j):
                    # A column without a pivot is rounding error, and no direction.
                    if triangle[i, i] != 0.0:
                        share = dot(columns[i], column, n)
                        if is_leader():
                            triangle[i, j] += share
                        subtract(column, share, columns[i], n)
                rest = math.sqrt(dot(column, column, n))
                if rest > KEPT * before:
                    break
            if rest < DEPENDENT * length:
                rest = 0.0
        if is_leader():
            triangle[j, j] = rest
        if rest != 0.0 and j + 1 < count:
            for turn in range(lane_share(n)):
                i = lane_entry(turn)
                column[i] /= rest
        barrier()
