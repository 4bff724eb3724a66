"""`ColumnGroup`: a group of columns that a sampler propagates together with the inputs.

A network is propagated as columns of N neurons. A group holds columns `x_0 ... x_{n-1}` that pass
through the branch of every block: an activation acts on them by a loop that the group writes, and a
`Linear` multiplies all columns of all groups with one and the same weight matrix. The image of
column `j` is added to column `j + shift` of the group:

    shift = 0   x_j <- x_j + rho f(x)_j                        inputs, tangents
    shift = 1   x_{j+1} <- x_{j+1} + rho f(x)_j                jets, paths: one more power of rho

so that a group with `shift = 1` has one column more in the stream than it sends through the branch.

To add a group, write one file with a subclass, and let an observable ask for it. The order of the
groups in a network is their `rank`; inputs come first, since others look at their columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Self

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.errors import UnsupportedError
from resexpand.montecarlo.groups.maps import MapCall, map_call
from resexpand.montecarlo.source.blocks import Blocks
from resexpand.network.differentials import AveragedMap, forward
from resexpand.network.operation import Map
from resexpand.network.resnet import Branch

Floats = NDArray[np.float64]


class ColumnGroup:
    """A group of columns; subclasses are frozen dataclasses, so that equal groups are equal.

    Attributes
    ----------
    name : str
        Generated code calls its first column ``<name>_at``, the number of its carried columns
        ``<name>_count``.
    rank : int
        Place among the groups.
    shift : int
        0 if a column receives its own image under the branch, 1 if the next column does.
    biased : bool
        Whether its first column (of the inputs: each) stands for an input, so that biases are
        added to the image.
    weighted : bool
        Whether the sampled weights act on the columns; if not, the group brings its own `Linear`.
    follows_positions : bool
        Whether it has a column for every column of the inputs, or none: then operations over
        positions can take it along.
    """

    name: ClassVar[str]
    rank: ClassVar[int]
    shift: ClassVar[int] = 0
    biased: ClassVar[bool] = False
    weighted: ClassVar[bool] = True
    follows_positions: ClassVar[bool] = False

    @property
    def carried(self) -> int:
        """Number of columns that pass through the branch."""
        return 0

    @property
    def tops(self) -> int:
        """Number of columns of the stream that do not pass through the branch."""
        return self.shift

    @property
    def keeps_units(self) -> bool:
        """Whether the stream must stay in the units of layer 0."""
        return False

    @property
    def sites(self) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes per layer of the records that the group writes itself."""
        return {}

    def at(self, inputs: int) -> Self:
        """Return the group for a network with D inputs."""
        return self

    def joined(self, other: Self) -> Self:
        """Return the group that serves both requests; itself if they are equal."""
        return self

    def start(self, kernel: Floats, root: Floats) -> Floats:
        """Return the map from normals to the columns at layer 0, shape (D + 1, carried + tops).

        Parameters
        ----------
        kernel, root : ndarray, shape (D, D)
            The kernel K^0 and its lower triangular root F. Column c starts as
            `sum_k matrix[k, c] z_k`; rows k < D multiply the normals of the inputs, `h^0 = z F^T`,
            row D those of a random direction.
        """
        return np.zeros((len(kernel) + 1, self.carried + self.tops))

    def functions(self, j: int, op: Map) -> list[str]:
        """Return the texts of the functions that take the columns through activation j."""
        return []

    def call(self, j: int, op: Map, source: str, target: str) -> str:
        """Return the line that calls them, or "" if no activation acts on the columns."""
        return ""

    def entering(self) -> str:
        """Return the lines that change the stream in front of block `layer` before it is read."""
        return ""

    def behind_linear(self, j: int, source: str, target: str, scale: str) -> str:
        """Return the line that adds to the images of operation j, or to the stream, or ""."""
        return ""

    def reading(self, site: str) -> str:
        """Return the line that writes `site[n, layer - 1]` from the stream, l = 0 ... L; or ""."""
        return ""

    def before_linear(self, site: str, k: int, source: str) -> str:
        """Return the line that records the argument of the k-th `Linear`, or ""."""
        return ""

    def closing(self, site: str, result: str) -> str:
        """Return the line that records the image of the branch before it is added, or ""."""
        return ""

    def sampler(self, module: str, target: str = "cpu") -> str:
        """Return the imports of the group for the sampler in a module, or ""."""
        return ""

    @property
    def buffers(self) -> Mapping[str, str]:
        """Arrays that a network needs beside its columns: shapes, as text, by name."""
        return {}

    def prologue(self) -> str:
        """Return lines in front of the first network, or ""."""
        return ""

    def epilogue(self, blocks: Blocks, behind: str) -> str:
        """Return lines at the end of each network, or "".

        Parameters
        ----------
        blocks : Blocks
        behind : str
            Name of the columns on which the read-out acted.
        """
        return ""

    def require(self, branch: Branch, names: str) -> None:
        """Refuse branches that the group cannot pass; `names` are the observables that need it.

        Raises
        ------
        UnsupportedError
            With the reason, and what would work. A group passes every branch unless it says so.
        """
        return


