"""The steps: images of the inputs under each branch, before the residual scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from resexpand.montecarlo.groups.group import ColumnGroup


@dataclass(frozen=True)
class Steps(ColumnGroup):
    """No columns of its own: it reads the images of the inputs where the block ends."""

    name: ClassVar[str] = "steps"
    rank: ClassVar[int] = 6
    follows_positions: ClassVar[bool] = True

    count: int = 0

    @property
    def sites(self) -> Mapping[str, tuple[int, ...]]:
        """Squared norms of the images of the inputs, over N; the last layer is unused."""
        return {"squared_steps": (self.count,)}

    def at(self, inputs: int) -> Self:
        """Return the group for D inputs."""
        return type(self)(inputs)

    def closing(self, site: str, result: str) -> str:
        """Return the call that writes the norms."""
        return f"write_squares({result}, width, {site}[n, layer - 1])"
