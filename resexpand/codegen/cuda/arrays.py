"""Arrays on a device: what others hold there is read, and rows are transposed."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import cuda
from numba.cuda import types
from numpy.typing import NDArray

from resexpand.codegen.cuda.target import SIMULATED

TILE = 32
ACROSS, DOWN = (4, 2) if SIMULATED else (TILE, 8)
"""Threads that transpose a tile; a simulated thread is one of Python: a few of them do as well.

Constants, for a step that may be zero is a way out of the kernel before all threads have met.
"""

TILE_SHAPE = (32, 33)
"""One column more than there are threads, so that a column is read from different memory banks."""

THREADS = 128

LEAST_BLOCKS = 1 if SIMULATED else 128
"""Of a launch: of fewer Numba warns, and idle ones cost nothing."""


def fetched(value: Any) -> NDArray[Any]:
    """Return a copy on the host of an array with ``__cuda_array_interface__``."""
    if SIMULATED:
        # The memory of a simulated device is that of the host.
        shown = type("Shown", (), {"__array_interface__": value.__cuda_array_interface__})()
        return np.array(shown)
    return np.asarray(cuda.as_cuda_array(value).copy_to_host())


def threads_and_blocks(count: int, threads: int = THREADS) -> tuple[int, int]:
    """Return blocks and threads per block for so many points; kernels leave idle ones alone."""
    threads = min(threads, max(count, 1))
    return max(-(-count // threads), LEAST_BLOCKS), threads


def transpose(source: Any, result: Any) -> None:
    """Write the transposed first columns of a matrix: ``result[i, r] = source[r, i]``.

    Parameters
    ----------
    source : device array, shape (rows, at least points)
    result : device array, shape (points, rows)
    """
    count, rows = result.shape
    tiles = max(-(-rows // TILE) * -(-count // TILE), LEAST_BLOCKS)
    transposing()[tiles, (ACROSS, DOWN)](source, result, count)


@cache
def transposing() -> Any:
    """Return the kernel of `transpose`."""

    def transposed(source: Any, result: Any, count: Any) -> None:
        tile = cuda.shared.array(TILE_SHAPE, types.float64)
        rows = source.shape[0]
        columns = (count + TILE - 1) // TILE
        row, column = cuda.blockIdx.x // columns * TILE, cuda.blockIdx.x % columns * TILE
        x, y = cuda.threadIdx.x, cuda.threadIdx.y
        for k in range(x, TILE, ACROSS):
            for j in range(y, TILE, DOWN):
                if row + j < rows and column + k < count:
                    tile[j, k] = source[row + j, column + k]
        cuda.syncthreads()
        for k in range(x, TILE, ACROSS):
            for j in range(y, TILE, DOWN):
                if row + k < rows and column + j < count:
                    result[column + j, row + k] = tile[k, j]

    return cuda.jit(transposed)
