"""How much of a device's memory a piece of work may take, and what happens when it is too much.

A grid is cut into blocks of points. Somebody else may hold memory that was free a moment ago: where
an allocation fails, the block is halved and the rest of the grid goes on with smaller ones, down to
`SMALLEST` points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda
from numba.cuda.cudadrv.driver import CudaAPIError

from resexpand.errors import DeviceMemoryError

SHARE = 0.8
"""Of the free memory; the rest is left to the driver and to fragments."""

SMALLEST, LARGEST = 32, 1 << 24
"""Points in a block."""

FAILURES = (MemoryError, CudaAPIError)
"""Names of the errors that a failed allocation may raise."""

OUT_OF_MEMORY = 2
"""The driver's number for this failure."""


def free_bytes() -> float:
    """Return the free memory of the current device; infinite in the simulator."""
    return float(cuda.current_context().get_memory_info()[0])


def block_size(count: int, per_point: int) -> int:
    """Return how many points of so many bytes to take at a time."""
    room = SHARE * free_bytes()
    fitting = LARGEST if math.isinf(room) else int(room // per_point)
    return max(min(count, fitting, LARGEST), min(count, SMALLEST))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of numba-cuda says that an allocation failed."""
    if isinstance(error, MemoryError):
        return True
    code = getattr(error, "code", None)
    return isinstance(error, CudaAPIError) and code is not None and int(code) == OUT_OF_MEMORY


def in_blocks(count: int, per_point: int, work: Callable[[int, int, int], None]) -> None:
    """Do all points, with blocks that are halved whenever memory runs out.

    Parameters
    ----------
    count : int
        Points in all.
    per_point : int
        Bytes for a point.
    work : callable
        ``work(low, high, size)`` does the points from ``low`` to ``high``, at most ``size``.

    Raises
    ------
    DeviceMemoryError
        If the smallest block does not fit.
    """
    low, size = 0, block_size(count, per_point)
    while low < count:
        try:
            work(low, min(low + size, count), size)
        except FAILURES as error:
            if not is_out_of_memory(error):
                raise
            if size <= SMALLEST:
                raise too_little(count, min(size, count), per_point) from error
            size = max(size // 2, SMALLEST)
        else:
            low += size


def too_little(count: int, points: int, per_point: int) -> DeviceMemoryError:
    """Return the error that names what was needed and what was there."""
    return DeviceMemoryError(
        f"{count} points",
        f"{points} of them need {points * per_point:,} bytes on the device, "
        f"and {free_bytes():,.0f} are free",
        "ask for fewer outputs (a propagator has (L + 1)^2 numbers per point), free device memory, "
        "or use target='cpu'",
    )


def device_array(shape: tuple[int, ...]) -> Any:
    """Allocate numbers on the device."""
    return cuda.device_array(shape, dtype=np.float64)
