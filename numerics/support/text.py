"""Real text that every Python installation has: its standard library, source and documentation."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path

LEAST = 400
"""Characters of a documentation string that is long enough to be text."""


def library_files() -> list[Path]:
    """Return the modules of the standard library, in alphabetical order."""
    folder = Path(sysconfig.get_path("stdlib"))
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))


def docstrings() -> Iterator[str]:
    """Yield the longer documentation strings of the standard library."""
    for path in library_files():
        try:
            tree = ast.parse(path.read_text("utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node)
                if text and len(text) >= LEAST:
                    yield text


def source(count: int) -> bytes:
    """Return so many bytes of source text of the standard library."""
    found = bytearray()
    for path in library_files():
        found += path.read_bytes()
        if len(found) >= count:
            break
    return bytes(found[:count])
