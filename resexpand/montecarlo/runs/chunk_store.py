"""The store of a run: finished chunks in an SQLite file, so that a run survives being killed.

A finished chunk is in the file with the partial sums of all observables, as the exact bytes of
their numbers, or not at all: chunks that finished together are one transaction. The rollback
journal with full synchronisation is used because it holds on network file systems, where
write-ahead logs do not. Only the coordinating process writes, under a lock held for the whole run
(`resexpand.montecarlo.runs.lock`); anyone may read meanwhile.

A file that belongs to another run, is damaged, or was written by another version is refused with
one `StoreError` and left as it is. Every row is checked before anything is written.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from resexpand.errors import StoreError
from resexpand.montecarlo.runs.file_format import (
    SCHEMA,
    Header,
    changed,
    connect,
    damaged,
    digest_of,
    read_header,
    translated,
)
from resexpand.montecarlo.runs.lock import held
from resexpand.montecarlo.runs.plan import Chunk, Plan, name_of
from resexpand.montecarlo.runs.sums import KINDS, Enough, InOrder, Sums, kind_of

WRITE_PLAN = f"INSERT INTO plan VALUES ({', '.join('?' * 8)})"
Row = tuple[int, int, str, str, bytes, str, str]
COLUMNS = "first, draws, observable, shape, moments, digest, kind"


class ChunkStore:
    """Finished chunks of one run, in an open file; see `writing` and `reading`.

    Attributes
    ----------
    path : Path
    header : Header
        Description of the run in the file.
    """

    def __init__(self, path: Path, file: sqlite3.Connection, header: Header) -> None:
        self.path, self.header = path, header
        self._file = file
        self._place = _place(path)

    @property
    def plan(self) -> Plan:
        """The run."""
        return self.header.plan

    def verify(self) -> None:
        """Read every row once.

        Raises
        ------
        StoreError
            If one is not what was written, or a chunk lacks an observable.
        """
        asked = {name_of(label) for label in self.plan.settings["observables"]}
        names: set[str] | None = None
        for chunk, rows in groupby(self.rows(), key=lambda row: (row[0], row[1])):
            here = {row[2] for row in rows}
            names = names or here
            if here != names or not asked <= here:
                raise self._damaged(chunk)

    def rows(self) -> Iterator[Row]:
        """Yield the rows of all chunks in order, each checked."""
        with translated(self.path):
            for row in self._file.execute(
                f"SELECT {COLUMNS} FROM chunk ORDER BY first, draws, observable"
            ):
                yield self._checked(row)

    def chunks(self) -> list[Chunk]:
        """Return all finished chunks, in order."""
        with translated(self.path):
            query = "SELECT DISTINCT first, draws FROM chunk ORDER BY first, draws"
            return [(int(first), int(draws)) for first, draws in self._file.execute(query)]

    def sums(self, chunk: Chunk) -> Sums:
        """Return the sums of a finished chunk."""
        query = f"SELECT {COLUMNS} FROM chunk WHERE first = ? AND draws = ? ORDER BY rowid"
        with translated(self.path):
            found: Sums = {}
            for row in self._file.execute(query, chunk):
                _, _, observable, shape, data, _, kind = self._checked(row)
                found[observable] = KINDS[kind].from_bytes(data, tuple(json.loads(shape)))
        if not found or any(value.draws != chunk[1] for value in found.values()):
            raise self._damaged(chunk)
        return found

    def total(self, plan: Plan, enough: Enough | None = None) -> Sums:
        """Return the sums of the networks of a plan that are here, in their order.

        Only of as many as are enough, as `resexpand.montecarlo.runs.execute.run_plan` does.
        """
        found = [chunk for chunk in self.chunks() if chunk in plan]
        order = InOrder(iter(found), self.sums, enough)
        for chunk in found:
            order.add(chunk)
        return order.total

    def add(self, finished: Iterable[tuple[Chunk, Sums]]) -> None:
        """Store finished chunks, in one transaction."""
        self.add_rows(row for chunk, sums in finished for row in self._rows(chunk, sums))

    def add_rows(self, rows: Iterable[Row]) -> None:
        """Store rows, in one transaction.

        Raises
        ------
        StoreError
            If they cannot be written; the file then holds what it held before.
        """
        if self._place is None or _place(self.path) != self._place:
            raise StoreError(
                f"store {str(self.path)!r}",
                "it was removed or replaced while the run was writing to it",
                "repeat the call: it starts again, or goes on where the file now ends",
            )
        with self.transaction():
            self._file.executemany("INSERT OR IGNORE INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def ask(
        self, draws: int, shards: Iterable[tuple[int, int]], until: float | None = None
    ) -> None:
        """Note that so many networks, and these parts of them, are wanted here, or an error."""
        plan = replace(self.plan, draws=max(draws, self.plan.draws))
        parts = tuple(sorted({*self.header.shards, *shards}))
        asked = replace(self.header, plan=plan, shards=parts, until=until)
        if asked != self.header:
            with self.transaction():
                self._file.execute("DELETE FROM plan")
                self._file.execute(WRITE_PLAN, asked.row)
            self.header = asked

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all of a block or nothing of it."""
        with translated(self.path):
            self._file.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._file.execute("COMMIT")
            finally:
                # Still open only if the block or the commit failed.
                if self._file.in_transaction:
                    self._file.execute("ROLLBACK")

    def _checked(self, row: Row) -> Row:
        first, draws, observable, shape, data, digest, kind = row
        known = isinstance(data, bytes) and kind in KINDS
        if not known or digest != self._digest(first, draws, observable, shape, data, kind):
            raise self._damaged((first, draws))
        return row

    def _rows(self, chunk: Chunk, sums: Sums) -> Iterator[Row]:
        for observable, value in sums.items():
            shape, data, kind = json.dumps(value.shape), value.to_bytes(), kind_of(value)
            digest = self._digest(*chunk, observable, shape, data, kind)
            yield (*chunk, observable, shape, data, digest, kind)

    def _digest(self, *row: Any) -> str:
        return digest_of(self.header.identity, *row)

    def _damaged(self, chunk: tuple[object, object]) -> StoreError:
        first, draws = chunk
        how = f"the chunk of {draws!r} networks from {first!r} on is not what this run wrote"
        return damaged(self.path, how)