def phi_call(j: int, op: Map, column: str, tag: str = "") -> MapCall:
    """Return the call of the map itself, which several groups share."""
    return map_call(f"phi_{j}", j, op, forward(op), column, tag=tag)


def slope_call(j: int, op: Map, column: str) -> MapCall:
    """Return the call of its derivative; at a kink, of the mean of both sides."""
    slope = AveragedMap(op.averages, without_deltas(op.derivative(1)))
    return map_call(f"phi_{j}_prime", j, op, slope, column)


def refuse(branch: Branch, names: str, wrong: Callable[[Map], str], remedy: str) -> None:
    """Refuse maps on behalf of these observables.

    Parameters
    ----------
    branch : Branch
    names : str
        Labels of the observables that ask.
    wrong : callable
        Returns why a map is refused; empty if it is not.
    remedy : str

    Raises
    ------
    UnsupportedError
        For the first map that is refused.
    """
    for op in branch.maps:
        if why := wrong(op):
            named = f"activation {op.name}" if op.law is not None else repr(op)
            raise UnsupportedError(f"{names} of a network with {named}", why, remedy)


def refuse_jumps(branch: Branch, names: str, what: str) -> None:
    """Refuse activations that jump: their networks have no `what`."""
    why = f" jumps, so its networks have no {what}"
    remedy = 'ask for "kernel", or use a continuous activation such as Activation("erf")'
    refuse(branch, names, lambda op: f"{op.name}{why}" if op.jumps else "", remedy)


def refuse_batches(
    branch: Branch, names: str, why: str, over: tuple[str, ...] = ("batch", "positions")
) -> None:
    """Refuse operations that couple the columns of a batch, or of the positions of an input."""
    for op in branch.ops:
        if op.over in over:
            remedy = "ask for kernel, gradient or directional_derivative"
            raise UnsupportedError(f"{names} of a network with {op!r}", why, remedy)


def refuse_averages(branch: Branch, names: str) -> None:
    """Refuse maps with averages over the neurons, on behalf of columns that cannot follow."""
    why = "its averages over the {} couple what these columns take apart"
    remedy = "ask for kernels, tangents or gradients, which follow averages"
    refuse(branch, names, lambda op: why.format(op.over) if op.averages else "", remedy)


def without_deltas_in(averaged: AveragedMap) -> AveragedMap:
    """Return a derivative of a map without what it has at kinks."""
    averages = tuple((symbol, without_deltas(term)) for symbol, term in averaged.averages)
    return AveragedMap(averages, without_deltas(averaged.value))


def without_deltas(derivative: sp.Expr) -> sp.Expr:
    """Return a derivative without what it has at kinks and jumps, a set of measure zero."""
    return derivative.replace(sp.DiracDelta, lambda *_: sp.Integer(0))
