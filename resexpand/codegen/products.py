"""Matrix products on the calling thread.

A library for linear algebra starts its threads for a product of moderate size and lets them wait in
a loop; beside other work on the same cores each such product waits for a time slice. Products of
blocks of `BLOCK` are below the size at which OpenBLAS divides them (``m n k <= 4 * 65536``) and
nearly as fast as one thread goes; a product so large that waiting does not count is left whole.
What is done depends on the shapes alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BLOCK = 64

LARGE = 2**26
"""Multiplications from which on a product is left to the library."""


def block_product(a: Array, b: Array) -> Array:
    """Return ``a @ b`` of two matrices."""
    if a.shape[0] * a.shape[1] * b.shape[1] >= LARGE:
        return np.asarray(a @ b)
    out = np.zeros((a.shape[0], b.shape[1]))
    for k in range(0, a.shape[1], BLOCK):
        for i in range(0, a.shape[0], BLOCK):
            piece = np.ascontiguousarray(a[i : i + BLOCK, k : k + BLOCK])
            for j in range(0, b.shape[1], BLOCK):
                out[i : i + BLOCK, j : j + BLOCK] += piece @ b[k : k + BLOCK, j : j + BLOCK]
    return out