def _place(path: Path) -> tuple[int, int] | None:
    """Return what tells this file from another one at the same path."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def reading(path: Path, *, verify: bool = True) -> Iterator[ChunkStore]:
    """Open a store to read it, also while a run writes to it; every row is checked first.

    Raises
    ------
    StoreError
        If it cannot be read, is not a store, is damaged or was written by another version.
    """
    file = connect(path, write=False)
    try:
        with translated(path):
            header = read_header(file, path)
        if header is None:
            raise StoreError(f"store {str(path)!r}", "it is empty", "give the store of a run")
        store = ChunkStore(path, file, header)
        if verify:
            store.verify()
        yield store
    finally:
        file.close()


@contextmanager
def writing(
    path: Path,
    plan: Plan,
    *,
    unregistered: Iterable[str] = (),
    wait: bool = False,
    until: float | None = None,
) -> Iterator[ChunkStore]:
    """Open the store of a plan, made if it does not exist, and hold it until the block ends.

    Parameters
    ----------
    path : Path
    plan : Plan
        If the store holds the same run in chunks of another length, that length is kept: use
        ``ChunkStore.plan``, which also has the most draws that were ever asked for.
    unregistered : iterable of str
        Labels of observables that cannot be rebuilt from the settings.
    wait : bool
        Whether to wait for a process that holds it.
    until : float, optional
        The relative error at which the run is to stop: kept for the process that resumes it.

    Raises
    ------
    StoreError
        If the file cannot be written, is not a store, is damaged, was written by another version,
        belongs to another run, or is in use.
    """
    with held(path, wait=wait):
        file = connect(path, write=True)
        try:
            with translated(path):
                header = read_header(file, path)
            if header is not None:
                _check_same(path, header, plan)
                ChunkStore(path, file, header).verify()
            with translated(path):
                file.execute("PRAGMA synchronous = FULL")
                file.execute("PRAGMA journal_mode = DELETE")
            if header is None:
                whole = replace(plan, shard=(0, 1))
                new = Header(whole, plan.identity, tuple(unregistered), (plan.shard,), until)
                store = _started(path, file, new)
            else:
                store = ChunkStore(path, file, header)
            store.ask(plan.draws, [plan.shard], until)
            yield store
        finally:
            file.close()


def _check_same(path: Path, header: Header, plan: Plan) -> None:
    stored = header.plan
    if stored.text != plan.text or stored.identity != header.identity:
        raise StoreError(
            f"store {str(path)!r}",
            f"it belongs to another run (different: "
            f"{changed(stored.settings, json.loads(plan.text))})",
            "repeat that call exactly, or give another path",
        )


def _started(path: Path, file: sqlite3.Connection, header: Header) -> ChunkStore:
    """Write the plan into a new file."""
    store = ChunkStore(path, file, header)
    with store.transaction():
        for line in SCHEMA:
            file.execute(line)
        file.execute(WRITE_PLAN, header.row)
    return store
