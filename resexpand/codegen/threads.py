"""Spreading the tiles of a routine over threads.

The compiled loop releases the interpreter lock, so plain threads run it side by side; the same code
compiled with Numba's own parallel loops takes two to three times as long to compile and must not be
entered from two threads at once. Tiles are independent: the result does not depend on their number
or order, bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba

SHARES_PER_THREAD = 4
"""Pieces of work per thread, so that a thread that is held up does not hold up the rest."""

WORTH_A_THREAD = 4096
"""Tiles times layers below which starting threads costs more than it saves."""


def thread_count() -> int:
    """Return how many threads Numba may use, whether or not its own threads can be started."""
    try:
        return int(numba.get_num_threads())
    except ValueError:  # an unknown NUMBA_THREADING_LAYER, which nothing here needs
        return int(numba.config.NUMBA_NUM_THREADS)


def run_tiles(run: Callable[..., None], tiles: int, work: int, arguments: tuple[Any, ...]) -> None:
    """Call ``run(start, stop, *arguments)`` for all tiles, on as many threads as Numba may use.

    Parameters
    ----------
    run : callable
        Compiled loop over the tiles ``start .. stop - 1`` that releases the interpreter lock.
    tiles : int
        Number of tiles.
    work : int
        Layers per tile (times what one costs more than a closed form), to judge whether threads
        are worth it.
    arguments : tuple
        Passed on to every call.
    """
    threads = min(thread_count(), tiles)
    if threads < 2 or tiles * work < WORTH_A_THREAD:
        run(0, tiles, *arguments)
        return
    # The first call compiles; several at once would wait for each other.
    run(0, 1, *arguments)
    shares = min(threads * SHARES_PER_THREAD, tiles - 1)
    edges = [1 + (tiles - 1) * k // shares for k in range(shares + 1)]
    with ThreadPoolExecutor(threads) as pool:
        calls = [pool.submit(run, edges[k], edges[k + 1], *arguments) for k in range(shares)]
        for call in calls:
            call.result()
