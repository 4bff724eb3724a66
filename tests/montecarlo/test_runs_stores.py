"""Stores: shards merge into the bytes of a whole run, plans are read back, faults are told apart.

Laws: (1) the stores of any number of shards, merged in any order, hold the bytes of one run; (2) a
plan read back from its settings draws the same networks; (3) what cannot be trusted is refused with
one `StoreError`, and the file stays as it is.
"""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Gate, Linear, ResNet
from resexpand.activations import ACTIVATIONS
from resexpand.errors import HyperparameterError, StoreError, UnsupportedError
from resexpand.export.dataset import to_xarray
from resexpand.export.result_files import save
from resexpand.montecarlo.observables.observable import Observable
from resexpand.montecarlo.runs import file_format
from resexpand.montecarlo.runs import plan as plan_module
from resexpand.montecarlo.runs.lock import StoreWarning, held, lock_of
from resexpand.montecarlo.runs.plan import Plan
from resexpand.montecarlo.runs.settings import fingerprint, spec_of
from resexpand.montecarlo.runs.stored import find, look, merge, resume
from resexpand.montecarlo.sample import sample

NET = ResNet(Branch(Activation("erf"), Linear(1.2, 0.1)), scale=0.5, depth=3)
NAMES = ["kernel", "output_squared"]


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "CHUNK_SECONDS", 2e-4)


def draw(store: Path | None = None, draws: int = 1000, names=NAMES, net=NET, **options):
    return sample(net, names, 30, draws, K0=1.0, seed=3, store=store, progress=False, **options)


def sums(estimates) -> dict[str, bytes]:
    return {name: e.moments.to_bytes() for name, e in estimates.items()}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "run.sqlite"
    draw(path)
    return path


def growth(record):
    kernel = record.of_inputs(record.sites["states"])
    return kernel[:, -1] / kernel[:, 0]


OWN = Observable("growth", growth, ("states",), inputs=1)


# -- shards and merging --------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5])
def test_shards_merge_into_the_whole_run(count: int, tmp_path: Path) -> None:
    parts = [tmp_path / f"part-{i}.sqlite" for i in range(count)]
    drawn = [draw(path, shard=(i, count))["kernel"].n for i, path in enumerate(parts)]
    assert sum(drawn) == 1000
    whole = merge(tmp_path / "whole.sqlite", parts[::-1])
    assert (whole.done, whole.asked, whole.missing) == (1000, 1000, 0)
    assert sums(whole.estimates) == sums(draw())
    # The whole is a store like any other: nothing is left to draw, and more can be asked for.
    assert sums(draw(whole.path)) == sums(draw())
    assert sums(resume(whole.path, draws=1500)) == sums(draw(draws=1500))


def test_an_incomplete_merge_says_what_is_missing_and_goes_on(tmp_path: Path) -> None:
    parts = [tmp_path / f"part-{i}.sqlite" for i in range(3)]
    for i, path in enumerate(parts[:2]):
        draw(path, shard=(i, 3))
    target = tmp_path / "whole.sqlite"
    found = merge(target, parts[:2])
    assert 0 < found.missing < found.plan.chunk_count
    assert found.asked == 1000 > found.done
    assert look(parts[0]).asked == look(parts[0]).done < 1000
    draw(parts[2], shard=(2, 3))
    assert merge(target, [parts[2], target]).missing == 0
    assert sums(look(target).estimates) == sums(draw())


def test_a_shard_resumes_as_a_shard(tmp_path: Path) -> None:
    path = tmp_path / "part.sqlite"
    options = {"K0": 1.0, "seed": 3, "store": path, "shard": (1, 3)}
    reference = draw(draws=3000, shard=(1, 3))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    # One worker has two tasks of one chunk when the first result arrives, however fast it is.
    with pytest.raises(KeyboardInterrupt):
        sample(NET, NAMES, 30, 3000, workers=1, progress=stop, **options)
    run = look(path)
    assert run.plan.chunk_count > 4
    assert 0 < run.done < reference["kernel"].n == run.asked
    resumed = resume(path)
    assert sums(resumed) == sums(reference)
    assert list(resumed.settings["shard"]) == [1, 3]


