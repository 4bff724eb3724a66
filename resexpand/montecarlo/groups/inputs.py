"""The inputs: the states `h_1 ... h_D` of the network itself, present in every sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from resexpand.montecarlo.groups.group import ColumnGroup, Floats, phi_source
from resexpand.network.ops import Activation

LOOP = '''
@chunk
def inputs_{j}(source, target, count):
    """Write phi(h) for the inputs."""
    for c in range(count):
        h, new = source[c], target[c]
        for turn in range(turns(h.size)):
            i = entry(turn)
            new[i] = phi_{j}(h[i])
    meet()
'''


@dataclass(frozen=True)
class Inputs(ColumnGroup):
    """The states of D inputs."""

    name: ClassVar[str] = "inputs"
    rank: ClassVar[int] = 0
    biased: ClassVar[bool] = True

    count: int

    @property
    def carried(self) -> int:
        """Number D of inputs."""
        return self.count

    def joined(self, other: Self) -> Self:
        """Return the group itself: a network has one set of inputs."""
        return self

    def start(self, kernel: Floats, root: Floats) -> Floats:
        """Return F^T, with no share of the random direction."""
        return np.vstack([root.T, np.zeros((1, self.count))])

    def functions(self, j: int, op: Activation) -> list[str]:
        """Return phi and its loop."""
        return [phi_source(j, op), LOOP.format(j=j)]

    def call(self, j: int, source: str, target: str) -> str:
        """Return the call of the loop."""
        return f"inputs_{j}({source}, {target}, inputs)"
