"""How a long run shows that it is alive: a bar on a terminal, a callback, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[int, int], object]
"""Called with the number of networks done and wanted."""

Progress = Report | bool | None

LONG_SECONDS = 3.0
"""Shorter runs show nothing unless asked."""


@contextmanager
def reporting(progress: Progress, seconds: float) -> Iterator[Report]:
    """Yield the function to call after each chunk.

    Parameters
    ----------
    progress : callable, bool or None
        A callable is used as it is. True shows a bar, False nothing, None a bar if the run is
        long and standard error is a terminal.
    seconds : float
        Expected duration.
    """
    if callable(progress):
        yield progress
    elif progress or (progress is None and seconds > LONG_SECONDS and sys.stderr.isatty()):
        with _bar() as report:
            yield report
    else:
        yield lambda done, total: None


@contextmanager
def _bar() -> Iterator[Report]:
    """Show a bar on standard error while the block runs."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("networks", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
