"""How several threads share the work of one point.

The threads of a block stand in a rectangle: points along x, and along y those that share a point.
Every one of them carries the whole state; a quadrature is a loop of which each takes
``share_turns(n)`` of n nodes, ``share_entry(turn)`` being one of them, and ``share_sum`` returns to
all of them the sum of what they found, added in the order of the threads: the same for all, and in
every run. All threads of a block must come by, also those without a point. A thread that is alone
adds nothing.

No ``range`` with a step from the machine: that it may be zero is a way out of the function, and
threads of a warp that took different branches would meet again behind the sum, not before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda
from numba.cuda import types

THREADS = 128
"""Most threads of a block that share points."""

MOST = 32
"""Most threads to a point."""


def share_turns(n: Any) -> Any:
    """Return how many of n nodes a thread takes."""
    count = cuda.blockDim.y
    return int(np.uint32(n + count - 1 - cuda.threadIdx.y) >> np.uint32(31 - cuda.clz(count)))


def share_entry(turn: Any) -> Any:
    """Return the node that a thread takes in its turn."""
    return int(np.uint32(cuda.threadIdx.y + turn * cuda.blockDim.y))


def share_sum(x: Any) -> Any:
    """Return the sum over the threads of a point."""
    if cuda.blockDim.y == 1:
        return x
    # Sized at the launch: one of fixed size would be defined again by every caller.
    parts = cuda.shared.array(0, types.float64)
    own, width = cuda.threadIdx.x, cuda.blockDim.x
    parts[cuda.threadIdx.y * width + own] = x
    cuda.syncthreads()
    total = parts[own]
    for k in range(1, cuda.blockDim.y):
        total += parts[k * width + own]
    cuda.syncthreads()
    return total


def threads_per_point(points: int, *, most: int = MOST, enough: int = 1 << 18) -> int:
    """Return how many threads share a point: as many as it takes to give a device enough to do.

    Parameters
    ----------
    points : int
        Points of the grid.
    most : int
        Never more than these.
    enough : int
        Threads beyond which a device runs no faster.
    """
    threads = 1
    while 2 * threads <= most and 2 * threads * points <= enough:
        threads *= 2
    return threads
