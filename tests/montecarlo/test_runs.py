"""Runs: the answer does not depend on workers, chunks, interruption or resumption, bit by bit.

Laws: (1) rows of networks are the same in any cut of the ensemble; (2) sums are the same for 1, 2
and 5 workers; (3) a run stopped after any chunk and resumed, or extended, gives the bytes of an
uninterrupted one, and never draws a stored chunk again; (4) a store that is damaged, foreign, newer
or of another run is refused and left unchanged.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

from resexpand import Activation, Branch, Linear, ResNet, sample
from resexpand.errors import StoreError
from resexpand.montecarlo.engine import Sampler
from resexpand.montecarlo.runs import plan as plan_module
from resexpand.montecarlo.runs.plan import Plan, Work

NET = ResNet(Branch(Activation("erf"), Linear(1.2, 0.1)), scale=0.5, depth=3)
NAMES = ["kernel", "layer_covariance", "output_squared"]


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "CHUNK_SECONDS", 2e-4)


def run(draws: int = 1000, seed: int = 3, **options) -> dict[str, bytes]:
    estimates = sample(NET, NAMES, width=30, draws=draws, K0=1.0, seed=seed, **options)
    return {name: e.moments.to_bytes() for name, e in estimates.items()}


@pytest.mark.parametrize("method", ["function-space", "dense"])
@pytest.mark.parametrize("width", [30, 300])
def test_rows_do_not_depend_on_the_cut(method: str, width: int, make) -> None:
    ensemble = make(NET, NAMES, width, K0=[[1.0, 0.3], [0.3, 1.0]], method=method)
    whole = ensemble.rows(0, 12)
    for cut in (1, 5):
        head, tail = ensemble.rows(0, cut), ensemble.rows(cut, 12 - cut)
        for name in NAMES:
            np.testing.assert_array_equal(np.concatenate([head[name], tail[name]]), whole[name])


def test_different_seeds_and_draws_are_different_networks(make) -> None:
    rows = make(NET, "kernel", 30).rows(0, 50)["kernel"]
    assert len(np.unique(rows)) == rows.size
    for seed in (2, 1 + 2**32):
        assert not np.isin(make(NET, "kernel", 30, seed=seed).rows(0, 50)["kernel"], rows).any()


def test_sums_do_not_depend_on_workers() -> None:
    assert Work(30, 3, 1, 2, dense=False).chunk < 1000 / 5
    reference = run(workers=1)
    assert run(workers=2) == reference
    assert run(workers=5) == reference
    assert run(workers=2, seed=4) != reference  # the control


@pytest.mark.parametrize("stop_after", [1, 4])
def test_resume_gives_the_same_bytes(stop_after: int, tmp_path: Path) -> None:
    store = tmp_path / "run.sqlite"
    calls = []

    def stop(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="the same call resumes there"):
        run(store=store, progress=stop)
    seen: list[int] = []
    resumed = run(store=store, progress=lambda done, total: seen.append(done))
    assert seen[-1] == 1000
    assert resumed == run()


def test_interrupt_without_store_says_how_to_keep_results() -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="pass store=PATH"):
        run(progress=stop)
    assert not [t for t in threading.enumerate() if t.name.startswith("resexpand")]


def test_stored_chunks_are_not_drawn_again(tmp_path: Path, monkeypatch) -> None:
    store = tmp_path / "run.sqlite"
    first = run(store=store)
    drawn: list[tuple[int, int]] = []
    original = Sampler.moments

    def counted(self, first: int, draws: int):
        drawn.append((first, draws))
        return original(self, first, draws)

    monkeypatch.setattr(Sampler, "moments", counted)
    assert run(store=store) == first
    assert drawn == []
    chunk = Work(30, 3, 1, 2, dense=False).chunk
    longer = run(draws=2000, store=store)
    assert min(first for first, _ in drawn) == 1000 // chunk * chunk
    assert longer == run(draws=2000)


def test_a_failed_transaction_leaves_the_chunks_before_it(tmp_path: Path) -> None:
    """A kill between writing and committing: the chunk is simply not there."""
    store = tmp_path / "run.sqlite"
    reference = run(store=store)
    with sqlite3.connect(store, isolation_level=None) as file:
        file.execute("BEGIN IMMEDIATE")
        file.execute("DELETE FROM chunk WHERE first > 100")
        file.execute("COMMIT")
    assert run(store=store) == reference


def _unchanged(store: Path, match: str, **options) -> None:
    before = store.read_bytes()
    with pytest.raises(StoreError, match=match):
        run(store=store, **options)
    assert store.read_bytes() == before
    assert os.listdir(store.parent) == [store.name]


def test_refused_stores(tmp_path: Path) -> None:
    store = tmp_path / "run.sqlite"
    run(store=store)
    _unchanged(store, "another run .different: seed", seed=4)
    _unchanged(store, "different: method", method="dense")

    with sqlite3.connect(store) as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    _unchanged(store, "newer version")

    store.write_bytes(b"not a database, " * 1000)
    _unchanged(store, "not a database")
    # Too short to be a database, and yet somebody's file.
    store.write_bytes(b"x")
    _unchanged(store, "not a database")

    store.unlink()
    with sqlite3.connect(store) as file:
        file.execute("CREATE TABLE mine (x)")
    file.close()
    _unchanged(store, "not a store of resexpand")


def test_damaged_chunk_is_noticed(tmp_path: Path) -> None:
    store = tmp_path / "run.sqlite"
    run(store=store)
    with sqlite3.connect(store) as file:
        file.execute("UPDATE chunk SET moments = zeroblob(length(moments)) WHERE first = 0")
    file.close()
    _unchanged(store, "damaged")


def test_store_in_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open"):
        run(store=tmp_path / "missing" / "run.sqlite")


def test_progress_counts_every_network() -> None:
    seen: list[tuple[int, int]] = []
    run(workers=2, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (1000, 1000)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize("draws", [1, 255, 256, 5000])
@pytest.mark.parametrize("count", [1, 3])
def test_plan_covers_every_draw_once(draws: int, count: int) -> None:
    for work in (
        Work(10, 2, 1, 2, False),
        Work(2000, 500, 3, 2, True),
        Work(10, 20000, 3, 2, False),
    ):
        assert work.chunk >= 1
        assert work.chunk & (work.chunk - 1) == 0
        covered = []
        for number in range(count):
            plan = Plan({}, draws, work.chunk, (number, count))
            chunks = list(plan.chunks())
            mine = [n for first, many in chunks for n in range(first, first + many)]
            assert (plan.chunk_count, plan.own_draws) == (len(chunks), len(mine))
            covered += mine
        assert sorted(covered) == list(range(draws))


def test_bar_does_not_change_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(progress=True) == run(progress=False)
    assert capsys.readouterr().out == ""
