"""Faults of machines: what is acknowledged is kept, and a resumed run has the same bytes.

Runs of `sample` with a store are disturbed on purpose, in processes of their own:

- kept: a run is killed (SIGKILL) at random moments; every chunk that it had reported as finished is
  in the store afterwards. Control: a store that reports before it commits.
- same bytes: killed runs are resumed until they are complete, and their exported totals are
  compared, byte by byte, with those of a run that nothing disturbed. Control: another seed.
- full disk: the file may not grow beyond a limit, and, where a small file system can be mounted, a
  real disk runs full; the run ends with one `StoreError`, the store is whole, the resumed run has
  the same bytes. Control: a store that goes on when a write fails.
- two processes: of two that start on one store one is refused, and two that may wait draw every
  chunk once. Control: no lock.

Usage: ``python numerics/faults.py [--scale smoke|full] [--out FOLDER]``. Exit code 0 if all claims
hold and every control was caught, 1 if not. It needs POSIX signals; kills are drawn from a fixed
seed, though where they hit depends on the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

import numpy as np

from resexpand import Activation, Branch, Linear, ResNet, sample
from resexpand.errors import StoreError
from resexpand.export.record import environment, write_record
from resexpand.export.result_files import save
from resexpand.montecarlo.engine import Sampler
from resexpand.montecarlo.runs import chunk_store as store_module
from resexpand.montecarlo.runs import plan as plan_module
from resexpand.montecarlo.runs.chunk_store import ChunkStore
from resexpand.montecarlo.runs.lock import StoreWarning
from resexpand.montecarlo.runs.stored import look

NET = ResNet(Branch(Activation("erf"), Linear(1.2, 0.1)), scale=0.5, depth=4)
NAMES = ["kernel", "layer_covariance"]
CHUNK_SECONDS = 5e-4
"""Short chunks: most of the time is spent where a kill could hurt, in the store."""

KILLS = {"smoke": 3, "full": 50}
KILLS_PER_STORE = 5
CHUNKS = 300
SEED = 5
PATIENCE = 60.0
"""Seconds for which a process waits for another one at most."""
FORK = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Claim:
    """One statement with what was found, and what its control found."""

    statement: str
    holds: bool
    found: str
    wrong: str
    caught: bool


# What runs in a process of its own --------------------------------------------------------------


def draws() -> int:
    """Return the number of networks of a run: so many chunks and a part of one."""
    with mock.patch.object(plan_module, "CHUNK_SECONDS", CHUNK_SECONDS):
        chunk = plan_module.Work(24, NET.depth, 1, 2, dense=False).chunk
    return CHUNKS * chunk + chunk // 2


def carry_out(store: Path | None, seed: int = SEED, **options: object) -> object:
    """Return the estimates of the run."""
    with mock.patch.object(plan_module, "CHUNK_SECONDS", CHUNK_SECONDS):
        return sample(NET, NAMES, 24, draws(), K0=1.0, seed=seed, store=store, workers=2, **options)


def child(store: str, pipe: Connection, fault: str | None, limit: int | None, wait: bool) -> None:
    """Carry out the run, report each acknowledged number of networks, and how it ended."""
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    drawn = 0
    original = Sampler.moments

    def counted(self: Sampler, first: int, many: int) -> object:
        nonlocal drawn
        drawn += many
        return original(self, first, many)

    warnings.simplefilter("ignore", StoreWarning)
    with FAULTS[fault](), mock.patch.object(Sampler, "moments", counted):
        try:
            carry_out(Path(store), wait=wait, progress=lambda done, total: pipe.send(done))
            pipe.send(("done", drawn))
        except StoreError as error:
            pipe.send(("error", str(error)))


@contextlib.contextmanager
def reports_before_it_commits() -> Iterator[None]:
    """Keep finished chunks in memory, and write them ten rounds later."""
    original, held = ChunkStore.add, []

    def late(self: ChunkStore, finished: object) -> None:
        held.append(list(finished))  # type: ignore[call-overload]
        if len(held) > 10:
            for group in held:
                original(self, group)
            held.clear()

    with mock.patch.object(ChunkStore, "add", late):
        yield


@contextlib.contextmanager
def goes_on_when_a_write_fails() -> Iterator[None]:
    """Swallow the error of a store, and sum what is in memory."""
    original = ChunkStore.add

    def careless(self: ChunkStore, finished: object) -> None:
        with contextlib.suppress(StoreError):
            original(self, finished)  # type: ignore[arg-type]

    blind = mock.patch.object(ChunkStore, "sums", return_value={})
    with mock.patch.object(ChunkStore, "add", careless), blind:
        yield


def met(store: Path) -> Path:
    """Return the file that says that two processes have met at a store."""
    return store.with_suffix(".met")


@contextlib.contextmanager
def writes_slowly() -> Iterator[None]:
    """Wait behind the first chunk until a second process has met this one: a file says so."""
    original, stores = ChunkStore.add, set()

    def slow(self: ChunkStore, finished: object) -> None:
        until = time.monotonic() + PATIENCE if self.path in stores else 0
        while time.monotonic() < until and not met(self.path).exists():
            time.sleep(0.01)
        stores.add(self.path)
        original(self, finished)  # type: ignore[arg-type]

    with mock.patch.object(ChunkStore, "add", slow):
        yield


@contextlib.contextmanager
def does_not_lock() -> Iterator[None]:
    """Let any number of processes write to a store."""
    nothing = mock.patch.object(store_module, "held", return_value=contextlib.nullcontext())
    with nothing, writes_slowly():
        yield


FAULTS: dict[str | None, Callable[[], contextlib.AbstractContextManager[None]]] = {
    None: contextlib.nullcontext,
    "early": reports_before_it_commits,
    "careless": goes_on_when_a_write_fails,
    "slow": writes_slowly,
    "unlocked": does_not_lock,
}


class Child:
    """A run in another process."""

    def __init__(
        self, store: Path, fault: str | None = None, limit: int | None = None, wait: bool = False
    ) -> None:
        self._pipe, theirs = FORK.Pipe(duplex=False)
        arguments = (str(store), theirs, fault, limit, wait)
        self._process = FORK.Process(target=child, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self.acknowledged = 0
        self.end: tuple[str, object] | None = None

    def read(self, seconds: float | None) -> None:
        """Take reports for so long; until the end for None."""
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            if not self._pipe.poll(None if until is None else max(until - time.monotonic(), 0)):
                return
            try:
                answer = self._pipe.recv()
            except EOFError:
                break
            if isinstance(answer, tuple):
                self.end = answer
            else:
                self.acknowledged = answer

    def begin(self) -> None:
        """Wait until something was acknowledged."""
        while self.acknowledged == 0 and self.end is None and self._process.is_alive():
            self.read(0.01)

    def kill(self) -> None:
        """Kill it, and take the reports it had sent before."""
        self._process.kill()
        self._process.join()
        self.read(None)

    def finish(self) -> tuple[str, object]:
        """Wait for its end and return how it ended."""
        self.read(None)
        self._process.join()
        return self.end or ("died", self._process.exitcode)


# The claims -------------------------------------------------------------------------------------


def exported(estimates: object, folder: Path) -> bytes:
    """Return the bytes of the exported totals."""
    path = folder / "totals.npz"
    save(estimates, path)  # type: ignore[arg-type]
    return path.read_bytes()


def kill_often(kills: int, folder: Path, fault: str | None) -> tuple[list[Path], int, int]:
    """Kill runs; return their stores, how many lost what they had acknowledged, and open journals.

    A store takes a few kills before the next one is begun.
    """
    rng = np.random.default_rng(1)
    stores, lost, journals = [], 0, 0
    for k in range(kills):
        if k % KILLS_PER_STORE == 0:
            stores.append(folder / f"{fault}-{k}.sqlite")
        run = Child(stores[-1], fault)
        run.begin()
        run.read(float(rng.uniform(0, 0.15)))
        run.kill()
        journals += stores[-1].with_name(f"{stores[-1].name}-journal").exists()
        lost += look(stores[-1]).done < run.acknowledged
    return stores, lost, journals


def killed(kills: int, folder: Path, reference: bytes) -> dict[str, Claim]:
    """Kill, look, resume, compare."""
    stores, lost, journals = kill_often(kills, folder, None)
    _, lost_early, _ = kill_often(1, folder, "early")
    same = [exported(carry_out(store), folder) == reference for store in stores]
    other = exported(carry_out(None, SEED + 1), folder)
    return {
        "kept": Claim(
            "what a run reported as finished is in its store after a kill",
            lost == 0,
            f"{kills} kills, {journals} of them inside a transaction, {lost} lost something",
            "the store reports before it commits",
            lost_early == 1,
        ),
        "same bytes": Claim(
            "a run that was killed and resumed exports the bytes of an undisturbed one",
            all(same),
            f"{sum(same)} of {len(same)} stores with {kills} kills have the same bytes",
            "another seed",
            other != reference,
        ),
    }


def full_disk(folder: Path, reference: bytes, *, mount: bool) -> Claim:
    """Let the file hit a limit, and a disk run full."""
    limit = 2**16
    places = {"a limit on the file": folder / "limited.sqlite"}
    found, holds = [], True
    with small_disk(folder / "disk", mount) as disk:
        if disk is not None:
            places["a full disk"] = disk / "run.sqlite"
        for name, store in places.items():
            how, answer = Child(store, limit=None if store.parent == disk else limit).finish()
            run = look(store)
            good = how == "error" and "what was finished before is kept" in str(answer)
            kept = folder / f"moved-{store.name}"
            shutil.copyfile(store, kept)
            good &= 0 < run.done < draws() and exported(carry_out(kept), folder) == reference
            holds &= good
            found.append(f"{name}: {run.done} of {draws()} kept, {'resumed' if good else answer}")
    careless = folder / "careless.sqlite"
    how, _ = Child(careless, "careless", limit).finish()
    return Claim(
        "a full disk is one error, and loses nothing that was finished before",
        holds,
        "; ".join(found),
        "the store goes on when a write fails",
        how != "error" and look(careless).done < draws(),
    )


@contextlib.contextmanager
def small_disk(folder: Path, mount: bool) -> Iterator[Path | None]:
    """Mount a file system of 128 kB; None where that is not wanted or not permitted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    mounted = False
    if mount and os.geteuid() == 0 and shutil.which("mount"):
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def two_processes(folder: Path, reference: bytes) -> Claim:
    """Start two processes on one store."""
    refused = folder / "refused.sqlite"
    first = Child(refused, "slow")
    first.begin()
    how, answer = Child(refused).finish()
    met(refused).touch()
    holds = how == "error" and "another process" in str(answer) and first.finish()[0] == "done"
    holds &= exported(look(refused).estimates, folder) == reference
    both = folder / "both.sqlite"
    waited = drawn_by_two(both, "slow")
    holds &= waited == draws() and exported(look(both).estimates, folder) == reference
    unlocked = drawn_by_two(folder / "unlocked.sqlite", "unlocked")
    words = str(answer).replace(f"{folder}/", "")
    return Claim(
        "of two processes on one store one is refused; if it waits, every network is drawn once",
        holds,
        f"the second was told: {words}; two that wait drew {waited} of {draws()} networks",
        "no lock",
        unlocked != draws(),
    )


