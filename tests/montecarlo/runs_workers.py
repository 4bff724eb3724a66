"""Helpers that worker processes import by name: executors that misbehave, and a tiny run."""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import Executor, Future

from resexpand import Activation, Branch, Linear, Observable, ResNet, sample
from resexpand.montecarlo.observables.observable import Record
from resexpand.montecarlo.runs import plan as plan_module

NET = ResNet(Branch(Activation("erf"), Linear(1.2, 0.1)), scale=0.5, depth=3)


def growth(record: Record):
    """Read off how much the stream has grown."""
    kernel = record.of_inputs(record.sites["states"])
    return kernel[:, -1] / kernel[:, 0]


def deadly(record: Record):
    """Kill the process, unless it is the one that started the run."""
    if os.environ.get("RESEXPAND_TEST_MAIN") != str(os.getpid()):
        os.kill(os.getpid(), signal.SIGKILL)
    return growth(record)


OWN = Observable("growth", growth, ("states",), inputs=1)
DEADLY = Observable("deadly", deadly, ("states",), inputs=1)


def draw(names=("kernel",), draws: int = 1000, **options):
    """Return the estimates of a run of short chunks."""
    plan_module.CHUNK_SECONDS, kept = 2e-4, plan_module.CHUNK_SECONDS
    try:
        return sample(NET, names, 30, draws, K0=1.0, seed=3, progress=False, **options)
    finally:
        plan_module.CHUNK_SECONDS = kept


def sums(estimates) -> dict[str, bytes]:
    """Return the exact sums by observable."""
    return {name: e.moments.to_bytes() for name, e in estimates.items()}


class Here(Executor):
    """Runs every task at once, in this thread; `spoil` may raise before it does."""

    def __init__(self, spoil=lambda chunks: None) -> None:
        self.spoil, self.tasks, self.gone = spoil, [], False

    def submit(self, function, /, *args, **kwargs):
        """Return a finished future."""
        if self.gone:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future = Future()
        chunks = args[-1]
        self.tasks.append(chunks)
        try:
            self.spoil(chunks)
            future.set_result(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future


if __name__ == "__main__":
    # Under `mpiexec -n 3 python -m mpi4py.futures runs_workers.py`: compare with one thread.
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as pool:
        same = sums(draw(workers=pool)) == sums(draw(workers=1))
    sys.stdout.write(f"same bytes: {same}\n")
