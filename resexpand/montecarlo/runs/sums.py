"""Partial sums of a chunk by name, and merging them in the order of the draws.

The result of a chunk is a mapping from names to sums. Every kind of sum merges, says its
shape, and turns into bytes and back without loss; a store keeps the kind beside the bytes. To add
a kind, write a class with these four and one line in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol, Self, TypeAlias

from resexpand.montecarlo.runs.plan import Chunk
from resexpand.montecarlo.statistics.histogram import Counts
from resexpand.montecarlo.statistics.moments import Moments


class Sum(Protocol):
    """Methods of every kind of sum."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the observable."""
        ...

    def merge(self, other: Self) -> Self:
        """Return the sum of both sets of draws, these before the others."""
        ...

    def to_bytes(self) -> bytes:
        """Return the exact state."""
        ...

    @classmethod
    def from_bytes(cls, data: bytes, shape: tuple[int, ...]) -> Self:
        """Rebuild the state; ValueError if the bytes cannot be one."""
        ...


Sums: TypeAlias = dict[str, Any]
"""Sums by name, each a `Sum`."""

Enough: TypeAlias = Callable[[Sums], bool]
"""Says of the merged sums of the first chunks whether they are enough."""

KINDS: Mapping[str, type[Sum]] = MappingProxyType({"moments": Moments, "counts": Counts})
"""Every kind of sum by the name a store gives it."""


def kind_of(value: Sum) -> str:
    """Return the name of the kind of a sum."""
    return next(name for name, kind in KINDS.items() if type(value) is kind)


def merged(first: Sums, second: Sums) -> Sums:
    """Return the sums of both sets of draws; an empty mapping holds no draws."""
    if not first:
        return dict(second)
    return {name: first[name].merge(value) for name, value in second.items()}


class InOrder:
    """Merges the sums of chunks in the order of the draws, whatever order they arrive in.

    Parameters
    ----------
    chunks : iterator of Chunk
        All chunks of the run, in order.
    recall : callable, optional
        Returns the sums of a chunk that is in the store; those are not kept in memory.
    enough : callable, optional
        Looks at the total after every chunk; once it returns True, nothing more is merged.

    Attributes
    ----------
    total : Sums
        Of the chunks so far, without a gap.
    done : int
        Networks drawn, merged or not.
    finished : bool
        Whether nothing more is wanted.
    """

    def __init__(
        self,
        chunks: Iterator[Chunk],
        recall: Callable[[Chunk], Sums] | None = None,
        enough: Enough | None = None,
    ) -> None:
        self.total: Sums = {}
        self.done = 0
        self._chunks, self._recall, self._enough = chunks, recall, enough
        self._next = next(chunks, None)
        self._early: dict[Chunk, Sums | None] = {}

    @property
    def finished(self) -> bool:
        """Whether nothing more is wanted."""
        return self._next is None

    def add(self, chunk: Chunk, sums: Sums | None = None) -> None:
        """Take a finished chunk; without sums, one that is in the store."""
        self.done += chunk[1]
        keep = self._recall is None or chunk == self._next
        self._early[chunk] = sums if keep else None
        while self._next is not None and self._next in self._early:
            found = self._early.pop(self._next)
            if found is None and self._recall is not None:
                found = self._recall(self._next)
            self.total = merged(self.total, found or {})
            self._next = next(self._chunks, None)
            if self._enough is not None and self._enough(self.total):
                self._next = None