def drawn_by_two(store: Path, fault: str | None) -> int:
    """Return the number of networks that two processes drew together."""
    first = Child(store, fault, wait=True)
    first.begin()
    second = Child(store, fault, wait=True)
    if fault == "unlocked":  # one that waits begins when the first has ended
        second.begin()
    met(store).touch()
    ends = [run.finish() for run in (second, first)]
    return sum(int(str(number)) for how, number in ends if how == "done")


def main(arguments: list[str] | None = None) -> int:
    """Disturb, resume, compare; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", choices=KILLS, default="smoke")
    parser.add_argument("--out", type=Path, help="folder for the record")
    chosen = parser.parse_args(arguments)
    FORK.set_forkserver_preload(["resexpand.montecarlo.runs.execute", "resexpand"])
    kills = KILLS[chosen.scale]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = exported(carry_out(None), folder)
        claims = {
            **killed(kills, folder, reference),
            "full disk": full_disk(folder, reference, mount=chosen.scale == "full"),
            "two processes": two_processes(folder, reference),
        }
    for name, claim in claims.items():
        print(f"\n{name}: {claim.statement}")
        print(f"{'agrees' if claim.holds else 'disagrees'}: {claim.found}")
        print(f"control ({claim.wrong}): {'caught' if claim.caught else 'slipped through'}")
    code = 0 if all(claim.holds and claim.caught for claim in claims.values()) else 1
    if chosen.out is not None:
        sections = {
            name: {
                "statement": claim.statement,
                "agreement": {
                    "verdict": "agrees" if claim.holds else "disagrees",
                    "reason": claim.found,
                },
                "control": {
                    "wrong": claim.wrong,
                    "verdict": "disagrees" if claim.caught else "agrees",
                },
            }
            for name, claim in claims.items()
        }
        write_record(
            chosen.out / "record.json",
            environment=environment(),
            scale=chosen.scale,
            kills=kills,
            claims=sections,
            exit_code=code,
        )
    return code


if __name__ == "__main__":
    sys.exit(main())
