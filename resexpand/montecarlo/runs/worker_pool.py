"""Who draws the chunks: threads of this process, or any `concurrent.futures.Executor`.

A bounded window of tasks is in flight, so that stopping never has to cancel much. A task is a few
consecutive chunks, as many as take about `task_seconds`: a quarter of a second for threads, longer
where sending a task costs more. The grouping follows what was measured; it decides nothing but
speed, since every chunk keeps its own sums.

How many workers an executor has cannot be asked. The window of an executor therefore grows by one
whenever a task came back about as soon as it could be drawn: it did not have to wait for a worker.

A task that fails is sent again, chunk by chunk; a chunk that fails alone is sent once more. What
then still fails is reported at the end, with the other chunks kept. After `MAX_FAILED` such chunks,
or when the executor takes no more tasks, what is in flight is awaited and the run ends.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass
from itertools import islice

from resexpand.errors import WorkerError
from resexpand.montecarlo.runs.plan import Chunk
from resexpand.montecarlo.runs.sums import Sums
from resexpand.montecarlo.runs.task import TaskResult, draw, version
from resexpand.montecarlo.spec import SamplerSpec

Finished = list[tuple[Chunk, Sums]]

TASK_SECONDS = {ThreadPoolExecutor: 0.25, ProcessPoolExecutor: 2.0}
REMOTE_TASK_SECONDS = 20.0
LARGEST_RESULT = 2**24
"""Bytes that a task should send back at most."""

LARGEST_WINDOW = 4096
MAX_FAILED = 3
LISTED = 8


@dataclass(frozen=True)
class Task:
    """Chunks sent together; `retry` if they are one that failed before."""

    chunks: tuple[Chunk, ...]
    sent: float
    retry: bool = False


class WorkerPool:
    """Workers drawing the chunks of one run.

    Parameters
    ----------
    spec : SamplerSpec
    executor : Executor
    window : int
        Tasks in flight.
    own : bool
        Whether the executor was made for this run: then its size is known, and it is shut down.
    """

    def __init__(self, spec: SamplerSpec, executor: Executor, window: int, *, own: bool) -> None:
        self._spec, self._executor = spec, executor
        self._version = version()
        self.window, self._own = window, own
        self.group, self._size = 1, 0
        self._target = next(
            (s for kind, s in TASK_SECONDS.items() if isinstance(executor, kind)),
            REMOTE_TASK_SECONDS,
        )
        self._flying: dict[Future[TaskResult], Task] = {}
        self._again: deque[Chunk] = deque()
        self._tried: set[Chunk] = set()
        self._failed: dict[Chunk, BaseException] = {}
        self._gone: BaseException | None = None

    def results(self, chunks: Iterator[Chunk], count: int) -> Generator[Finished]:
        """Yield chunks as they finish, those together that did.

        Parameters
        ----------
        chunks : iterator of Chunk
        count : int
            How many there are.

        Raises
        ------
        WorkerError
            At the end, if chunks are missing; from the error of one of them.
        """
        try:
            while True:
                count -= self._fill(chunks, count)
                if not self._flying:
                    break
                finished, _ = wait(self._flying, return_when=FIRST_COMPLETED)
                ready = sorted(finished, key=lambda future: self._flying[future].chunks)
                found = [pair for future in ready for pair in self._take(future)]
                if found:
                    yield found
        finally:
            self._leave()
        if self._failed or self._gone is not None:
            raise self._error()

    def _fill(self, chunks: Iterator[Chunk], count: int) -> int:
        """Send tasks until the window is full; return the number of new chunks sent."""
        sent = 0
        while len(self._flying) < self.window and self._gone is None:
            if self._again:
                self._send((self._again.popleft(),), retry=True)
                continue
            if len(self._failed) >= MAX_FAILED:
                break
            # Towards the end tasks become short, so that all workers end together.
            share = max((count - sent) // (2 * self.window), 1)
            task = tuple(islice(chunks, min(self.group, share)))
            if not task:
                break
            sent += len(task)
            self._send(task)
        return sent

    def _send(self, chunks: tuple[Chunk, ...], *, retry: bool = False) -> None:
        task = Task(chunks, time.monotonic(), retry)
        try:
            future = self._executor.submit(draw, self._spec, self._version, chunks)
        except (RuntimeError, OSError) as error:
            self._gone = error
            self._failed.update(dict.fromkeys(chunks, error))
        else:
            self._flying[future] = task

    def _take(self, future: Future[TaskResult]) -> Finished:
        """Return the chunks of a task, or see to it that they are drawn again."""
        task = self._flying.pop(future)
        error = CancelledError() if future.cancelled() else future.exception()
        if error is None:
            done = future.result()
            self._learn(task, done)
            return list(zip(task.chunks, done.sums, strict=True))
        if not isinstance(error, Exception):
            raise error  # an interrupt that reached the worker first
        for chunk in task.chunks:
            if task.retry and chunk in self._tried:
                self._failed[chunk] = error
            else:
                self._again.append(chunk)
                if len(task.chunks) == 1:
                    self._tried.add(chunk)
        return []

    def _learn(self, task: Task, done: TaskResult) -> None:
        """Adapt group and window to how long a task took and how much it sent."""
        count, waited = len(task.chunks), time.monotonic() - task.sent
        pace = max(done.drawing / count, 1e-6)
        if not self._size:
            self._size = max(sum(len(s.to_bytes()) for s in done.sums[0].values()), 1)
        self.group = max(min(int(self._target / pace), LARGEST_RESULT // self._size), 1)
        busy = done.building + done.drawing
        if not self._own and waited < 1.5 * busy + 0.05 and self.window < LARGEST_WINDOW:
            self.window += 1

    def _leave(self) -> None:
        for future in self._flying:
            future.cancel()
        if self._own:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def _error(self) -> Exception:
        errors = list(self._failed.values())
        if self._gone is None and isinstance(errors[0], MemoryError):
            return errors[0]
        named = ", ".join(
            f"{first}...{first + n - 1}" for first, n in sorted(self._failed)[:LISTED]
        )
        more = ", ..." if len(self._failed) > LISTED else ""
        asked = f"drawing networks {named}{more}" if named else "drawing networks"
        cause = self._gone or errors[0]
        words = f"{type(cause).__name__}: {cause}".rstrip(": ")
        if self._gone is not None:
            why = f"the executor takes no more tasks ({words})"
            remedy = "repeat the call with another one; what is in the store is not drawn again"
        else:
            why = f"a worker failed twice ({words})"
            remedy = "the others were drawn; with store=PATH they are kept and the call resumes"
        raised = WorkerError(asked, why, remedy)
        raised.__cause__ = cause
        return raised


def make_pool(spec: SamplerSpec, workers: int | Executor, cores: int) -> WorkerPool:
    """Return a pool of so many threads, or on an executor.

    Parameters
    ----------
    spec : SamplerSpec
    workers : int or Executor
    cores : int
        Of this process: the window of an executor begins with twice as many.
    """
    if isinstance(workers, Executor):
        return WorkerPool(spec, workers, 2 * cores, own=False)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="resexpand")
    # A GPU draws for one thread while another adds up: two tasks in flight, as long as may be.
    window = 2 if spec.target == "cuda" else 2 * workers
    return WorkerPool(spec, pool, window, own=True)