def test_merging_refuses_other_runs_and_other_sums(store: Path, tmp_path: Path) -> None:
    other, target = tmp_path / "other.sqlite", tmp_path / "target.sqlite"
    sample(NET, NAMES, 30, 1000, K0=1.0, seed=4, store=other)
    with pytest.raises(StoreError, match=r"different runs .different: seed"):
        merge(target, [store, other])
    assert not target.exists()
    changed = tmp_path / "changed.sqlite"
    draw(changed)
    forge(changed)
    before = store.read_bytes()
    with pytest.raises(StoreError, match=r"different kernel of networks 0\.\.\."):
        merge(target, [store, changed])
    assert not target.exists()
    with pytest.raises(StoreError, match="hold different kernel"):
        merge(store, [changed])
    assert store.read_bytes() == before
    with pytest.raises(StoreError, match="no other store"):
        merge(target, [])


def forge(path: Path) -> None:
    """Put other sums, with a digest that belongs to them, into the first chunk."""
    with sqlite3.connect(path) as file:
        row = file.execute(
            "SELECT * FROM chunk WHERE first = 0 AND observable = 'kernel'"
        ).fetchone()
        first, draws, name, shape, data, _, kind = row
        data = data[:-8] + np.float64(2.0).tobytes()
        (identity,) = file.execute("SELECT identity FROM plan").fetchone()
        digest = file_format.digest_of(identity, first, draws, name, shape, data, kind)
        query = "UPDATE chunk SET moments = ?, digest = ? WHERE first = 0 AND observable = 'kernel'"
        file.execute(query, (data, digest))
    file.close()


@pytest.mark.parametrize(
    ("shard", "why"),
    [
        ((3, 3), "count from 0"),
        ((-1, 3), "count from 0"),
        ((0, 0), "count from 0"),
        ((0, 10_000), "at most"),
        ("0/3", "two whole numbers"),
        ((0, 3.0), "two whole numbers"),
        ((True, 3), "two whole numbers"),
    ],
)
def test_shards_that_do_not_exist(shard, why: str) -> None:
    with pytest.raises(HyperparameterError, match=why):
        draw(shard=shard)


# -- plans are read back -------------------------------------------------------------------------

NETS = {
    "erf": NET,
    "two scales": ResNet(Branch(Activation("erf"), Linear(1.2, 0.1)), scale=[0.5, 0.25]),
    "read-out": ResNet(
        Branch(Activation("erf"), Linear(1, 0)),
        scale=1,
        depth=2,
        read_out=[Activation("erf"), Linear(0.7, 0.1)],
    ),
    "gate": ResNet(Branch(Linear(2, 0), Gate("silu", 0.7), Linear(1, 0.1)), scale=0.5, depth=2),
    "two linear maps": ResNet(
        Branch(Linear(1, 0.1), Activation("erf"), Linear(0.8, 0)), scale=1, depth=2
    ),
}


