"""How a long run shows that it is alive: a bar on a terminal, lines elsewhere, or a callback.

A terminal gets a bar with rate and time left. A notebook or a pipe (the log of a batch job) gets a
plain line at most every `LINE_SECONDS`, and one at the end. Times are taken from a clock that never
jumps. Networks found in the store count as done, not towards the rate.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from resexpand.errors import HyperparameterError

Report = Callable[[int, int], object]
"""Called with the number of networks done and wanted."""

Progress = Report | bool | None

LONG_SECONDS = 3.0
"""Shorter runs show nothing unless asked."""
LINE_SECONDS = 10.0
BAR_SECONDS = 0.1


@contextmanager
def reporting(progress: Progress) -> Iterator[Report]:
    """Yield the function to call after each chunk.

    Parameters
    ----------
    progress : callable, bool or None
        A callable is used as it is. True shows a bar on a terminal and lines elsewhere, False
        nothing; None does as True after `LONG_SECONDS` on a terminal or in a notebook.
    """
    if callable(progress):
        yield progress
        return
    if progress is not None and not isinstance(progress, bool):
        raise HyperparameterError(
            f"progress={progress!r}", "neither a function nor a truth value", "pass True or False"
        )
    terminal = sys.stderr is not None and sys.stderr.isatty()
    notebook = "ipykernel" in sys.modules
    if progress is False or (progress is None and not (terminal or notebook)):
        yield lambda done, total: None
        return
    patience = 0.0 if progress else LONG_SECONDS
    meter = Meter(patience, Bar() if terminal else Lines())
    try:
        yield meter
    finally:
        meter.close()


class Meter:
    """Measures the rate, and shows it from time to time.

    Parameters
    ----------
    patience : float
        Seconds before anything is shown.
    display : Bar or Lines

    Attributes
    ----------
    known : int
        Networks that were in the store: done, but not in this time.
    """

    def __init__(self, patience: float, display: Bar | Lines) -> None:
        self._begun = time.monotonic()
        self._next = self._begun + patience
        self._display = display
        self.known = 0
        self._last = (0, 0)

    def __call__(self, done: int, total: int) -> None:
        """Take the number of networks done and wanted."""
        now = time.monotonic()
        self._last = done, total
        if now >= self._next:
            self._next = now + self._display.every
            self._display.show(done, total, *self._pace(now))

    def _pace(self, now: float) -> tuple[float, float]:
        """Return networks per second and seconds left; NaN while unknown."""
        done, total = self._last
        drawn, spent = done - self.known, now - self._begun
        if drawn <= 0 or spent <= 0:
            return float("nan"), float("nan")
        return drawn / spent, (total - done) * spent / drawn

    def close(self) -> None:
        """Show the end."""
        self._display.close(*self._last, *self._pace(time.monotonic()))


class Lines:
    """Plain lines on standard error."""

    every = LINE_SECONDS

    def __init__(self) -> None:
        self._shown = False

    def show(self, done: int, total: int, rate: float, left: float) -> None:
        """Write a line."""
        self._shown = True
        # A run goes on where its progress cannot be written.
        if sys.stderr is not None:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"{sentence(done, total, rate, left)}\n")
                sys.stderr.flush()

    def close(self, done: int, total: int, rate: float, left: float) -> None:
        """Write the last line, if there was one before."""
        if self._shown:
            self.show(done, total, rate, left)


class Bar:
    """A bar on the terminal, drawn by rich."""

    every = BAR_SECONDS

    def __init__(self) -> None:
        self._bar: object = None

    def show(self, done: int, total: int, rate: float, left: float) -> None:
        """Draw or redraw the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        if not isinstance(self._bar, Progress):
            columns = (BarColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._bar.add_task("", total=total)
        text = sentence(done, total, rate, left)
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, description=text)

    def close(self, done: int, total: int, rate: float, left: float) -> None:
        """Remove the bar."""
        from rich.progress import Progress

        if isinstance(self._bar, Progress):
            self._bar.stop()


def sentence(done: int, total: int, rate: float, left: float) -> str:
    """Return what there is to say: done, rate, time left."""
    share = f"{done:,} of {total:,} networks ({done / max(total, 1):.0%})"
    if math.isnan(rate):
        return share
    return f"{share}, {rate:.4g} per second, {duration(left)} left"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
