"""The origin: the states `h_a^0` at layer 0, kept to measure the distance of the stream from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from resexpand.montecarlo.groups.group import ColumnGroup, Floats


@dataclass(frozen=True)
class Origin(ColumnGroup):
    """One column per input, which no block changes."""

    name: ClassVar[str] = "origin"
    rank: ClassVar[int] = 5

    count: int = 0

    @property
    def tops(self) -> int:
        """One column per input."""
        return self.count

    @property
    def sites(self) -> Mapping[str, tuple[int, ...]]:
        """Squared distances from layer 0."""
        return {"distances": (self.count,)}

    def at(self, inputs: int) -> Self:
        """Return the origin of D inputs."""
        return type(self)(inputs)

    def start(self, kernel: Floats, root: Floats) -> Floats:
        """Return F^T: h^0 itself."""
        return np.vstack([root.T, np.zeros((1, self.count))])

    def reading(self, site: str) -> str:
        """Return the call that writes the distances."""
        return f"write_distances(stream, width, origin_at, {site}[n, layer - 1])"
