"""Carry out a plan: chunks through threads, finished ones into the store, sums in order.

A bounded window of chunks is in flight, so that stopping never has to cancel much. Chunks finish in
any order; their sums are merged in the order of the draws as soon as all before them are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from pathlib import Path

from resexpand.montecarlo.ledger import Ledger
from resexpand.montecarlo.moments import Moments
from resexpand.montecarlo.plan import Plan
from resexpand.montecarlo.progress import Progress, reporting

Sums = dict[str, Moments]
Chunk = tuple[int, int]
Draw = Callable[[int, int], Sums]

WINDOW = 2
"""Chunks in flight per worker: one running, one waiting."""


class InOrder:
    """Merges the sums of chunks in the order of the draws, whatever order they arrive in."""

    def __init__(self) -> None:
        self.total: Sums = {}
        self.done = 0
        self._next = 0
        self._early: dict[int, tuple[int, Sums]] = {}

    def add(self, chunk: Chunk, sums: Sums) -> None:
        """Take the sums of a chunk."""
        first, draws = chunk
        self.done += draws
        self._early[first] = (draws, sums)
        while self._next in self._early:
            draws, sums = self._early.pop(self._next)
            self._next += draws
            self.total = {
                name: self.total[name].merge(moments) if self.total else moments
                for name, moments in sums.items()
            }


def run_plan(
    plan: Plan, draw: Draw, *, workers: int, store: Path | None, progress: Progress
) -> Sums:
    """Return the sums of all networks of a plan.

    Parameters
    ----------
    plan : Plan
    draw : callable
        ``draw(first, draws)`` returns the sums of a chunk; called in threads.
    workers : int
        Number of threads.
    store : Path, optional
        File of finished chunks.
    progress : callable, bool or None
        See `resexpand.montecarlo.progress.reporting`.

    Raises
    ------
    StoreError
        If the store cannot be used.
    KeyboardInterrupt
        On Ctrl-C; the message says what was kept and how to go on.
    """
    merged = InOrder()
    ledger_or_none = nullcontext() if store is None else Ledger(store, plan)
    with ledger_or_none as ledger, reporting(progress, plan.seconds / workers) as report:
        known = {} if ledger is None else ledger.finished()
        try:
            for chunk, sums in _results(plan, draw, known, workers):
                if ledger is not None and chunk not in known:
                    ledger.add(*chunk, sums)
                merged.add(chunk, sums)
                report(merged.done, plan.draws)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_farewell(merged.done, plan.draws, store)) from None
    return merged.total


def _results(
    plan: Plan, draw: Draw, known: dict[Chunk, Sums], workers: int
) -> Iterator[tuple[Chunk, Sums]]:
    """Yield the chunks as they finish, the stored ones first."""
    yield from known.items()
    waiting = (chunk for chunk in plan.chunks() if chunk not in known)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="resexpand")
    flying: dict[Future[Sums], Chunk] = {}
    try:
        while True:
            while len(flying) < WINDOW * workers and (chunk := next(waiting, None)) is not None:
                flying[pool.submit(draw, *chunk)] = chunk
            if not flying:
                return
            finished, _ = wait(flying, return_when=FIRST_COMPLETED)
            for future in sorted(finished, key=lambda f: flying[f]):
                yield flying.pop(future), future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _farewell(done: int, draws: int, store: Path | None) -> str:
    if store is None:
        return f"interrupted after {done} of {draws} networks; pass store=PATH to keep them"
    return f"interrupted: {done} of {draws} networks are in {store}; the same call resumes there"
