"""Carry out a plan: chunks through workers, finished ones into the store, sums in order.

Chunks finish in any order; their sums are merged in the order of the draws as soon as all before
them are there. With a store, sums that come early are read back from it when their turn comes: the
memory of a run does not grow with its length.
"""

from __future__ import annotations

import os
from concurrent.futures import Executor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from pathlib import Path

from resexpand.montecarlo.engine import make_sampler
from resexpand.montecarlo.runs.chunk_store import ChunkStore, writing
from resexpand.montecarlo.runs.plan import Plan
from resexpand.montecarlo.runs.sums import InOrder, Sums
from resexpand.montecarlo.runs.worker_pool import make_pool
from resexpand.montecarlo.spec import SamplerSpec
from resexpand.montecarlo.statistics.stopping import Until
from resexpand.progress import Meter, Progress, reporting


def run_plan(
    plan: Plan,
    spec: SamplerSpec,
    *,
    workers: int | Executor | None = None,
    store: Path | None = None,
    unregistered: tuple[str, ...] = (),
    wait: bool = False,
    progress: Progress = None,
    enough: Until | None = None,
) -> Sums:
    """Return the sums of all networks of a plan, or of as many as are enough.

    Parameters
    ----------
    plan : Plan
    spec : SamplerSpec
        Description of the sampler.
    workers : int or Executor, optional
        Number of threads, all cores by default; or what runs the tasks. An executor is left
        running.
    store : Path, optional
        File of finished chunks.
    unregistered : tuple of str
        Labels of observables that the store cannot rebuild.
    wait : bool
        Whether to wait for another process that uses the store.
    progress : callable, bool or None
        See `resexpand.progress.reporting`.
    enough : Until, optional
        Asked after each chunk, in the order of the draws; True ends the run there.

    Raises
    ------
    StoreError
        If the store cannot be used.
    WorkerError
        If chunks failed twice, or the executor is gone.
    KeyboardInterrupt
        On Ctrl-C; the message says what was kept and how to go on.
    """
    make_sampler(spec)  # what cannot be sampled is refused before a file is made
    cores = available_cores()
    until = None if enough is None else enough.relative_error
    opened: AbstractContextManager[ChunkStore | None] = nullcontext()
    if store is not None:
        opened = writing(store, plan, unregistered=unregistered, wait=wait, until=until)
    with opened as chunks, reporting(progress) as report:
        if chunks is not None:
            plan = replace(plan, chunk=chunks.plan.chunk)
        order = InOrder(plan.chunks(), None if chunks is None else chunks.sums, enough)
        known = set() if chunks is None else {c for c in chunks.chunks() if c in plan}
        for chunk in sorted(known):
            order.add(chunk)
        if isinstance(report, Meter):
            report.known = order.done
        if order.done:
            report(order.done, plan.own_draws)
        if order.finished:
            return order.total
        pool = make_pool(spec, cores if workers is None else workers, cores)
        waiting = (chunk for chunk in plan.chunks() if chunk not in known)
        try:
            with closing(pool.results(waiting, plan.chunk_count - len(known))) as results:
                for finished in results:
                    if chunks is not None:
                        chunks.add(finished)
                    for chunk, sums in finished:
                        order.add(chunk, sums)
                        report(order.done, plan.own_draws)
                    if order.finished:
                        break
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_farewell(order.done, plan.own_draws, store)) from None
    return order.total


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _farewell(done: int, draws: int, store: Path | None) -> str:
    if store is None:
        return f"interrupted after {done} of {draws} networks; pass store=PATH to keep them"
    return f"interrupted: {done} of {draws} networks are in {store}; the same call resumes there"
