"""The layout: the places of the groups of columns in a network, and the arrays derived from it.

The S columns of the stream are ordered so that the F columns that pass through the branch come
first: the carried columns of every group, in the order of their ranks, then the columns of each
group that do not pass (`ColumnGroup.tops`). With inputs and jets of order 2:

    column         0    1    2    3
    stream        h    J_0  J_1  J_2          S = 4
    branch        h    J_0  J_1               F = 3
    added to      0    2    3

Weights act on the W <= F carried columns of the groups that are `weighted`, which stand in front of
the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.groups.group import ColumnGroup, Floats, refuse, refuse_batches
from resexpand.montecarlo.groups.inputs import Inputs
from resexpand.montecarlo.groups.tangents import Tangents
from resexpand.montecarlo.input_kernel import triangular_root
from resexpand.network.resnet import Branch

GATED = "these columns do not follow the product of an activation and a second linear map"
REMEDY = 'ask for "kernel", "C" or "outputs"'
ALONE = "it couples the positions of an input, and these columns follow one of them alone"


@dataclass(frozen=True)
class Layout:
    """The groups of a network, in the order of their ranks, each kind once.

    Attributes
    ----------
    groups : tuple of ColumnGroup
        The first is `Inputs`.
    """

    groups: tuple[ColumnGroup, ...]

    @classmethod
    def of(cls, inputs: int, wanted: Iterable[ColumnGroup]) -> Layout:
        """Return the layout of a network with D inputs that has all wanted groups."""
        found: dict[type[ColumnGroup], ColumnGroup] = {Inputs: Inputs(inputs)}
        for group in wanted:
            kind, group = type(group), group.at(inputs)  # noqa: PLW2901
            found[kind] = found[kind].joined(group) if kind in found else group
        return cls(tuple(sorted(found.values(), key=lambda group: group.rank)))

    @cached_property
    def inputs(self) -> int:
        """Number D of inputs: the first columns."""
        return self.groups[0].carried

    @cached_property
    def carried(self) -> int:
        """Number F of columns that pass through the branch."""
        return sum(group.carried for group in self.groups)

    @cached_property
    def weighted(self) -> int:
        """Number of columns on which the sampled weights act: the first ones."""
        return sum(group.carried for group in self.groups if group.weighted)

    @cached_property
    def columns(self) -> int:
        """Number S of columns of the stream."""
        return sum(group.carried + group.tops for group in self.groups)

    @cached_property
    def places(self) -> Mapping[type[ColumnGroup], tuple[int, ...]]:
        """The columns of the stream that belong to each group, in its own order."""
        found: dict[type[ColumnGroup], tuple[int, ...]] = {}
        first, last = 0, self.carried
        for group in self.groups:
            tops = range(last, last + group.tops)
            found[type(group)] = (*range(first, first + group.carried), *tops)
            first, last = first + group.carried, last + group.tops
        return found

    def of_kind(self, kind: type[ColumnGroup]) -> ColumnGroup | None:
        """Return the group of a kind, if the layout has it."""
        return next((group for group in self.groups if type(group) is kind), None)

    @cached_property
    def spans(self) -> NDArray[np.int64]:
        """First column and number of carried columns of each group, shape (G, 2)."""
        places = [self.places[type(group)] or (0,) for group in self.groups]
        spans = [(at[0], group.carried) for at, group in zip(places, self.groups, strict=True)]
        return np.array(spans, dtype=np.int64)

    @cached_property
    def added_to(self) -> NDArray[np.int64]:
        """Column of the stream to which the image of each carried column is added."""
        into = [
            self.places[type(group)][j + group.shift]
            for group in self.groups
            for j in range(group.carried)
        ]
        return np.array(into, dtype=np.int64)

    @cached_property
    def parents(self) -> NDArray[np.int64]:
        """Input to which each tangent belongs."""
        tangents = self.of_kind(Tangents)
        parents = tangents.parents if isinstance(tangents, Tangents) else ()
        return np.array(parents, dtype=np.int64)

    @cached_property
    def sites(self) -> dict[str, tuple[int, ...]]:
        """Records of the groups: shapes per layer by name."""
        return {site: shape for group in self.groups for site, shape in group.sites.items()}

    def behind_linear(self, j: int, source: str, target: str, scale: str) -> list[str]:
        """Return the lines of the groups behind operation j, a linear one."""
        lines = (group.behind_linear(j, source, target, scale) for group in self.groups)
        return [line for line in lines if line]

    def matrix(self, kernel: Floats) -> Floats:
        """Return the map from normals to the columns at layer 0, shape (D + 1, S).

        Raises
        ------
        KernelError
            If a group cannot start at this kernel.
        """
        root = triangular_root(kernel)
        matrix = np.zeros((self.inputs + 1, self.columns))
        for group in self.groups:
            matrix[:, list(self.places[type(group)])] = group.start(kernel, root)
        return matrix

    def require(self, branch: Branch, names: Mapping[type[ColumnGroup], str]) -> None:
        """Refuse branches that a group cannot pass; `names` holds the observables that need it."""
        for group in self.groups:
            asked = names.get(type(group), "sampling")
            if not group.follows_positions:
                refuse_batches(branch, asked, ALONE, over=("positions",))
            if group is not self.groups[0] and group.carried:
                refuse(branch, asked, lambda op: GATED if op.gates is not None else "", REMEDY)
            group.require(branch, asked)
