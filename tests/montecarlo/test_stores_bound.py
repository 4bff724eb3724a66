"""A store says what its run wrote: flips, copies and neighbours, by random trial.

Laws: (1) no flipped bit of any field of any table is accepted, and each is refused with one
`StoreError`; (2) a flipped bit anywhere in the file is refused or changes nothing that is read;
(3) a chunk belongs to one run; (4) no file beside a store is removed or changed that the package
did not make; (5) a run costs as much as the chunks drawn, not those announced. Controls: a changed
field whose digest is renewed gets past the digest and, where it is possible, is read.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from resexpand import Activation, Branch, Linear, ResNet, sample
from resexpand.errors import StoreError
from resexpand.montecarlo.runs import chunk_store, file_format
from resexpand.montecarlo.runs import plan as plan_module
from resexpand.montecarlo.runs.lock import held, lock_of
from resexpand.montecarlo.runs.stored import look, merge, resume

NET = ResNet(Branch(Activation("erf"), Linear(1.2, 0.1)), scale=0.5, depth=3)
FLIPS = 12
"""Bits flipped per field."""
FILE_FLIPS = 250


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "CHUNK_SECONDS", 2e-4)


def draw(store: Path | str, draws: int = 1000, seed: int = 3, **options: Any) -> Any:
    names = ["kernel", "output_squared"]
    return sample(NET, names, 30, draws, K0=1.0, seed=seed, store=store, progress=False, **options)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store, to be copied."""
    path = tmp_path_factory.mktemp("drawn") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_module, "CHUNK_SECONDS", 2e-4)
        draw(path, histograms={"kernel": [0.5, 1.0, 2.0]})
    return path


@pytest.fixture
def store(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(drawn, tmp_path / "run"))


def content(path: Path) -> tuple[Any, ...]:
    """Everything that is read from a store."""
    with chunk_store.reading(path) as found:
        return found.header, list(found.rows())


def read_fields(path: Path, table: str) -> dict[str, Any]:
    with closing(sqlite3.connect(path)) as file:
        file.row_factory = sqlite3.Row
        file.text_factory = lambda data: data.decode(errors="surrogateescape")
        row = file.execute(f"SELECT rowid AS here, * FROM {table} LIMIT 1").fetchone()
        return dict(zip(row.keys(), row, strict=True))


def write_field(path: Path, table: str, name: str, value: Any) -> None:
    cast = "CAST(? AS TEXT)" if isinstance(value, bytes) and name != "moments" else "?"
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(f"UPDATE {table} SET {name} = {cast} WHERE rowid = 1", (value,))


def flipped(value: Any, chance: random.Random) -> Any:
    """Return a value with one bit flipped; a number stays one."""
    if isinstance(value, int):
        return value ^ (1 << chance.randrange(40))
    data = bytearray(value if isinstance(value, bytes) else str(value).encode())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


PLAN = ("identity", "settings", "chunk", "draws", "unregistered", "shards", "digest")
CHUNK = ("first", "draws", "observable", "shape", "moments", "digest", "kind")
FIELDS = [*(("plan", name) for name in PLAN), *(("chunk", name) for name in CHUNK)]


@pytest.mark.parametrize(("table", "name"), FIELDS, ids=str)
def test_no_flipped_bit_of_a_field_is_accepted(
    table: str, name: str, drawn: Path, tmp_path: Path
) -> None:
    chance, value = random.Random(f"{table}.{name}"), read_fields(drawn, table)[name]
    for _ in range(FLIPS * (8 if name == "settings" else 1)):
        store = Path(shutil.copy(drawn, tmp_path / "run"))
        with contextlib.suppress(sqlite3.IntegrityError):  # the key of another chunk
            write_field(store, table, name, flipped(value, chance))
        if read_fields(store, table)[name] == value:
            continue
        for act in (look, resume):
            with pytest.raises(StoreError, match="damaged"):
                act(store)


@pytest.mark.parametrize("value", [0.25, -1, "0.1", b"\xff"], ids=repr)
def test_an_error_that_nobody_asked_for_is_refused(value: Any, store: Path) -> None:
    write_field(store, "plan", "until", value)
    with pytest.raises(StoreError, match="damaged"):
        look(store)


