"""One process at a time carries out a run: a lock beside its store.

The store itself can always be read, also while a run writes to it. What is held for the whole run
is an exclusive transaction on an empty database beside it, ``NAME.lock``: the operating system
frees it when the process dies, however it dies, and clocks have no part in it. The file is removed
while the lock is held; whoever waited for it then finds another file, or none, and begins anew.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resexpand.errors import StoreError

PAUSE = 0.2
"""Seconds between two attempts."""


class StoreWarning(UserWarning):
    """A run waits for another process that uses its store."""


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
    path, told = store.with_name(f"{store.name}.lock"), False
    asked = f"store {str(store)!r}"
    while (file := _attempt(path, asked)) is None:
        if not wait:
            raise StoreError(
                asked,
                "another process is carrying out this run",
                "wait until it is done (wait=True, or --wait, does so), or give another path",
            )
        if not told:
            warnings.warn(f"{asked} is in use; waiting for it", StoreWarning, stacklevel=3)
            told = True
        time.sleep(PAUSE)
    try:
        yield
    finally:
        # Where an open file cannot be removed it stays, empty, and locks as well the next time.
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        file.close()


def _attempt(path: Path, asked: str) -> sqlite3.Connection | None:
    """Return the open lock, or None if another process has it."""
    file = None
    try:
        uri = f"{path.absolute().as_uri()}?mode=rwc"
        file = sqlite3.connect(
            uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )
        opened = path.stat().st_ino
        file.execute("BEGIN EXCLUSIVE")
        if path.stat().st_ino == opened:
            return file
    except FileNotFoundError:
        pass  # removed by the process that held it until now
    except sqlite3.Error as error:
        if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            if file is not None:
                file.close()
            raise StoreError(
                asked, f"{error} (lock {path.name!r})", "choose a folder that can be written"
            ) from error
    if file is not None:
        file.close()
    return None
