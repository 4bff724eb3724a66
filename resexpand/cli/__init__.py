"""The command ``resexpand``: one description of a network on the command line, one answer.

Exit codes: 0 done (for ``validate``: agrees), 1 disagrees, 2 wrong input or inconclusive, 3 the
answer could not be written, 130 interrupted. An error is one line on the standard error stream,

    resexpand: error: <what was asked>: <why it cannot be>; <what would work>

Nothing heavy is loaded until the arguments are known to be well formed, so that ``--help`` and a
mistyped option answer at once.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module

from resexpand.cli.output import OUTPUT_FAILED, OutputError, abandon, prepare, remark, settle
from resexpand.cli.parser import build_parser
from resexpand.errors import ResexpandError

WRONG_INPUT = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process by default.
    """
    try:
        prepare()
        try:
            code = _run(argv)
        except SystemExit:  # after --help, --version or a mistyped option
            settle()
            raise
        settle()
        return code
    except OutputError as error:
        abandon()
        if str(error):
            _fail(f"the answer cannot be written: {error}")
        return OUTPUT_FAILED


def _run(argv: Sequence[str] | None) -> int:
    """Run a command; an error becomes one line and a code."""
    try:
        arguments = build_parser().parse_args(argv)
        command = import_module(f"resexpand.cli.{arguments.module}")
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            code: int = command.run(arguments)
        return code
    except ResexpandError as error:
        return _fail(str(error))
    except KeyboardInterrupt as error:
        _fail(str(error) or "interrupted")
        return INTERRUPTED
    except MemoryError:
        return _fail("the run needs more memory than there is; use a smaller width, depth or grid")


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning without the line of source that raised it."""
    remark(" ".join(str(message).split()))


def _fail(message: str) -> int:
    remark(f"error: {' '.join(message.split())}")
    return WRONG_INPUT
