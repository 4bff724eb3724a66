r"""Where answers and remarks go: answers to standard output, remarks to standard error.

An answer that cannot be written is an `OutputError`, with an exit code of its own: 1 would say that
theory and networks disagree. A remark that cannot be written changes nothing. Characters that a
terminal obeys instead of showing, and those that it cannot show, appear as ``\uXXXX``; names in
stores and of files may hold any.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys

OUTPUT_FAILED = 3
"""Exit code of an answer that could not be written."""

COMMANDS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Characters that change what is shown, line and column breaks apart."""


class OutputError(Exception):
    """An answer could not be written; the message says why, empty if its reader left."""


def printable(text: str) -> str:
    """Return a text in which what a terminal would obey is spelled out; valid JSON stays so."""
    return COMMANDS.sub(lambda sign: f"\\u{ord(sign.group()):04x}", text)


def one_line(text: str) -> str:
    """Return a text without line breaks of its own, for a cell of a table or a remark."""
    return printable(text).replace("\n", "\\u000a").replace("\t", "\\u0009")


def prepare() -> None:
    """Make sure that there is an output, and that it takes every character."""
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def write(text: str, *, styled: bool = False) -> None:
    """Write a part of the answer; one that is styled for a terminal as it is."""
    try:
        sys.stdout.write(text if styled else printable(text))
    except (OSError, ValueError) as error:
        raise _failed(error) from error


def settle() -> None:
    """See to it that the answer has left this process."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        raise _failed(error) from error


def remark(text: str) -> None:
    """Write one line to standard error, if that is possible."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"resexpand: {one_line(text)}\n")
            sys.stderr.flush()


def abandon() -> None:
    """Let what is still in the buffer go, which Python would try to write once more at exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _failed(error: OSError | ValueError) -> OutputError:
    if isinstance(error, BrokenPipeError):
        return OutputError()
    return OutputError(getattr(error, "strerror", None) or str(error))
