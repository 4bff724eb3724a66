"""How a long run shows that it is alive: a bar on a terminal, lines elsewhere, or a callback.

A terminal gets a bar with rate and time left, written again in its line, and so does a notebook,
outside the red of its errors. A pipe (the log of a batch job) gets a plain line at most every
`LINE_SECONDS`, and one at the end. Times are taken from a clock that never jumps. Draws known
before count as done, not towards the rate.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from resexpand.errors import HyperparameterError

Report = Callable[[int, int], object]
"""Called with how much is done and wanted: networks, or parts of the work."""

Words = Callable[[int, int, float, float], str]
"""Says how much is done and wanted, how much per second, and the seconds left."""

Progress = Report | bool | None

LONG_SECONDS = 3.0
"""Shorter runs show nothing unless asked."""
LINE_SECONDS = 10.0
BAR_SECONDS = 0.1
BAR_WIDTH = 30


@contextmanager
def reporting(
    progress: Progress, words: Words | None = None, patience: float = 0.0
) -> Iterator[Report]:
    """Yield the function to call after each chunk.

    Parameters
    ----------
    progress : callable, bool or None
        A callable is used as it is. True shows a bar on a terminal and lines elsewhere, False
        nothing; None does as True after `LONG_SECONDS` on a terminal or in a notebook.
    words : callable, optional
        `sentence` by default.
    patience : float
        Seconds in which True shows nothing.
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
    meter = Meter(
        patience if progress else LONG_SECONDS, words or sentence, bar=terminal or notebook
    )
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
    words : callable
        The text to show.
    bar : bool
        Whether a bar is shown in place of lines.

    Attributes
    ----------
    known : int
        Networks that were in the store: done, but not in this time.
    """

    def __init__(self, patience: float, words: Words, *, bar: bool) -> None:
        self._begun = time.monotonic()
        self._next = self._begun + patience
        self._words, self._bars = words, bar
        self._last = (0, 0)
        self._shown = False
        self._length = 0
        self.known = 0

    def __call__(self, done: int, total: int) -> None:
        """Take the number of networks done and wanted."""
        now = time.monotonic()
        self._last = done, total
        if now >= self._next:
            self._next = now + (BAR_SECONDS if self._bars else LINE_SECONDS)
            self._show(now)

    def _show(self, now: float) -> None:
        text = self._words(*self._last, *self._pace(now))
        self._write(self._bar(text) if self._bars else f"{text}\n")

    def _bar(self, text: str) -> str:
        """Return a line as long as the last one, with a bar where the terminal has room for it."""
        done, total = self._last
        columns = shutil.get_terminal_size().columns - 1
        width = min(BAR_WIDTH, columns - len(text) - 3)
        bar = f"[{'#' * (width * done // max(total, 1)):<{width}}] " if width > 0 else ""
        line = f"{bar}{text}"[:columns]
        padded, self._length = line.ljust(self._length), len(line)
        return f"\r{padded}"

    def _write(self, text: str) -> None:
        self._shown = True
        # A run goes on where its progress cannot be written.
        stream = sys.stderr
        if self._bars and not (stream and stream.isatty()):
            stream = sys.stdout  # of a notebook, which paints the other red
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.write(text)
                stream.flush()

    def _pace(self, now: float) -> tuple[float, float]:
        """Return networks per second and seconds left; NaN while unknown."""
        done, total = self._last
        drawn, spent = done - self.known, now - self._begun
        if drawn <= 0 or spent <= 0:
            return float("nan"), float("nan")
        return drawn / spent, (total - done) * spent / drawn

    def close(self) -> None:
        """Remove the bar, or write the last line, if there was one before."""
        if self._shown and self._bars and not (sys.stderr and sys.stderr.isatty()):
            # A page made of a notebook would keep the bar as it was.
            spent = duration(time.monotonic() - self._begun)
            self._write("\r" + f"done in {spent}".ljust(self._length) + "\n")
        elif self._shown and self._bars:
            self._write(f"\r{' ' * self._length}\r")
        elif self._shown:
            self._show(time.monotonic())


def sentence(done: int, total: int, rate: float, left: float) -> str:
    """Return what there is to say: done, rate, time left."""
    share = f"{done:,} of {total:,} networks ({done / max(total, 1):.0%})"
    if math.isnan(rate):
        return share
    return f"{share}, {rate:.4g} per second, {duration(left)} left"


def percent(done: int, total: int, rate: float, left: float) -> str:
    """Return what there is to say of work without a unit."""
    share = f"{done / max(total, 1):.0%}"
    return share if math.isnan(rate) else f"{share}, {duration(left)} left"


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
