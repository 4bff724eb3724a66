"""Numba's cache of one function, in files that show any damage."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from numba.core.caching import FunctionCache, IndexDataCacheFile

from resexpand.codegen.cache_files import sealed


class SealedFiles(IndexDataCacheFile):
    """The files of a cached function, each with a digest at its end."""

    @contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[BinaryIO]:
        with super()._open_for_write(filepath) as file:
            content = io.BytesIO()
            yield content
            file.write(sealed(content.getvalue()))


class SealedCache(FunctionCache):
    """The machine code of a function for every signature, in sealed files."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self._cache_file = SealedFiles(
            self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp()
        )