def test_flipped_bits_of_the_file_are_refused_or_change_nothing(
    drawn: Path, tmp_path: Path
) -> None:
    """Some bytes of a database say nothing: free space, counters, the version of SQLite."""
    chance, whole, before = random.Random(11), drawn.read_bytes(), content(drawn)
    store, refused = tmp_path / "run", 0
    for _ in range(FILE_FLIPS):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        store.write_bytes(data)
        try:
            assert content(store) == before
        except StoreError:
            refused += 1
    assert refused > FILE_FLIPS / 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("branch", "erf"),
        ("branch", []),
        ("depth", -3),
        ("depth", True),
        ("scales", "0.5"),
        ("scales", [0.5]),
        ("scales", float("nan")),
        ("variances", [[1.0, 0.0]]),
        ("variances", [[0.0, 0.0], [-1.0, 0.0]]),
        ("read_out", [1.0]),
        ("observables", ["kernel", "kernel"]),
        ("observables", {}),
        ("observables", ["chi"]),
        ("K0", [[1.0, 0.0]]),
        ("K0", 1.0),
        ("width", 2.5),
        ("seed", -1),
        ("seed", 2**64),
        ("method", None),
        ("weights", 1),
        ("histograms", {"kernel": [2.0, 1.0]}),
    ],
    ids=str,
)
def test_an_impossible_setting_with_a_right_digest_is_refused(
    name: str, value: Any, store: Path
) -> None:
    renewed(store, name, value)
    with pytest.raises(StoreError, match="damaged"):
        look(store)
    renewed(store, name, ...)
    if name not in ("weights", "histograms"):
        with pytest.raises(StoreError, match=f"no valid {name}"):
            look(store)


def test_a_renewed_digest_gets_past_the_digest(store: Path) -> None:
    """Control of the test above: what it refuses, it refuses for the field alone."""
    renewed(store, "seed", 4)
    assert look(store).plan.settings["seed"] == 4
    with pytest.raises(StoreError, match="belongs to another run"):
        resume(store)


def renewed(path: Path, name: str, value: Any) -> None:
    """Change a setting, or leave it out, and write the digest that belongs to it."""
    row = read_fields(path, "plan")
    settings = json.loads(row["settings"])
    settings[name] = value
    if value is ...:
        del settings[name]
    write_field(path, "plan", "settings", json.dumps(settings))
    row = read_fields(path, "plan")
    fields = [row[key] for key in row if key not in ("here", "digest")]
    write_field(path, "plan", "digest", file_format._sha256(fields))


def test_a_chunk_of_another_run_is_refused(store: Path, tmp_path: Path) -> None:
    """Copied whole, digest and all, from a store that differs by its seed."""
    other = tmp_path / "other"
    draw(other, seed=4, histograms={"kernel": [0.5, 1.0, 2.0]})
    with closing(sqlite3.connect(store)) as file, file:
        file.execute("ATTACH ? AS other", (str(other),))
        file.execute("DELETE FROM chunk WHERE first = 0")
        file.execute("INSERT INTO chunk SELECT * FROM other.chunk WHERE first = 0")
    for act in (look, resume, lambda path: merge(tmp_path / "whole", [path])):
        with pytest.raises(StoreError, match=r"chunk of .* from 0 on is not what this run wrote"):
            act(store)
    assert not (tmp_path / "whole").exists()


