"""Size of a script that trains networks of several depths."""

from __future__ import annotations

from dataclasses import dataclass

from support.training import Plan

VERY_DEEP = 1000


@dataclass(frozen=True)
class DepthScale:
    """Depths, steps of training, and what all networks have in common.

    Attributes
    ----------
    depths : tuple of int
        Numbers of blocks.
    steps, seeds, width, batch : int
        Of every network.
    rates, deepest : tuple of float
        Learning rates that are tried, and those at depth `VERY_DEEP` and beyond.
    """

    depths: tuple[int, ...]
    steps: int
    seeds: int
    width: int = 24
    batch: int = 50
    rates: tuple[float, ...] = (0.01, 0.03, 0.1)
    deepest: tuple[float, ...] = (0.03, 0.1)

    def plan(self, depth: int) -> Plan:
        """Return how a depth is trained: `VERY_DEEP` networks with fewer rates and steps."""
        if depth < VERY_DEEP:
            return Plan(self.steps, self.seeds, self.rates, self.batch)
        return Plan(self.steps * 5 // 8, self.seeds, self.deepest, self.batch)
