"""Spreading the tiles of a routine over threads.

The compiled loop releases the interpreter lock, so plain threads run it side by side; the same code
compiled with Numba's own parallel loops takes two to three times as long to compile and must not be
entered from two threads at once. Tiles are independent: the result does not depend on their number
or order, bit by bit. The calling thread only waits, so that an interrupt is heard at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar

from resexpand.codegen.track import done

SHARES_PER_THREAD = 4
"""Pieces of work per thread, so that a thread that is held up does not hold up the rest."""

WORTH_A_THREAD = 4096
"""Tiles times layers below which starting threads costs more than it saves."""


LONGEST_SHARE = 100_000
"""Tiles times layers of one piece: about a tenth of a second, the time to hear an interrupt."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def thread_count() -> int:
    """Return how many threads Numba may use, whether or not its own threads can be started."""
    import numba  # not loaded with this module: the target numpy needs none

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
    if tiles * work < WORTH_A_THREAD:
        run(0, tiles, *arguments)
        done(1, 1)
        return
    threads = thread_count()
    shares = max(threads * SHARES_PER_THREAD, tiles * work // LONGEST_SHARE)
    shares = max(min(shares, tiles - 1), 1)
    edges = [0, *(1 + (tiles - 1) * k // shares for k in range(shares + 1))]
    in_threads(lambda piece: run(*piece, *arguments), list(pairwise(edges)))


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Call a function for every item on threads, and stay open to an interrupt while they run.

    Parameters
    ----------
    function : callable
        Called with one item; it should release the interpreter lock. The first call is finished
        before others begin: it may compile, and several at once would wait for each other.
    items : sequence
        Pieces of work. After an interrupt those that have not begun are dropped.

    Returns
    -------
    list
        Return values in the order of the items.
    """
    pool = ThreadPoolExecutor(min(thread_count(), max(len(items), 1)))
    try:
        results = [pool.submit(function, item).result() for item in items[:1]]
        for call in [pool.submit(function, item) for item in items[1:]]:
            done(len(results), len(items))
            results.append(call.result())
        done(1, 1)
    except BaseException:
        # Waiting for what has begun would keep the caller from hearing the interrupt.
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    return results
