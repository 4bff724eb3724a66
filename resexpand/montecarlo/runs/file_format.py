"""How a store is laid out in its SQLite file, and what else such a file may turn out to be.

Table `plan` has one row: identity and settings of the run, networks in a chunk, networks asked for
at most, the observables that only the caller's script knows, the shards asked for, and the relative
error at which to stop, if any. Table `chunk` has one row per chunk and observable, with the exact
bytes of its sums and a digest over the whole row.

Version 1 had neither chunk length nor kinds of sums, version 2 no error at which to stop. They are
read as they are and brought up to date, in one transaction, when a run goes on in them.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from resexpand.errors import StoreError
from resexpand.montecarlo.runs.plan import Plan

APPLICATION_ID = 0x52455845  # "REXE"
SCHEMA_VERSION = 3
BUSY_SECONDS = 60.0
LONGEST_CHUNK = 2**31

SCHEMA = (
    """CREATE TABLE plan (
        identity TEXT NOT NULL, settings TEXT NOT NULL,
        chunk INTEGER NOT NULL, draws INTEGER NOT NULL, unregistered TEXT NOT NULL,
        shards TEXT NOT NULL, until REAL)""",
    """CREATE TABLE chunk (
        first INTEGER NOT NULL, draws INTEGER NOT NULL, observable TEXT NOT NULL,
        shape TEXT NOT NULL, moments BLOB NOT NULL, digest TEXT NOT NULL,
        kind TEXT NOT NULL DEFAULT 'moments',
        PRIMARY KEY (first, draws, observable))""",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
UPGRADES: Mapping[int, tuple[str, ...]] = MappingProxyType(
    {
        1: (
            "ALTER TABLE plan ADD COLUMN chunk INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE plan ADD COLUMN draws INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE plan ADD COLUMN unregistered TEXT NOT NULL DEFAULT '[]'",
            "ALTER TABLE plan ADD COLUMN shards TEXT NOT NULL DEFAULT '[[0, 1]]'",
            "ALTER TABLE chunk ADD COLUMN kind TEXT NOT NULL DEFAULT 'moments'",
        ),
        2: ("ALTER TABLE plan ADD COLUMN until REAL",),
    }
)
"""What brings a file of one version to the next."""

SIGNATURE = b"SQLite format 3\0"
"""First bytes of every database file."""


@dataclass(frozen=True)
class Header:
    """What a store says about its run.

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
    version : int
        Of the file format.
    until : float or None
        The relative error at which the last call wanted to stop.
    """

    plan: Plan
    identity: str
    unregistered: tuple[str, ...]
    shards: tuple[tuple[int, int], ...]
    version: int
    until: float | None = None


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn errors of the database into a `StoreError`."""
    try:
        yield
    except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
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
    with translated(path):
        # Reading a run that was killed has to roll its last transaction back, hence not mode=ro.
        mode = "rwc" if write else "rw"
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(
            uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )


def read_header(file: sqlite3.Connection, path: Path) -> Header | None:
    """Return what a store says about its run, None for an empty database.

    Raises
    ------
    StoreError
        If it is no store, damaged, or of a newer version.
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
    if file.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise StoreError(asked, "it is damaged", "remove it and start again")
    more = "chunk, draws, unregistered, shards" if version > 1 else "0, 0, '[]', '[[0, 1]]'"
    more += ", until" if version > 2 else ", NULL"
    row = file.execute(f"SELECT identity, settings, {more} FROM plan").fetchone()
    if row is None:
        raise StoreError(asked, "it holds no plan", "remove it and start again")
    identity, settings, chunk, draws, unregistered, shards, until = row
    plan = Plan(json.loads(settings), int(draws), int(chunk))
    if version == 1:
        plan = _first_version(file, plan, identity)
    parts = tuple((int(number), int(count)) for number, count in json.loads(shards))
    known = tuple(json.loads(unregistered))
    return Header(plan, identity, known, parts, version, None if until is None else float(until))


def is_store(path: Path) -> bool:
    """Whether a file says of itself that it is a store; it is not opened as a database."""
    try:
        with path.open("rb") as stream:
            head = stream.read(72)
    except OSError:
        return False
    return head.startswith(SIGNATURE) and head[68:] == APPLICATION_ID.to_bytes(4, "big")


def _first_version(file: sqlite3.Connection, plan: Plan, identity: str) -> Plan:
    """Return the plan of a file of version 1: its identity tells the length of the chunks."""
    draws = number(file, "SELECT coalesce(max(first + draws), 0) FROM chunk")
    chunk = 1
    while chunk < LONGEST_CHUNK:
        found = Plan(plan.settings, draws, chunk)
        if found.identity == identity:
            return found
        chunk *= 2
    return Plan(plan.settings, draws, 1)


def number(file: sqlite3.Connection, query: str) -> int:
    """Return the one number that a query gives."""
    return int(file.execute(query).fetchone()[0])


def digest_of(first: int, draws: int, observable: str, shape: str, data: bytes, kind: str) -> str:
    """Return the digest of a row; that of version 1 for moments."""
    head = f"{first} {draws} {observable} {shape} "
    if kind != "moments":
        head += f"{kind} "
    return hashlib.sha256(head.encode() + data).hexdigest()


def changed(stored: Mapping[str, object], asked: Mapping[str, object]) -> str:
    """Return the names of the settings that differ."""
    names = sorted({*stored, *asked})
    different = [n for n in names if stored.get(n, ...) != asked.get(n, ...)]
    return ", ".join(different) or "the version of the sampler"
