"""Writing files so that a reader sees the old file or the complete new one, never a part."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from resexpand.errors import StoreError


def write_atomically(target: Path, content: bytes, what: str) -> Path:
    """Write beside the target, then rename over it; missing folders are made.

    Parameters
    ----------
    target : Path
        File to write; an existing file is replaced.
    content : bytes
        The whole content.
    what : str
        Name of the contents, for the error: "the record", "the figure".

    Returns
    -------
    Path
        The target.

    Raises
    ------
    StoreError
        If the target is a folder, or the folder or the file cannot be written.
    """
    if not target.name:
        raise StoreError(
            f"writing {what} to {str(target)!r}", "it is a folder", "name a file in it"
        )
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise StoreError(
            f"writing {what} {target.name!r}",
            f"its folder or file cannot be written ({reason_of(error)})",
            "choose a folder that can be written",
        ) from error
    return target


def reason_of(error: Exception) -> str:
    """Return the cause in words, without the path that the message of an OSError carries."""
    return str(getattr(error, "strerror", None) or error.__class__.__name__)
