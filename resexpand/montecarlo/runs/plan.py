"""The plan of a run: which networks are drawn, cut into chunks, and what makes two runs the same.

A chunk is a range of consecutive draws, long enough that starting it costs nothing and short
enough that stopping or resuming a run loses little: about `CHUNK_SECONDS`. Its length follows from
the sizes of the network alone, never from the number of workers or draws. So a run that asks for
more draws of the same ensemble has the same chunks in front, and finds them in its store.

Chunk number k belongs to shard k mod n of n shards: each job of an array takes one, also when the
run is extended later. Partial sums are merged in the order of the chunks: the result is the same,
bit by bit, for any number of workers or shards and for a run that was interrupted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CHUNK_SECONDS = 0.25
CHUNK_BYTES = 2**25
"""Most memory that the Gram matrices of a chunk may take."""

NUMBERS_VERSION = 1
"""To be raised when the same seed begins to give other networks: stored sums are then void."""

# Nanoseconds on one core of 2024, to size the chunks; nothing else depends on them.
NORMAL_NS = 1.0
COLUMN_NS = 1.0

Chunk = tuple[int, int]
"""First draw and number of draws."""


@dataclass(frozen=True)
class Work:
    """Size of one network, as far as it decides how long it takes.

    Attributes
    ----------
    width, depth, columns, operations : int
        Width, number of blocks, columns propagated, operations per branch.
    dense : bool
        Whether every weight is drawn.
    known : float, optional
        Seconds per network, where they follow from more than that.
    """

    width: int
    depth: int
    columns: int
    operations: int
    dense: bool
    known: float | None = None

    @property
    def seconds(self) -> float:
        """Rough time to draw one network on one core."""
        if self.known is not None:
            return self.known + 1e-6
        column = self.columns * self.width * COLUMN_NS * (1 + self.columns / 4)
        weights = self.width**2 * NORMAL_NS if self.dense else 0.0
        return self.depth * self.operations * (column + weights) * 1e-9 + 1e-6

    @property
    def chunk(self) -> int:
        """Number of networks in a chunk: a power of two."""
        by_time = CHUNK_SECONDS / self.seconds
        by_memory = CHUNK_BYTES / (24 * (self.depth + 1) * self.columns**2)
        return 1 << (int(max(min(by_time, by_memory), 1)).bit_length() - 1)


@dataclass(frozen=True)
class Plan:
    """A run.

    Attributes
    ----------
    settings : mapping
        Everything that the numbers depend on except the count of draws, as JSON values.
    draws : int
        Number of networks, of all shards together.
    chunk : int
        Number of networks in a chunk; the last one may have fewer.
    shard : (int, int)
        Number of the shard, from 0, and how many there are.
    """

    settings: Mapping[str, Any]
    draws: int
    chunk: int
    shard: tuple[int, int] = (0, 1)

    @property
    def text(self) -> str:
        """The settings as JSON, the same text for the same settings."""
        return json.dumps(dict(self.settings), sort_keys=True)

    @property
    def identity(self) -> str:
        """Digest of all settings: equal for runs whose chunks are interchangeable."""
        content = {**self.settings, "chunk": self.chunk, "version": NUMBERS_VERSION}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def chunks(self) -> Iterator[Chunk]:
        """Yield first draw and length of each chunk of the shard, in order."""
        number, count = self.shard
        for first in range(number * self.chunk, self.draws, count * self.chunk):
            yield first, min(self.chunk, self.draws - first)

    def __contains__(self, chunk: Chunk) -> bool:
        """Whether `chunks` yields this one, without counting up to it."""
        (first, draws), (number, count) = chunk, self.shard
        return (
            0 <= first < self.draws
            and first % self.chunk == 0
            and first // self.chunk % count == number
            and draws == min(self.chunk, self.draws - first)
        )

    @property
    def chunk_count(self) -> int:
        """Number of chunks of the shard."""
        number, count = self.shard
        return len(range(number * self.chunk, self.draws, count * self.chunk))

    @property
    def own_draws(self) -> int:
        """Number of networks of the shard."""
        number, count = self.shard
        chunks, beyond = self.chunk_count, -self.draws % self.chunk
        # The last chunk of the run may be short; it belongs to one shard.
        last_is_mine = chunks > 0 and (self.draws - 1) // self.chunk % count == number
        return chunks * self.chunk - (beyond if last_is_mine else 0)


def name_of(label: str) -> str:
    """Return the name of an observable without its parameters."""
    return label.partition("(")[0]


def together(chunks: Sequence[Chunk], most: int) -> list[list[Chunk]]:
    """Return chunks as runs of neighbours, each of at most so many networks or one chunk."""
    runs: list[list[Chunk]] = []
    for first, draws in chunks:
        last = runs[-1] if runs else []
        if last and sum(last[-1]) == first and first + draws - last[0][0] <= most:
            last.append((first, draws))
        else:
            runs.append([(first, draws)])
    return runs
