"""How much of a device's memory a piece of work may take, and what happens when it is too much.

A grid is cut into blocks of points of which two fit at a time, one being computed while the other
is copied. Somebody else may hold memory that was free a moment ago: where an allocation fails, the
block is halved and the rest of the grid goes on with smaller ones, down to `SMALLEST` points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba import cuda
from numba.cuda.cudadrv.driver import CudaAPIError

from resexpand.errors import DeviceMemoryError

SHARE = 0.8
"""Of the free memory; the rest is left to the driver and to fragments."""

SMALLEST, LARGEST = 32, 1 << 24
"""Points in a block."""

FAILURES = (MemoryError, CudaAPIError)
"""What a failed allocation may be raised as."""

OUT_OF_MEMORY = 2
"""The driver's number for this failure."""


def free_bytes() -> float:
    """Return the free memory of the current device; infinite in the simulator."""
    return float(cuda.current_context().get_memory_info()[0])


def block_size(count: int, per_point: int, fixed: int = 0, at_a_time: int = 1) -> int:
    """Return how many points to take at a time.

    Parameters
    ----------
    count : int
        Points in all.
    per_point, fixed : int
        Bytes for a point of a block, and for all of them together.
    at_a_time : int
        Blocks held at one time.
    """
    room = SHARE * free_bytes() - fixed
    fitting = LARGEST if math.isinf(room) else int(max(room, 0.0) // (per_point * at_a_time))
    return max(min(count, fitting, LARGEST), min(count, SMALLEST))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of numba-cuda says that an allocation failed."""
    if isinstance(error, MemoryError):
        return True
    code = getattr(error, "code", None)
    return isinstance(error, CudaAPIError) and code is not None and int(code) == OUT_OF_MEMORY


def in_smaller_blocks(
    count: int, size: int, per_point: int, work: Callable[[int, int, int], int]
) -> None:
    """Do all points, with blocks that are halved whenever memory runs out.

    Parameters
    ----------
    count : int
        Points in all.
    size : int
        Points of a block to begin with.
    per_point : int
        Bytes for a point, for the message.
    work : callable
        ``work(start, size, size_of_blocks)`` does the points from ``start`` on in blocks of a size
        and returns where it stopped because memory ran out, or ``count``.

    Raises
    ------
    DeviceMemoryError
        If the smallest block does not fit.
    """
    start = 0
    while start < count:
        start = work(start, count, size)
        if start < count:
            if size <= SMALLEST:
                raise too_little(f"{count} points", min(size, count), per_point)
            size = max(size // 2, SMALLEST)


def too_little(asked: str, points: int, per_point: int) -> DeviceMemoryError:
    """Return the error that names what was needed and what was there."""
    return DeviceMemoryError(
        asked,
        f"{points} of them need {points * per_point:,} bytes on the device, "
        f"and {free_bytes():,.0f} are free",
        "ask for fewer outputs (a propagator has (L + 1)^2 numbers per point), free device memory, "
        "or use target='cpu'",
    )


@contextmanager
def said_of(count: int, per_point: int) -> Iterator[None]:
    """Say of an allocation that fails what so many points need, with so many bytes for each."""
    try:
        yield
    except FAILURES as error:
        if not is_out_of_memory(error):
            raise
        raise too_little(f"{count} points", count, per_point) from error


def device_array(shape: tuple[int, ...], number: Any, stream: Any = 0) -> Any:
    """Allocate on the device."""
    return cuda.device_array(shape, dtype=number, stream=stream)
