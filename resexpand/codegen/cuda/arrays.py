"""Arrays on a device: views of what others own, results that others may view, and helpers.

Both directions go through ``__cuda_array_interface__`` without a copy. Results are held with the
points last, in which order they were written; a `DeviceArray` shows them with the points first, by
its strides. `transpose` and `take` move numbers, `flaws` looks at
them.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numba import cuda

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


class DeviceArray:
    """A result on the device, for whoever reads ``__cuda_array_interface__``: CuPy, PyTorch, Numba.

    Attributes
    ----------
    shape : tuple of int
        Grid of the hyperparameters, then layers, then entries.
    dtype : numpy.dtype
        Of the numbers.
    """

    def __init__(self, held: Any, grid: tuple[int, ...], trailing: tuple[int, ...]) -> None:
        self._held = held
        self.dtype = np.dtype(held.dtype)
        self.shape = (*grid, *trailing)
        points = int(np.prod(grid, dtype=int))
        inner = _strides(grid, self.dtype.itemsize)
        outer = _strides(trailing, self.dtype.itemsize * points)
        self._strides = (*inner, *outer)
        self._grid, self._trailing = grid, trailing

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "strides": self._strides,
            "typestr": self.dtype.str,
            "data": (_address(self._held), False),
            "version": 3,
        }

    def copy_to_host(self) -> Any:
        """Return the numbers as a NumPy array."""
        rows = self._held.copy_to_host()
        return np.ascontiguousarray(rows.T).reshape(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if copy is False:
            raise ValueError("an array on a device: the host has no view of it; allow a copy")
        array = self.copy_to_host()
        return array if dtype is None else array.astype(dtype)

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype})"


def _strides(shape: tuple[int, ...], unit: int) -> tuple[int, ...]:
    steps = [unit]
    for size in shape[:0:-1]:
        steps.append(steps[-1] * size)
    return tuple(steps[::-1]) if shape else ()


def _address(held: Any) -> int:
    interface = held.__array_interface__ if SIMULATED else held.__cuda_array_interface__
    return int(interface["data"][0])


def sendable(values: Any, number: Any) -> Any:
    """Return numbers as a contiguous array of a type; what is beyond its range becomes infinite."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=number)


def is_on_device(value: Any) -> bool:
    """Whether a value lies on a device."""
    return hasattr(value, "__cuda_array_interface__")


def view_of(value: Any) -> Any:
    """Return a view of an array that somebody else holds on the device."""
    if not SIMULATED:
        return cuda.as_cuda_array(value)

    class Shown:
        __array_interface__ = value.__cuda_array_interface__

    return cuda.devicearray.FakeCUDAArray(np.asarray(Shown()))


def threads_and_blocks(count: int, threads: int = THREADS) -> tuple[int, int]:
    """Return blocks and threads per block for so many points; kernels leave idle ones alone."""
    threads = min(threads, max(count, 1))
    return max(-(-count // threads), LEAST_BLOCKS), threads


def transpose(source: Any, result: Any, count: int, stream: Any) -> None:
    """Write the transposed first columns of a matrix: ``result[i, r] = source[r, i]``.

    Parameters
    ----------
    source : device array, shape (rows, points)
    result : device array, shape (count or more, rows)
    count : int
        Columns that are transposed.
    stream : numba stream
        In which order.
    """
    rows = source.shape[0]
    tiles = max(-(-rows // TILE) * -(-count // TILE), LEAST_BLOCKS)
    _transposed(source.dtype.str)[tiles, (ACROSS, DOWN), stream](source, result, count)


@cache
def _transposed(typestr: str) -> Any:
    number = np.dtype(typestr).type

    def transposed(source: Any, result: Any, count: Any) -> None:
        tile = cuda.shared.array(TILE_SHAPE, number)
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


def take(source: Any, step: int, result: Any, stream: Any) -> None:
    """Write every `step`-th column of a matrix: ``result[r, k] = source[r, k step]``."""
    blocks, threads = threads_and_blocks(result.shape[1])
    _taken()[blocks, threads, stream](source, step, result)


@cache
def _taken() -> Any:
    def taken(source: Any, step: Any, result: Any) -> None:
        i = cuda.grid(1)
        if i < result.shape[1]:
            for row in range(result.shape[0]):
                result[row, i] = source[row, i * step]

    return cuda.jit(taken)


def flaws(values: Any, stream: Any) -> tuple[int, bool, int]:
    """Return how many numbers of ``(rows, points)`` are not finite, whether one is NaN, where.

    The last is the first row with such a number.
    """
    rows, count = values.shape
    marks = cuda.to_device(np.array([0, 0, rows], dtype=np.int64))
    blocks, threads = threads_and_blocks(count)
    _flawed()[blocks, threads, stream](values, marks)
    found = marks.copy_to_host()
    return int(found[0]), bool(found[1]), int(found[2])


@cache
def _flawed() -> Any:
    def flawed(values: Any, marks: Any) -> None:
        i = cuda.grid(1)
        if i < values.shape[1]:
            for row in range(values.shape[0]):
                value = values[row, i]
                if not math.isfinite(value):
                    cuda.atomic.add(marks, 0, 1)
                    cuda.atomic.min(marks, 2, row)
                    if math.isnan(value):
                        cuda.atomic.max(marks, 1, 1)

    return cuda.jit(flawed)
