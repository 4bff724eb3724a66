"""Executors: the same bytes from threads, processes, Dask and MPI; failures are told and contained.

Laws: (1) what runs the tasks does not change a bit; (2) a task is small and holds numbers of draws,
never arrays; (3) a chunk that fails once does not matter, one that fails twice is named and the
others are kept; (4) tasks in flight are bounded, chunks are grouped, and nothing is drawn twice.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from runs_workers import DEADLY, NET, OWN, Here, draw, sums

from resexpand import Observable, sample
from resexpand.errors import StoreError, UnsupportedError, WorkerError
from resexpand.montecarlo.runs import worker_pool
from resexpand.montecarlo.runs.settings import spec_of
from resexpand.montecarlo.runs.stored import look
from resexpand.montecarlo.runs.task import TaskResult, version
from resexpand.montecarlo.runs.task import draw as draw_task
from resexpand.montecarlo.runs.worker_pool import WorkerPool

FOLDER = Path(__file__).parent
REFERENCE = sums(draw(workers=1))


@pytest.fixture
def processes():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def test_threads_of_an_executor() -> None:
    with ThreadPoolExecutor(3) as pool:
        assert sums(draw(workers=pool)) == REFERENCE
        assert pool.submit(int, "1").result() == 1  # it is left running
    assert sums(draw(workers=1, draws=1100)) != REFERENCE  # the control


def test_spawned_processes(processes: ProcessPoolExecutor, tmp_path: Path) -> None:
    names = ["kernel", OWN]
    found = draw(names, workers=processes, store=tmp_path / "run.sqlite")
    assert sums(found) == sums(draw(names, workers=1))
    assert sums(draw(workers=processes, shard=(1, 3))) == sums(draw(shard=(1, 3)))
    # What cannot be sent is told, with its reason.
    local = Observable("local", lambda record: record.sites["outputs"][:, 0], ("outputs",))
    with pytest.raises(WorkerError, match=r"drawing networks 0\.\.\..*local|pickle"):
        draw([local], workers=processes)


def test_a_process_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "run.sqlite"
    monkeypatch.setenv("RESEXPAND_TEST_MAIN", str(os.getpid()))
    context = multiprocessing.get_context("spawn")
    why = r"takes no more tasks .BrokenProcessPool.*repeat"
    with (
        ProcessPoolExecutor(1, mp_context=context) as pool,
        pytest.raises(WorkerError, match=why),
    ):
        draw([DEADLY], workers=pool, store=store)
    assert sums(draw([DEADLY], workers=2, store=store)) == sums(draw([DEADLY], workers=1))


def process(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_dask_on_two_processes() -> None:
    if not all(importlib.util.find_spec(name) for name in ("dask", "distributed")):
        pytest.skip("dask and distributed are not installed")
    script = (
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "if __name__ == '__main__':\n"
        "    from distributed import Client\n"
        "    from runs_workers import draw, sums\n"
        "    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:\n"
        "        pool = client.get_executor()\n"
        "        print('same bytes:', sums(draw(workers=pool)) == sums(draw(workers=1)))\n"
    )
    run = process([sys.executable, "-c", script, str(FOLDER)])
    assert "same bytes: True" in run.stdout, run.stderr[-2000:]


def test_mpi_pool() -> None:
    if not importlib.util.find_spec("mpi4py") or not shutil.which("mpiexec"):
        pytest.skip("mpi4py or mpiexec is not installed")
    script = str(FOLDER / "runs_workers.py")
    run = process(["mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures", script])
    assert "same bytes: True" in run.stdout, run.stderr[-2000:]


def test_a_task_is_small_and_holds_no_arrays() -> None:
    pool = Here()
    submitted: list[tuple] = []
    original = pool.submit

    def spy(function, *args):
        submitted.append((function, *args))
        return original(function, *args)

    pool.submit = spy  # type: ignore[method-assign]
    assert sums(draw(workers=pool)) == REFERENCE
    function, spec, library, chunks = submitted[-1]
    assert (function, library) == (draw_task, version())
    assert len(pickle.dumps((spec, library, chunks))) < 4000
    assert all(isinstance(n, int) for chunk in chunks for n in chunk)
    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301


def test_a_worker_of_another_version_refuses() -> None:
    with pytest.raises(UnsupportedError, match="not that of the process that asks"):
        draw_task(spec_of_run(), "another", ((0, 2),))


def spec_of_run():
    settings = sample(NET, "kernel", 30, 2, K0=1.0).settings
    return spec_of(settings, "")


# -- failures -------------------------------------------------------------------------------------


class Flaky:
    """Raises the first `times` times that a chunk beginning at `first` is among those of a task."""

    def __init__(self, first: int, times: int, error: type[Exception] = ValueError) -> None:
        self.first, self.times, self.error = first, times, error

    def __call__(self, chunks) -> None:
        if any(first == self.first for first, _ in chunks) and self.times:
            self.times -= 1
            raise self.error("as asked")


@pytest.mark.parametrize("error", [ValueError, CancelledError, OSError])
def test_a_chunk_that_fails_once_does_not_matter(error: type[Exception]) -> None:
    flaky = Flaky(256, 1, error)
    assert sums(draw(workers=Here(flaky))) == REFERENCE
    assert flaky.times == 0


def test_a_chunk_that_fails_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    store = tmp_path / "run.sqlite"
    with pytest.raises(WorkerError, match=r"networks 256\.\.\.\d+: .*ValueError: as asked") as told:
        draw(workers=Here(Flaky(256, 99)), store=store)
    assert isinstance(told.value.__cause__, ValueError)
    run = look(store)
    assert run.missing == 1
    assert 256 not in [first for first, _ in run.chunks]
    # Only what is missing is drawn when the run goes on.
    pool = Here()
    assert sums(draw(workers=pool, store=store)) == REFERENCE
    assert [first for task in pool.tasks for first, _ in task] == [256]


def test_a_run_in_which_all_fails_ends_soon(tmp_path: Path) -> None:
    def fail(chunks) -> None:
        raise ValueError("no")

    pool = Here(fail)
    with pytest.raises(WorkerError, match="a worker failed twice"):
        draw(workers=pool, draws=100_000)
    assert len(pool.tasks) < 50


def test_memory_that_is_short_stays_a_memory_error() -> None:
    with pytest.raises(MemoryError):
        draw(workers=Here(Flaky(0, 99, MemoryError)))


def test_an_executor_that_is_shut_down(tmp_path: Path) -> None:
    pool = Here()

    def stop(chunks) -> None:
        pool.gone = len(pool.tasks) == 3

    pool.spoil = stop
    store = tmp_path / "run.sqlite"
    with pytest.raises(WorkerError, match="takes no more tasks"):
        draw(workers=pool, store=store)
    assert 0 < look(store).done < 1000
    assert sums(draw(workers=2, store=store)) == REFERENCE


def test_a_worker_that_is_interrupted_interrupts_the_run() -> None:
    class Interrupted(Here):
        def submit(self, function, /, *args, **kwargs):
            future: Future = Future()
            future.set_exception(KeyboardInterrupt())
            return future

    with pytest.raises(KeyboardInterrupt, match="interrupted after 0 of 1000"):
        draw(workers=Interrupted())


def test_a_store_that_fails_leaves_no_threads(tmp_path: Path) -> None:
    store = tmp_path / "run.sqlite"
    before = set(threading.enumerate())
    options = {"store": store, "progress": lambda *_: store.unlink(missing_ok=True)}
    with pytest.raises(StoreError):
        sample(NET, "kernel", 30, 10**6, K0=1.0, **options)
    assert set(threading.enumerate()) == before


# -- window and groups ---------------------------------------------------------------------------


class Recorded(Here):
    """Keeps futures back until asked, to see how many are in flight."""

    def __init__(self) -> None:
        super().__init__()
        self.most = self.flying = 0

    def submit(self, function, /, *args, **kwargs):
        self.flying += 1
        self.most = max(self.most, self.flying)
        return super().submit(function, *args, **kwargs)


def finished_by(pool: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    original = WorkerPool._take

    def take(self, future):
        pool.flying -= 1
        return original(self, future)

    monkeypatch.setattr(WorkerPool, "_take", take)


def test_the_window_is_bounded_and_grows_with_idle_workers(monkeypatch) -> None:
    pool = Recorded()
    finished_by(pool, monkeypatch)
    monkeypatch.setattr(worker_pool, "LARGEST_WINDOW", 7)
    monkeypatch.setattr(worker_pool, "REMOTE_TASK_SECONDS", 0.0)  # one chunk per task
    assert sums(draw(workers=pool)) == REFERENCE
    assert 2 < pool.most <= 7


@pytest.mark.parametrize(("seconds", "most"), [(0.0, 1), (10.0, 100)])
def test_groups_are_as_long_as_asked(seconds: float, most: int, monkeypatch) -> None:
    monkeypatch.setattr(worker_pool, "REMOTE_TASK_SECONDS", seconds)
    pool = Here()
    assert sums(draw(draws=20_000, workers=pool)) == sums(draw(draws=20_000, workers=1))
    longest = max(len(task) for task in pool.tasks)
    assert (longest == 1) if most == 1 else (2 < longest <= most)
    drawn = [chunk for task in pool.tasks for chunk in task]
    assert len(set(drawn)) == len(drawn)


def test_large_results_make_small_groups() -> None:
    spec = spec_of_run()
    pool = WorkerPool(spec, Here(), 2, own=False)
    task = worker_pool.Task(((0, 2),), 0.0)
    done = draw_task(spec, version(), ((0, 2),))
    pool._learn(task, TaskResult(done.sums, 0.0, 1e-3))
    assert pool.group > 1000
    size = sum(len(value.to_bytes()) for value in done.sums[0].values())
    worker_pool_limit = worker_pool.LARGEST_RESULT
    try:
        worker_pool.LARGEST_RESULT = 3 * size
        pool._learn(task, TaskResult(done.sums, 0.0, 1e-3))
    finally:
        worker_pool.LARGEST_RESULT = worker_pool_limit
    assert pool.group == 3
