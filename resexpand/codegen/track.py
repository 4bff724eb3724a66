"""How much of a long evaluation is done: shares of a whole that loops divide among themselves.

`tracked` opens the whole, `stages` divides the share in hand among the rounds of a loop, and the
threads (`resexpand.codegen.threads`) say how much of it is done. Where nothing was opened, as in
other threads, all of this does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

from resexpand.progress import Progress, Report, percent, reporting

WHOLE = 1000
"""Parts in which work is reported."""


@dataclass(frozen=True)
class Share:
    """A part of the work, from `low` to `high` of the whole, which is 1."""

    report: Report
    low: float = 0.0
    high: float = 1.0
    furthest: list[int] = field(default_factory=lambda: [-1])

    def part(self, k: int, count: int) -> Share:
        """Return one of so many equal parts."""
        step = (self.high - self.low) / count
        return replace(self, low=self.low + k * step, high=self.low + (k + 1) * step)

    def done(self, k: int, count: int) -> None:
        """Report that so much of this share is done; only what is new is said."""
        reached = round(WHOLE * self.part(k, count).low)
        if reached > self.furthest[0]:
            self.furthest[0] = reached
            self.report(reached, WHOLE)


_SHARE: ContextVar[Share | None] = ContextVar("share", default=None)


@contextmanager
def _holding(share: Share | None) -> Iterator[None]:
    token = _SHARE.set(share)
    try:
        yield
    finally:
        _SHARE.reset(token)


@contextmanager
def tracked(progress: Progress) -> Iterator[None]:
    """Report what is done within, see `resexpand.evaluate`."""
    with reporting(progress, percent, patience=1.0) as report:
        whole = Share(report)
        with _holding(whole):
            yield
        whole.done(1, 1)


@contextmanager
def untracked() -> Iterator[None]:
    """Report nothing of what is done within: little, or of unknown length."""
    with _holding(None):
        yield


def stages(count: int) -> Iterator[int]:
    """Yield 0 .. count - 1; what is done in each round is an equal share of the work in hand."""
    share = _SHARE.get()
    for k in range(count):
        # A loop left by an error is cleaned up late, if at all; `tracked` takes everything back.
        _SHARE.set(share and share.part(k, count))
        yield k
    _SHARE.set(share)


def done(k: int, count: int) -> None:
    """Say that k of so many equal parts of the share in hand are done."""
    share = _SHARE.get()
    if share is not None:
        share.done(k, count)
