"""Columns by power: the common base of jets and paths of one input.

The stream of one input is split into `x_0 + x_1 + ... + x_k`; block l adds the image of `x_j` under
the branch to `x_{j+1}`. The index is the power of the residual scale in
`resexpand.montecarlo.groups.jets`, and the number of blocks on a path in
`resexpand.montecarlo.groups.paths`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from resexpand.montecarlo.groups.group import ColumnGroup, Floats


@dataclass(frozen=True)
class Powers(ColumnGroup):
    """The columns `x_0 ... x_k` of one input, k the order."""

    shift: ClassVar[int] = 1
    biased: ClassVar[bool] = True

    order: int

    @property
    def carried(self) -> int:
        """`x_0 ... x_{k-1}`: the last column is only added to."""
        return self.order

    @property
    def sites(self) -> Mapping[str, tuple[int, ...]]:
        """Remainder of h beyond each order."""
        return {f"{self.name}_remainders": (self.order + 1,)}

    def joined(self, other: Self) -> Self:
        """Return the longer one."""
        return self if self.order >= other.order else other

    def start(self, kernel: Floats, root: Floats) -> Floats:
        """Return `x_0 = h^0`, the others zero."""
        matrix = np.zeros((len(kernel) + 1, self.order + 1))
        matrix[: len(kernel), 0] = root[0]
        return matrix

    def reading(self, site: str) -> str:
        """Return the call that writes the remainders."""
        rest, out = "scratch[0, :length]", f"{site}[n, layer - 1]"
        return f"remainders(stream, width, {self.name}_at, added_to, {rest}, {out})"
