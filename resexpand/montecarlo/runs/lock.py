"""One process at a time carries out a run: a lock beside its store.

The store itself can always be read, also while a run writes to it. A run holds, to its end,
an exclusive transaction on an empty database beside it, ``.NAME.rxlock``: the operating system
frees it when the process dies, however it dies, and clocks have no part in it. A process removes
the file if it made it, while it holds the lock; a process that waited for it then finds another
file, or none, and begins anew. The lock of a killed run stays behind, empty, and locks as well the
next time. A file of this name that is not empty belongs to somebody else and is refused.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resexpand.errors import StoreError

PAUSE = 0.2
"""Seconds between two attempts."""

SUFFIX = ".rxlock"
"""Together with the dot in front as long as the ``-journal`` of a database."""


class StoreWarning(UserWarning):
    """A run waits for another process that uses its store."""


def lock_of(store: Path) -> Path:
    """Return the path of the lock of a store; all links to it have the same."""
    place = Path(os.path.realpath(store))
    return place.with_name(f".{place.name}{SUFFIX}")


@contextmanager
def held(store: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock of a store.

    Parameters
    ----------
    store : Path
    wait : bool
        Whether to wait for another process that holds it, after a `StoreWarning`.

    Raises
    ------
    StoreError
        If another process holds it and `wait` is not set, or no lock can be made there.
    """
    path, warned = lock_of(store), False
    asked = f"store {str(store)!r}"
    made = _make(path, asked)
    while (file := _attempt(path, asked)) is None:
        if not wait:
            raise StoreError(
                asked,
                "another process is carrying out this run",
                "wait until it is done (wait=True, or --wait, does so), or give another path",
            )
        if not warned:
            warnings.warn(f"{asked} is in use; waiting for it", StoreWarning, stacklevel=3)
            warned = True
        time.sleep(PAUSE)
        made = _make(path, asked)
    try:
        yield
    finally:
        # Where an open file cannot be removed it stays, empty, and locks as well the next time.
        if made:
            with contextlib.suppress(OSError):
                path.unlink()
        file.close()


def _make(path: Path, asked: str) -> bool:
    """Make the empty file of a lock; return whether it was not there before."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        return False
    except OSError as error:
        raise StoreError(
            asked,
            f"unable to open its lock {path.name!r} ({error.strerror})",
            "choose a folder that can be written",
        ) from error
    return True


def _attempt(path: Path, asked: str) -> sqlite3.Connection | None:
    """Return the open lock, or None if another process has it."""
    file = None
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size:
            raise _occupied(asked, path)
        for suffix in ("-journal", "-wal"):  # SQLite would take such a file for its own
            if os.path.lexists(f"{path}{suffix}"):
                raise _occupied(asked, path.with_name(f"{path.name}{suffix}"))
        uri = f"{path.absolute().as_uri()}?mode=rw"
        file = sqlite3.connect(
            uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )
        file.execute("PRAGMA journal_mode = OFF")
        file.execute("BEGIN EXCLUSIVE")
        if path.lstat().st_ino == found.st_ino:
            return file
    except FileNotFoundError:
        pass  # removed by the process that held it until now
    except sqlite3.Error as error:
        # A file that was removed in between cannot be opened either.
        if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and (
            path.exists()
        ):
            if file is not None:
                file.close()
            raise StoreError(
                asked,
                f"{error} (lock {path.name!r})",
                "choose a folder whose file system has locks, and that can be written",
            ) from error
    if file is not None:
        file.close()
    return None


def _occupied(asked: str, path: Path) -> StoreError:
    return StoreError(
        asked,
        f"{path.name!r} is at the place of its lock and is another file",
        "rename that file, or give another path",
    )