@pytest.mark.parametrize(
    "net",
    [
        pytest.param(net, id=name, marks=[pytest.mark.slow] if "maps" in name else [])
        for name, net in NETS.items()
    ],
)
def test_a_plan_read_back_is_the_same_run(net: ResNet, tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    draw(path, draws=100, net=net)
    assert sums(resume(path, draws=300)) == sums(draw(draws=300, net=net))


@pytest.mark.parametrize("options", [{"method": "dense"}, {"control": "infinite-width"}], ids=str)
def test_options_are_read_back(options: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    draw(path, draws=100, **options)
    reference, found = draw(draws=300, **options), resume(path, draws=300)
    assert sums(found) == sums(reference)
    np.testing.assert_array_equal(found["kernel"].gain, reference["kernel"].gain)


X = sp.Symbol("x", real=True)


@pytest.mark.parametrize(
    "activation",
    [*ACTIVATIONS, X * sp.tanh(X), sp.Max(X, X**2 / 3), sp.Abs(X) + sp.exp(-(X**2)) / 7],
    ids=str,
)
def test_activations_are_read_back(activation) -> None:
    branch = Branch(Activation(activation), Linear())
    settings = {
        "branch": fingerprint(branch),
        "depth": 1,
        "scales": 1.0,
        "variances": [[0.0, 0.0], [1.0, 0.0]],
        "read_out": None,
        "observables": ["order_profile(3)", "kernel"],
        "K0": [[1.0]],
        "width": 8,
        "method": "dense",
        "seed": 2**64 - 1,
        "weights": "rademacher",
    }
    spec = spec_of(json.loads(json.dumps(settings)), "reading")
    assert spec.kinds[0].ops[0] == branch.ops[0]
    assert [o.label for o in spec.observables] == settings["observables"]
    assert (spec.seed, spec.law.name) == (2**64 - 1, "rademacher")


@pytest.mark.parametrize(
    "change",
    [
        {"branch": ["__import__('os')", "Linear"]},
        {"branch": ["9**9**9**9", "Linear"]},
        {"branch": []},
        {"observables": ["growth"]},
        {"K0": 1},
        {"depth": None},
        {"weights": "quantile __import__('os')"},
    ],
    ids=str,
)
def test_settings_that_cannot_be_read_back(change, store: Path) -> None:
    settings = {**look(store).plan.settings, **change}
    with pytest.raises(StoreError, match="repeat the call"):
        spec_of(settings, "resuming")


def test_observables_of_a_script_need_the_script(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    reference = draw(path, names=[OWN, "kernel"])
    with pytest.raises(StoreError, match=r"growth are known only to the script"):
        resume(path)
    assert sums(look(path).estimates) == sums(reference)
    assert sums(draw(path, names=[OWN, "kernel"])) == sums(reference)


# -- looking and exporting -----------------------------------------------------------------------


def test_stores_are_found_and_described(store: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("SQLite format 3 is what stores are written in.")
    (tmp_path / "inner").mkdir()
    draw(tmp_path / "inner" / "second.sqlite", draws=100)
    assert find([tmp_path]) == [tmp_path / "inner" / "second.sqlite", store]
    assert find([store, store, tmp_path / "missing"]) == [store, tmp_path / "missing"]
    words = " ".join(look(store).words)
    for expected in ("1000 networks", "width 30", "erf(x) -> Linear", "kernel, output_squared"):
        assert expected in words


def test_an_unfinished_store_gives_what_is_there(store: Path) -> None:
    with sqlite3.connect(store) as file:
        file.execute("DELETE FROM chunk WHERE first IN (0, 256)")
    file.close()
    run = look(store)
    assert 0 < run.done < 1000
    assert run.estimates["kernel"].n == run.done == run.estimates.settings["draws"]
    with sqlite3.connect(store) as file:
        file.execute("DELETE FROM chunk")
    file.close()
    with pytest.raises(StoreError, match="no chunk is finished"):
        _ = look(store).estimates


def test_exports_hold_the_numbers(store: Path, tmp_path: Path) -> None:
    estimates = draw(store)
    path = save(look(store).estimates, tmp_path / "run.npz")
    again = save(estimates, tmp_path / "again.npz")
    assert path.read_bytes() == again.read_bytes()
    with np.load(path, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["kernel_mean"], estimates["kernel"].mean)
        np.testing.assert_array_equal(arrays["kernel_sum_m4"], estimates["kernel"].moments.m4)
        assert json.loads(str(arrays["settings"]))["seed"] == 3
    lines = save(estimates, tmp_path / "run.csv").read_text().splitlines()
    assert lines[0].startswith("observable,i,j,k,mean")
    assert len(lines) == 1 + 4 + 1
    cells = lines[4].split(",")
    assert cells[:4] == ["kernel", "3", "", ""]
    assert float(cells[4]) == estimates["kernel"].mean[3]
    with pytest.raises(UnsupportedError, match=r"use \.csv, \.npz, \.nc"):
        save(estimates, tmp_path / "run.txt")


def test_xarray() -> None:
    estimates = sample(NET, NAMES, 30, 100, K0=[[1.0, 0.2], [0.2, 1.0]])
    dataset = to_xarray(estimates)
    assert dataset["kernel_mean"].dims == ("layer", "input", "other_input")
    assert dataset["output_squared_stderr"].dims == ("input", "other_input")
    np.testing.assert_array_equal(dataset["kernel_mean"].values, estimates["kernel"].mean)


def test_xarray_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xarray", None)
    with pytest.raises(UnsupportedError, match="xarray is not installed"):
        to_xarray(draw(draws=100))


# -- what goes wrong -----------------------------------------------------------------------------


def test_a_second_process_is_refused_or_waits(store: Path, tmp_path: Path) -> None:
    before = store.read_bytes()
    with held(store, wait=False):
        with pytest.raises(StoreError, match="another process is carrying out this run"):
            draw(store)
        assert look(store).done == 1000  # reading is always possible
    assert store.read_bytes() == before
    assert os.listdir(tmp_path) == [store.name]

    lock = held(store, wait=False)
    lock.__enter__()
    naps = itertools.count()

    def free_at_the_second_nap(seconds: float) -> None:
        if next(naps) == 1:
            lock.__exit__(None, None, None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resexpand.montecarlo.runs.lock.time.sleep", free_at_the_second_nap)
        with pytest.warns(StoreWarning, match="is in use; waiting"):
            draw(store, draws=1200, wait=True)
    assert look(store).done == 1200


def test_a_lock_that_was_left_behind_does_not_matter(store: Path) -> None:
    lock_of(store).touch()
    draw(store, draws=1100)
    assert look(store).done == 1100


@pytest.mark.parametrize("size", [17, 5000, -1])
def test_truncated(size: int, store: Path) -> None:
    data = store.read_bytes()
    store.write_bytes(data[:size] if size > 0 else data[: len(data) // 4096 * 2048])
    _refused(store, "damaged|not a database|malformed")


def test_a_flipped_bit_is_noticed(store: Path) -> None:
    with sqlite3.connect(store) as file:
        (sums,) = file.execute("SELECT moments FROM chunk").fetchone()
    file.close()
    data = bytearray(store.read_bytes())
    data[data.index(sums) + 100] ^= 1
    store.write_bytes(bytes(data))
    _refused(store, "damaged|malformed")


def test_a_missing_observable_is_noticed(store: Path) -> None:
    with sqlite3.connect(store) as file:
        file.execute("DELETE FROM chunk WHERE first = 0 AND observable = 'kernel'")
    file.close()
    _refused(store, "damaged")


def test_numbers_of_another_version_are_not_continued(store: Path, monkeypatch) -> None:
    monkeypatch.setattr(plan_module, "NUMBERS_VERSION", 2)
    _refused(store, "different: the version of the sampler")
    assert look(store).done == 1000


def _refused(store: Path, why: str) -> None:
    before = store.read_bytes()
    for act in (draw, resume):
        with pytest.raises(StoreError, match=why):
            act(store)
    assert store.read_bytes() == before
    assert os.listdir(store.parent) == [store.name]


def test_places_that_cannot_hold_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open"):
        draw(tmp_path / "missing" / "run.sqlite")
    with pytest.raises(StoreError):
        draw(tmp_path)
    with pytest.raises(StoreError, match="no such file"):
        look(tmp_path / "missing.sqlite")
    empty = tmp_path / "empty.sqlite"
    empty.touch()
    with pytest.raises(StoreError, match="not a database"):
        look(empty)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that even root cannot write")
def test_read_only_folder() -> None:
    with pytest.raises(StoreError, match=r"unable to open|readonly"):
        draw(Path("/proc/self/run.sqlite"))


@pytest.mark.parametrize("replaced", [False, True])
def test_deleted_mid_run(replaced: bool, tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"

    def delete(done: int, total: int) -> None:
        if path.exists():
            path.unlink()
        if replaced:
            path.write_bytes(b"somebody else's")

    with pytest.raises(StoreError, match="removed or replaced"):
        sample(NET, NAMES, 30, 1000, K0=1.0, seed=3, store=path, progress=delete, workers=1)
    assert path.exists() == replaced
    if replaced:
        assert path.read_bytes() == b"somebody else's"


def test_a_failing_write_is_rolled_back(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row of the transaction is refused: none of it is there, and the store is usable."""
    with sqlite3.connect(store) as file:
        trigger = (
            "CREATE TRIGGER full BEFORE INSERT ON chunk WHEN NEW.observable = 'output_squared'"
        )
        file.execute(f"{trigger} BEGIN SELECT RAISE(ABORT, 'no'); END")
    file.close()
    with pytest.raises(StoreError, match="no"):
        draw(store, draws=1500)
    with sqlite3.connect(store) as file:
        file.execute("DROP TRIGGER full")
    file.close()
    assert look(store).done <= 1000
    assert sums(draw(store, draws=1500)) == sums(draw(draws=1500))


def test_clock_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = itertools.cycle([0.0, 4e9, 1e6, 2e9])
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    assert sums(draw(tmp_path / "run.sqlite")) == sums(draw())


@pytest.mark.parametrize("version", [0, 3])
def test_a_store_of_another_version_is_refused(version: int, store: Path) -> None:
    file = sqlite3.connect(store)
    file.execute(f"PRAGMA user_version = {version}")
    file.close()
    _refused(store, "an earlier version .format .*draw the run again")


def test_the_length_of_chunks_of_a_store_is_kept(store: Path, monkeypatch) -> None:
    """A version of the package that cuts runs otherwise still goes on with a store."""
    reference = sums(draw(draws=1500))
    monkeypatch.setattr(plan_module, "CHUNK_SECONDS", 5e-5)
    assert sums(draw(store, draws=1500)) == reference
    assert sums(draw(draws=1500)) != reference  # another order of sums, other last bits


def test_the_identity_of_a_run_does_not_change() -> None:
    """Recorded: the digest by which stores know their run."""
    plan = Plan({"seed": 1, "K0": [[1.0]]}, 100, 64)
    assert plan.identity.startswith("43aed433ef346382")