def test_a_plan_of_another_run_is_refused(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    draw(other, seed=4)
    with closing(sqlite3.connect(store)) as file, file:
        file.execute("ATTACH ? AS other", (str(other),))
        file.execute("INSERT INTO plan SELECT * FROM other.plan")
    with pytest.raises(StoreError, match="2 plans"):
        look(store)
    with closing(sqlite3.connect(store)) as file, file:
        file.execute("DELETE FROM plan WHERE rowid = 1")
    with pytest.raises(StoreError, match="not what this run wrote"):
        look(store)


# -- neighbours ----------------------------------------------------------------------------------

NEIGHBOURS = ["run.lock", "run.part", "run.tmp", ".run.lock", "run-shm", "run.rxlock", "run~"]


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_neighbours_of_a_store_are_left_alone(name: str, tmp_path: Path) -> None:
    """Both a file of somebody else and a store of this package."""
    foreign, own = tmp_path / "first" / name, tmp_path / "second" / name
    for path in (foreign, own):
        path.parent.mkdir()
    foreign.write_bytes(b"somebody else's")
    draw(own, draws=10)
    before = own.read_bytes()
    for path in (foreign, own):
        draw(path.with_name("run"), draws=10)
        resume(path.with_name("run"), draws=20)
        merge(path.with_name("merged"), [path.with_name("run")])
        assert sorted(os.listdir(path.parent)) == sorted(["merged", "run", name])
    assert foreign.read_bytes() == b"somebody else's"
    assert own.read_bytes() == before


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("name", ["run-journal", "run-wal", ".run.rxlock", ".run.rxlock-journal"])
def test_a_file_at_the_place_of_a_journal_or_lock_is_kept(
    name: str, existing: bool, tmp_path: Path
) -> None:
    store, other = tmp_path / "run", tmp_path / name
    if existing:
        draw(store, draws=10)
    other.write_bytes(b"somebody else's")
    acts = [lambda: draw(store, draws=20), lambda: merge(store, [tmp_path / "second"])]
    draw(tmp_path / "second", draws=10)
    if existing and not name.startswith("."):
        acts.append(lambda: look(store))
    for act in acts:
        with pytest.raises(StoreError, match="rename that file"):
            act()
    assert other.read_bytes() == b"somebody else's"
    assert store.exists() == existing
    other.unlink()
    assert draw(store, draws=20)["kernel"].n == 20


KILLED = """
import os, sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("PRAGMA synchronous = FULL")
file.execute("BEGIN IMMEDIATE")
file.execute("CREATE TABLE unfinished (x)")
file.execute("INSERT INTO unfinished VALUES (zeroblob(5000000))")
os.kill(os.getpid(), 9)
"""


def test_the_journal_of_a_killed_transaction_is_known(tmp_path: Path) -> None:
    """Also before it was synchronised, while its signature is zero."""
    store, journal = tmp_path / "run", tmp_path / "run-journal"
    draw(store, draws=10)
    subprocess.run([sys.executable, "-c", KILLED, str(store)], check=False)
    content = journal.read_bytes()
    assert content
    unsynchronised = bytes(12) + content[12:]
    journal.write_bytes(unsynchronised[:20] + (1000).to_bytes(4, "big") + unsynchronised[24:])
    with pytest.raises(StoreError, match="rename that file"):
        look(store)
    journal.write_bytes(unsynchronised)
    assert draw(store, draws=20)["kernel"].n == 20


def test_links_to_one_store_have_one_lock(store: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(store)
    assert lock_of(link) == lock_of(store)
    with held(store, wait=False), pytest.raises(StoreError, match="another process"):
        draw(link)
    assert sorted(os.listdir(tmp_path)) == ["link", "run"]


def test_a_folder_at_the_place_of_the_lock(store: Path) -> None:
    lock_of(store).mkdir()
    with pytest.raises(StoreError, match="rename that file"):
        resume(store, draws=1100)
    assert look(store).done == 1000


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that even root cannot write")
def test_a_file_system_without_locks_is_named() -> None:
    with (
        pytest.raises(StoreError, match="unable to open its lock"),
        held(Path("/proc/self/run"), wait=False),
    ):
        pass


# -- costs ---------------------------------------------------------------------------------------


def test_what_was_announced_costs_nothing(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two billion networks a few are drawn: `chunks` is never counted to its end."""
    with chunk_store.writing(store, look(store).plan) as open_store:
        open_store.ask(2**31 - 1, [])
    counted = 0
    original = plan_module.Plan.chunks

    def chunks(self: plan_module.Plan) -> Any:
        nonlocal counted
        for chunk in original(self):
            counted += 1
            assert counted < 1000
            yield chunk

    monkeypatch.setattr(plan_module.Plan, "chunks", chunks)
    run = look(store)
    assert (run.asked, run.done, run.complete) == (2**31 - 1, 1000 - 1000 % run.plan.chunk, False)
    assert run.missing == run.plan.chunk_count - len(run.chunks)
    assert run.estimates["kernel"].n == run.done
    assert "finished" in " ".join(run.words)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resume(store, progress=stop)


def test_chunks_of_a_plan_are_recognised() -> None:
    """`in` against the list, in every shard."""
    for draws in (1, 63, 64, 65, 300):
        for count in (1, 2, 3):
            for number in range(count):
                plan = plan_module.Plan({}, draws, 64, (number, count))
                wanted = set(plan.chunks())
                tried = [(first, n) for first in range(-64, 330, 4) for n in (1, 44, 63, 64)]
                assert {c for c in tried if c in plan} == wanted & set(tried)
