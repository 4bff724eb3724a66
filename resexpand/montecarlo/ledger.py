"""The store of a run: finished chunks in an SQLite file, so that a run survives being killed.

Each finished chunk is one transaction that holds the partial sums of all observables, as the exact
bytes of their numbers. The rollback journal with full synchronisation is used because it holds on
network file systems, where write-ahead logs do not. Only the coordinating process writes.

A file that belongs to another run, is damaged, or was written by a newer version is refused with
one `StoreError` and left as it is.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np

from resexpand.errors import StoreError
from resexpand.montecarlo.moments import Moments
from resexpand.montecarlo.plan import Plan

APPLICATION_ID = 0x52455845  # "REXE"
SCHEMA_VERSION = 1
BUSY_SECONDS = 30.0

SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE plan (identity TEXT NOT NULL, settings TEXT NOT NULL);
CREATE TABLE chunk (
    first INTEGER NOT NULL, draws INTEGER NOT NULL, observable TEXT NOT NULL,
    shape TEXT NOT NULL, moments BLOB NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (first, draws, observable)
);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""

SIGNATURE = b"SQLite format 3\0"
"""First bytes of every database file."""


class Ledger:
    """Finished chunks of one run, in a file.

    Parameters
    ----------
    path : path-like
        The file; made if it does not exist.
    plan : Plan
        The run it belongs to.

    Raises
    ------
    StoreError
        If the file cannot be opened or written, is not a ledger, is damaged, was written by a
        newer version, or belongs to another run.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path, self.plan = path, plan
        self._asked = f"store {str(path)!r}"
        self._check_kind()
        with self._translated():
            uri = f"{path.absolute().as_uri()}?mode=rwc"
            self._file = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            with self._translated():
                self._open()
        except StoreError:
            self._file.close()
            raise

    def _check_kind(self) -> None:
        """Refuse what is no database: SQLite would take a very short file for an empty one."""
        try:
            with self.path.open("rb") as stream:
                head = stream.read(len(SIGNATURE))
        except OSError:
            # Missing, or to be reported when it is opened as a database.
            return
        if head and head != SIGNATURE:
            raise StoreError(self._asked, "not a database", "name another file")

    def finished(self) -> dict[tuple[int, int], dict[str, Moments]]:
        """Return the stored chunks of the plan, (first, draws) to moments by observable."""
        wanted = set(self.plan.chunks())
        chunks: dict[tuple[int, int], dict[str, Moments]] = {}
        with self._translated():
            rows = self._file.execute(
                "SELECT first, draws, observable, shape, moments, digest FROM chunk"
            ).fetchall()
        for first, draws, observable, shape, data, digest in rows:
            if _digest(first, draws, observable, shape, data) != digest:
                raise StoreError(self._asked, "it is damaged", "remove it and start again")
            if (first, draws) in wanted:
                moments = Moments.from_bytes(data, tuple(json.loads(shape)))
                chunks.setdefault((first, draws), {})[observable] = moments
        return chunks

    def add(self, first: int, draws: int, moments: Mapping[str, Moments]) -> None:
        """Store a finished chunk, in one transaction."""
        rows = []
        for observable, sums in moments.items():
            shape, data = json.dumps(np.shape(sums.mean)), sums.to_bytes()
            digest = _digest(first, draws, observable, shape, data)
            rows.append((first, draws, observable, shape, data, digest))
        with self._translated():
            self._file.execute("BEGIN IMMEDIATE")
            self._file.executemany("INSERT OR IGNORE INTO chunk VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._file.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> None:
        """Check the file before anything is written to it."""
        tables = self._number("SELECT count(*) FROM sqlite_master")
        if tables and self._number("PRAGMA application_id") != APPLICATION_ID:
            raise StoreError(self._asked, "it is not a store of resexpand", "give another path")
        version = self._number("PRAGMA user_version")
        if version > SCHEMA_VERSION:
            raise StoreError(
                self._asked,
                "it was written by a newer version",
                "update resexpand, or another path",
            )
        if tables:
            self._check_plan()
        self._file.execute("PRAGMA synchronous = FULL")
        self._file.execute("PRAGMA journal_mode = DELETE")
        if not tables:
            self._file.executescript(SCHEMA)
            settings = json.dumps(dict(self.plan.settings), sort_keys=True)
            self._file.execute("INSERT INTO plan VALUES (?, ?)", (self.plan.identity, settings))

    def _check_plan(self) -> None:
        if self._file.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise StoreError(self._asked, "it is damaged", "remove it and start again")
        row = self._file.execute("SELECT identity, settings FROM plan").fetchone()
        if row is None or row[0] != self.plan.identity:
            changed = _changed(json.loads(row[1]), self.plan.settings) if row else "everything"
            raise StoreError(
                self._asked,
                f"it belongs to another run (different: {changed})",
                "repeat that call exactly, or give another path",
            )

    def _number(self, query: str) -> int:
        return int(self._file.execute(query).fetchone()[0])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn errors of the database into a `StoreError`."""
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            raise StoreError(self._asked, str(error), "check the path, or give another") from error


def _digest(first: int, draws: int, observable: str, shape: str, data: bytes) -> str:
    head = f"{first} {draws} {observable} {shape} ".encode()
    return hashlib.sha256(head + data).hexdigest()


def _changed(stored: Mapping[str, object], asked: Mapping[str, object]) -> str:
    """Return the names of the settings that differ."""
    names = sorted({*stored, *asked})
    different = [n for n in names if stored.get(n, ...) != asked.get(n, ...)]
    return ", ".join(different) or "the version of the sampler"
