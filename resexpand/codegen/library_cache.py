"""Machine code of library functions, kept on disk: compiled once per machine.

A generated module calls functions of this package: loops over neurons, elementary functions. Numba
can keep the machine code of each, and a module generated later (another activation, other columns)
then links that instead of compiling again. But Numba compares only the file of the function itself,
not those of the functions it calls. So a library is kept in a folder named after a digest of all
its files, below the folder of generated modules (`resexpand.codegen.store`): a change anywhere in
it begins a new folder.

The cache never changes a number. Functions that cannot be stored or read are compiled without a
warning, because the generated module on the same disk already warns.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from resexpand.codegen.cache_files import SUBFOLDER, make, remove_broken, why_unsafe
from resexpand.codegen.kept import SealedCache
from resexpand.codegen.store import checked_folder, key

_LOCK = threading.Lock()
"""Held while Numba's setting of its cache folder is exchanged."""


class LibraryCache:
    """The compiled functions of one library, kept from the first generated module on.

    Parameters
    ----------
    digest : callable
        Returns a text that differs when any file of the library does.
    """

    def __init__(self, digest: Callable[[], str]) -> None:
        self._digest = digest
        self._waiting: list[Any] = []
        self._opened = False
        self._folder: Path | None = None

    def add(self, dispatcher: Any) -> Any:
        """Return a function compiled by Numba, whose machine code is kept unless it is a closure.

        A closure holds objects of its process, so that no other process could use its code.
        """
        if dispatcher.py_func.__closure__ is not None:
            return dispatcher
        if self._opened:
            self._keep(dispatcher)
        else:
            self._waiting.append(dispatcher)
        return dispatcher

    def open(self) -> None:
        """Choose the folder, once per process; functions compiled before are not kept."""
        if self._opened:
            return
        self._folder, self._opened = _folder(self._digest()), True
        while self._waiting:
            self._keep(self._waiting.pop())

    def _keep(self, dispatcher: Any) -> None:
        if self._folder is None:
            return
        # Numba searches CACHE_DIR first, and so does not reach the folder of the package.
        with _LOCK, contextlib.suppress(RuntimeError, OSError):
            before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(self._folder)
            try:
                kept = _Kept(dispatcher.py_func)
            finally:
                numba.config.CACHE_DIR = before
            if self._folder in Path(kept.cache_path).parents:
                dispatcher._cache = kept


class _Kept(SealedCache):
    """Numba's cache of one function, which ignores a full disk and damaged files."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the machine code of a signature, if there is any that can be read."""
        function = self._py_func
        stem = f"{Path(function.__code__.co_filename).stem}.{function.__qualname__}-"
        with contextlib.suppress(OSError):
            remove_broken(Path(self.cache_path), stem)
            return super().load_overload(sig, target_context)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write the machine code of a signature, if there is room."""
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)


def _folder(digest: str) -> Path | None:
    """Return the folder of a library, made for this user alone; None if there can be none."""
    try:
        folder = checked_folder() / SUBFOLDER / key(digest)[:32]
        make(folder)
        return None if why_unsafe(folder) else folder
    except OSError:
        return None
