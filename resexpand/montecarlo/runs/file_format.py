"""How a store is laid out in its SQLite file, and what else such a file may turn out to be.

Table `plan` has one row: identity and settings of the run, networks in a chunk, networks asked for
at most, the observables that only the caller's script knows, the shards asked for, the relative
error at which to stop, if any, and a digest over all of these. Table `chunk` has one row per chunk
and observable, with the exact bytes of its sums and a digest over the row and the identity of the
run: a chunk of another run is noticed as a damaged one is.

SQLite keeps a journal beside its file and removes it at the end, also one that it did not write;
so what lies at the places of such files is looked at first.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resexpand.errors import StoreError
from resexpand.montecarlo.runs.fields import PLAN, SETTINGS, wrong_field
from resexpand.montecarlo.runs.plan import Plan

APPLICATION_ID = 0x52455845  # "REXE"
SCHEMA_VERSION = 4
BUSY_SECONDS = 60.0

SCHEMA = (
    """CREATE TABLE plan (
        identity TEXT NOT NULL, settings TEXT NOT NULL,
        chunk INTEGER NOT NULL, draws INTEGER NOT NULL, unregistered TEXT NOT NULL,
        shards TEXT NOT NULL, until REAL, digest TEXT NOT NULL)""",
    """CREATE TABLE chunk (
        first INTEGER NOT NULL, draws INTEGER NOT NULL, observable TEXT NOT NULL,
        shape TEXT NOT NULL, moments BLOB NOT NULL, digest TEXT NOT NULL, kind TEXT NOT NULL,
        PRIMARY KEY (first, draws, observable))""",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

SIGNATURE = b"SQLite format 3\0"
"""First bytes of every database file."""
JOURNAL = bytes.fromhex("d9d505f920a163d7")
"""First bytes of the journal of a database."""

JOURNAL_HEADER = 28
"""Bytes of its header."""


@dataclass(frozen=True)
class Header:
    """Description of its run in a store.

    Attributes
    ----------
    plan : Plan
        With the most networks that were asked for.
    identity : str
        As written; that of `plan` if its numbers belong to this version of the samplers.
    unregistered : tuple of str
        Labels of observables that a script brought along.
    shards : tuple of (int, int)
        Parts of the run that were asked for here.
    until : float or None
        The relative error at which the last call wanted to stop.
    """

    plan: Plan
    identity: str
    unregistered: tuple[str, ...]
    shards: tuple[tuple[int, int], ...]
    until: float | None = None

    @property
    def row(self) -> tuple[str, str, int, int, str, str, float | None, str]:
        """The row of the table `plan`, its digest last."""
        known, parts = json.dumps(self.unregistered), json.dumps(self.shards)
        plan = self.plan
        fields = (self.identity, plan.text, plan.chunk, plan.draws, known, parts, self.until)
        return (*fields, _sha256(fields))


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn errors of the database into a `StoreError`."""
    try:
        yield
    except (sqlite3.Error, ValueError, RecursionError) as error:
        code = getattr(error, "sqlite_errorcode", None)
        why, remedy = str(error) or type(error).__name__, "check the path, or give another"
        if code == sqlite3.SQLITE_FULL:
            why = f"no room is left ({error}); what was finished before is kept"
            remedy = "make room and repeat the same call"
        elif code is not None and code & 0xFF == sqlite3.SQLITE_IOERR:
            why = f"it cannot be written or read ({error}); what was finished before is kept"
            remedy = "check the disk and repeat the same call"
        elif isinstance(error, sqlite3.DatabaseError) and code in (
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_NOTADB,
        ):
            why, remedy = f"it is damaged ({error})", "remove it and start again"
        raise StoreError(f"store {str(path)!r}", why, remedy) from error


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """Open a file as a database, after a look whether it is one.

    Raises
    ------
    StoreError
        If it cannot be opened or is no database; to read, it must exist.
    """
    asked = f"store {str(path)!r}"
    if not write and not path.exists():
        raise StoreError(asked, "there is no such file", "give the store of a run")
    try:
        with path.open("rb") as stream:
            head = stream.read(len(SIGNATURE))
    except OSError:
        head = b""  # missing, or to be reported when it is opened as a database
    # SQLite would take a very short file for an empty database.
    if (head and head != SIGNATURE) or (not head and not write):
        raise StoreError(asked, "not a database", "name another file")
    _check_companions(path)
    with translated(path):
        # Reading a run that was killed has to roll its last transaction back, hence not mode=ro.
        mode = "rwc" if write else "rw"
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        file = sqlite3.connect(
            uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
    # A damaged text is to reach the comparison with its digest.
    file.text_factory = lambda data: data.decode(errors="surrogateescape")
    return file


def _check_companions(path: Path) -> None:
    """Refuse a database with a file beside it that SQLite would take for its own and remove."""
    place = os.path.realpath(path)
    for other in (Path(f"{place}-journal"), Path(f"{place}-wal")):
        if not os.path.lexists(other):
            continue
        if other.is_file() and not other.is_symlink():
            try:
                content = other.read_bytes()
            except FileNotFoundError:  # a run has just finished its transaction
                continue
            journal = _is_journal(content) and other.name.endswith("-journal")
            # After a power cut a journal may be empty, or all zeros.
            if journal or not content.strip(b"\0"):
                continue
        raise StoreError(
            f"store {str(path)!r}",
            f"{other.name!r} is at the place of its journal and is none",
            "rename that file, or give another path",
        )


def _is_journal(content: bytes) -> bool:
    """Whether a file begins like a rollback journal of SQLite (its file format, section 3)."""
    if content.startswith(JOURNAL):
        return True
    if len(content) < JOURNAL_HEADER or content[:12].strip(b"\0"):
        return False
    # Until it is synchronised, which a killed run may not reach, the signature and the count of
    # pages are zeros, and the sizes of sectors and pages are there.
    sector, page = struct.unpack(">II", content[20:JOURNAL_HEADER])
    return all(
        size.bit_count() == 1 and least <= size <= 65536
        for size, least in ((sector, 32), (page, 512))
    )


def read_header(file: sqlite3.Connection, path: Path) -> Header | None:
    """Return what a store says about its run, None for an empty database.

    Raises
    ------
    StoreError
        If it is no store, damaged, or of another version.
    """
    asked = f"store {str(path)!r}"
    tables = number(file, "SELECT count(*) FROM sqlite_master")
    if tables and number(file, "PRAGMA application_id") != APPLICATION_ID:
        raise StoreError(asked, "it is not a store of resexpand", "give another path")
    version = number(file, "PRAGMA user_version")
    if version > SCHEMA_VERSION:
        raise StoreError(
            asked, "it was written by a newer version", "update resexpand, or another path"
        )
    if not tables:
        return None
    if version < SCHEMA_VERSION:
        raise StoreError(
            asked,
            f"it was written by an earlier version (format {version}, read is {SCHEMA_VERSION})",
            "export it with that version, and draw the run again into another path",
        )
    if file.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise damaged(path)
    rows = file.execute("SELECT * FROM plan LIMIT 2").fetchall()
    if len(rows) != 1:
        raise StoreError(asked, f"it holds {len(rows) or 'no'} plans", "remove it and start again")
    (*fields, digest) = rows[0]
    if len(fields) != len(PLAN) or _sha256(fields) != digest:
        raise damaged(path, "its plan is not what was written")
    return _header(path, dict(zip(PLAN, fields, strict=True)))


def _header(path: Path, row: Mapping[str, Any]) -> Header:
    """Return what a row of the table `plan` says, every field checked."""
    texts = {name: json.loads(row[name]) for name in ("settings", "unregistered", "shards")}
    wrong = wrong_field({**row, **texts}, PLAN) or wrong_field(texts["settings"], SETTINGS)
    if wrong:
        raise damaged(path, f"its plan has no valid {wrong}")
    plan = Plan(texts["settings"], row["draws"], row["chunk"])
    shards = tuple((number, count) for number, count in texts["shards"])
    return Header(plan, row["identity"], tuple(texts["unregistered"]), shards, row["until"])


def damaged(path: Path, how: str = "") -> StoreError:
    """Return the error of a store whose content is not what was written."""
    why = f"it is damaged ({how})" if how else "it is damaged"
    return StoreError(f"store {str(path)!r}", why, "remove it and start again")


def is_store(path: Path) -> bool:
    """Whether a file says of itself that it is a store; it is not opened as a database."""
    try:
        with path.open("rb") as stream:
            head = stream.read(72)
    except OSError:
        return False
    return head.startswith(SIGNATURE) and head[68:] == APPLICATION_ID.to_bytes(4, "big")


def number(file: sqlite3.Connection, query: str) -> int:
    """Return the one number that a query gives."""
    return int(file.execute(query).fetchone()[0])


def digest_of(
    identity: str, first: int, draws: int, observable: str, shape: str, data: bytes, kind: str
) -> str:
    """Return the digest of a row of the table `chunk` in a run of this identity."""
    return _sha256([identity, first, draws, observable, shape, kind], data)


def _sha256(fields: Sequence[object], data: bytes = b"") -> str:
    """Return a digest of fields and bytes; no two lists of fields have one text."""
    return hashlib.sha256(json.dumps(fields, default=repr).encode() + b"\0" + data).hexdigest()


def changed(stored: Mapping[str, object], asked: Mapping[str, object]) -> str:
    """Return the names of the settings that differ."""
    names = sorted({*stored, *asked})
    different = [n for n in names if stored.get(n, ...) != asked.get(n, ...)]
    return ", ".join(different) or "the version of the sampler"
