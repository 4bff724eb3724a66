"""Checks of files before machine code is read from them: their owner, and that they are whole.

Numba reads its cache with pickle, which can execute any code in it: nobody else may be able to
write there, or have written there before. A file that was cut off, or has blocks of zeros, after a
power cut or on a full disk, would fail at every call or end the process: files of the CPU end with
a digest (`sealed`).
"""

from __future__ import annotations

import hashlib
import io
import os
import pickletools
import stat
import sys
from pathlib import Path

SUBFOLDER = "__pycache__"
"""Where Numba keeps machine code beside a module."""

OTHERS = stat.S_IWGRP | stat.S_IWOTH


def make(folder: Path) -> None:
    """Make a folder and those above it, for this user alone."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


def why_unsafe(folder: Path) -> str:
    """Return why others may write into a folder, empty if nobody can.

    Looked at are the folder, the one with the machine code in it, and whether one above can be
    exchanged. Where files have no owners, as on Windows and in a browser, nothing is found.
    """
    if os.name != "posix" or sys.platform in ("emscripten", "wasi"):
        return ""
    place = Path(os.path.realpath(folder))
    for path in (place, place / SUBFOLDER):
        if not path.exists():
            continue
        found = path.stat()
        if found.st_uid != os.geteuid():
            return f"it belongs to another user (number {found.st_uid})"
        if found.st_mode & OTHERS:
            return f"others may write to it (mode {stat.S_IMODE(found.st_mode):o})"
    for path in place.parents:
        mode = path.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            return f"others may write to {str(path)!r} above it"
    return ""


def sealed(content: bytes) -> bytes:
    """Return the content of a file with its digest behind it, which pickle does not read."""
    return content + hashlib.sha256(content).digest()


def remove_broken(folder: Path, stem: str) -> bool:
    """Remove machine code of files that begin with a stem if one is damaged or of another user.

    Returns
    -------
    bool
        Whether anything was removed.
    """
    kept = sorted(folder.glob(f"{stem}*.nb[ic]"))
    if all(map(_is_whole, kept)):
        return False
    for path in kept:
        path.unlink(missing_ok=True)
    return True


def _is_whole(path: Path) -> bool:
    """Whether a file of this user is sealed, or (CUDA) a sequence of pickles, only parsed here."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or (
            os.name == "posix" and status.st_uid != os.geteuid()
        ):
            return False
        content = path.read_bytes()
        if content == sealed(content[: -hashlib.sha256().digest_size]):
            return True
        stream = io.BytesIO(content)
        while True:
            for _ in pickletools.genops(stream):
                pass
            if stream.tell() >= len(content):
                return True
    except FileNotFoundError:
        return True  # another process replaces it
    except (ValueError, KeyError, IndexError, OverflowError):
        return False
