"""Tangents: derivatives of the network along a direction in the space of inputs.

A tangent v belongs to one input h and passes an activation as `phi'(h) v`, where phi' is the
derivative where it exists; at a kink it is the mean of both sides, which has probability zero. At
layer 0, with `h^0 = z F^T`, `F F^T = K^0` and the normals z held fixed,

    variance     v = z dF^T/dK^0          one input:  the derivative with respect to its kernel
    covariance   v = z (dF/dK^0_12)^T     two inputs: the second moves, the first does not
    direction    v = a direction of its own, independent of the input; of several inputs the first
                 moves, and the others as averages over the batch move them

Two kinds stand for a pass backward, one column for each input:

    from l       v^l = a random direction, the same for all inputs; before layer l, v = 0
    parameters   v^0 = z' F^T with other normals z', and each `Linear` adds fresh normals with the
                 covariance of its images, as independent copies of its weights and biases would

An output moves along them by a normal number whose variance is ``|dy/dh^l|^2`` and the tangent
kernel, given the weights; given the columns in front of the read-out it is normal as well, with the
variance that their Gram matrix has there. So mean and second moment of both are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from resexpand.errors import HyperparameterError, KernelError
from resexpand.montecarlo.groups.group import (
    ColumnGroup,
    Floats,
    refuse_batches,
    refuse_jumps,
    slope_call,
    without_deltas_in,
)
from resexpand.montecarlo.groups.maps import MapCall, batch_loop, map_call
from resexpand.montecarlo.source.attention import moved_call
from resexpand.network.differentials import AveragedMap, tangent
from resexpand.network.operation import Map
from resexpand.network.resnet import Branch

LOOP = '''
@chunk
def tangents_{j}(source, target, first, parents{phi.parameters}):
    """Write phi'(h) v for the tangents."""
{phi.reads}    for t in range(parents.size):
        h, v, new = source[parents[t]], source[first + t], target[first + t]
{drawn}{phi.averages}        for turn in range(lane_share(h.size)):
            i = lane_entry(turn)
            new[i] = {phi.value}
    barrier()
'''

PARENTS = {"variance": 0, "covariance": 1, "direction": 0}
"""The input at which each kind is a tangent."""

STILL = "still at "
"""Kind of the tangent of an input that stands still at layer 0, in front of its number."""

PARAMETERS, FROM = "parameters", "from "
"""Kinds that stand for a pass backward; the number of the layer follows the second."""

BEGIN = """\
            if layer == {layer} + 1:
                began = stream[tangents_at + {first} : tangents_at + {first} + inputs]
                {begin}, (key0, key1, np.int64({layer}), draw))
"""

COPY = """\
            add_copy(
                {source}[:inputs], {target}, {scale}, tangents_at + {first}, width, law, place,
                np.int64({j}), copies
            )"""

COPIES = "from resexpand.montecarlo.loops.copies import add_copy, begin_alike, begin_as_inputs"


def beginning_at(layer: int) -> str:
    """Return the kind of a tangent that begins at a layer."""
    return f"{FROM}{layer}"


def begins_at(kind: str) -> int:
    """Return the layer at which a tangent of a kind begins."""
    return int(kind.removeprefix(FROM).split()[0]) if kind.startswith(FROM) else 0


def check_beginnings(groups: Iterable[ColumnGroup], depth: int) -> None:
    """Refuse tangents that begin behind the last layer.

    Raises
    ------
    HyperparameterError
        If there is one.
    """
    own = (group for group in groups if isinstance(group, Tangents))
    layer = max((begins_at(kind) for group in own for kind in group.kinds), default=0)
    if layer > depth:
        raise HyperparameterError(
            f"gradient_moments({layer}) of a network of depth {depth}",
            "there is no such layer",
            f"use a layer from 0 to {depth}",
        )


@dataclass(frozen=True)
class Tangents(ColumnGroup):
    """One tangent column per kind: ``"variance"``, ``"covariance"``, ``"direction"``."""

    name: ClassVar[str] = "tangents"
    rank: ClassVar[int] = 2
    follows_positions: ClassVar[bool] = True

    kinds: tuple[str, ...]

    @property
    def carried(self) -> int:
        """One column per kind."""
        return len(self.kinds)

    @property
    def parents(self) -> tuple[int, ...]:
        """Input to which each tangent belongs."""
        return tuple(
            PARENTS[kind] if kind in PARENTS else int(kind.rpartition(" ")[2])
            for kind in self.kinds
        )

    @property
    def keeps_units(self) -> bool:
        """Whether columns begin inside the network, in the units of layer 0."""
        return any(kind.startswith(FROM) for kind in self.kinds)

    def at(self, inputs: int) -> Self:
        """Return the group for D inputs, all of which have a tangent if columns stand for them."""
        found: list[str] = []
        for kind in self.kinds:
            if kind == "direction":
                found += [kind, *(f"{STILL}{k}" for k in range(1, inputs))]
            elif kind in PARENTS:
                found.append(kind)
            else:
                found += [f"{kind} of {k}" for k in range(inputs)]
        return type(self)(tuple(found))

    def joined(self, other: Self) -> Self:
        """Return the tangents of both, each once."""
        return type(self)(tuple(dict.fromkeys((*self.kinds, *other.kinds))))

    def start(self, kernel: Floats, root: Floats) -> Floats:
        """Return the columns at layer 0.

        Raises
        ------
        KernelError
            If a derivative with respect to K^0 does not exist at this kernel.
        """
        matrix = np.zeros((len(kernel) + 1, self.carried))
        for t, kind in enumerate(self.kinds):
            column = _START[kind](kernel, root) if kind in _START else np.zeros(1)
            matrix[: len(column), t] = column
        return matrix

    @property
    def _firsts(self) -> dict[str, int]:
        """First of the columns that stand for a pass backward, by kind."""
        own = [(kind.removesuffix(" of 0"), t) for t, kind in enumerate(self.kinds)]
        return {kind: t for kind, t in own if kind != self.kinds[t]}

    def entering(self) -> str:
        """Return the lines in front of a block that begin columns at its layer."""
        lines = ""
        for kind, first in self._firsts.items():
            alike = kind != PARAMETERS
            begin = "begin_alike(began" if alike else "begin_as_inputs(began, matrix"
            lines += BEGIN.format(first=first, layer=begins_at(kind), begin=begin)
        return lines

    def behind_linear(self, j: int, source: str, target: str, scale: str) -> str:
        """Return the line that adds what copies of the weights of operation j make."""
        first = self._firsts.get(PARAMETERS)
        if first is None:
            return ""
        return COPY.format(j=j, source=source, target=target, scale=scale, first=first)

    def sampler(self, module: str, target: str = "cpu") -> str:
        """Return the import of what columns that stand for a pass backward need."""
        return COPIES if self._firsts else ""

    @property
    def buffers(self) -> Mapping[str, str]:
        """Scratch for the action of copies of the weights."""
        copies = {"copies": "(inputs + 2, max(length, inputs * inputs))"}
        return copies if PARAMETERS in self._firsts else {}

    def functions(self, j: int, op: Map) -> list[str]:
        """Return phi' and its loop."""
        if op.attends:
            return []
        if op.over != "neurons":
            first, name = "source, target, first, parents", f"phi_{j}_moved"
            given = (f"tangents_{j}", first, "parents.size", name, _tangent(op), op)
            return batch_loop(
                *given, "target[first + c, i]", "source[c, i]", "source[first + c, i]"
            )
        phi = _moved(j, op)
        return [*phi.functions, LOOP.format(j=j, phi=phi, drawn=phi.drawn("parents[t]"))]

    def call(self, j: int, op: Map, source: str, target: str) -> str:
        """Return the call of the loop."""
        if op.attends:
            return moved_call(op, source, target)
        return f"tangents_{j}({source}, {target}, tangents_at, parents{_moved(j, op).given})"

    def require(self, branch: Branch, names: str) -> None:
        """Refuse activations that jump, and inputs that move by themselves in a batch."""
        refuse_jumps(branch, names, "derivative")
        if self._firsts or {"variance", "covariance"} & set(self.kinds):
            why = "they follow inputs one by one, and those of a batch move together"
            refuse_batches(branch, names, why)


def _moved(j: int, op: Map) -> MapCall:
    """Return the call that maps a tangent."""
    if op.is_function:
        slope = slope_call(j, op, "h")
        return replace(slope, value=f"{slope.value} * v[i]")
    return map_call(f"phi_{j}_moved", j, op, _tangent(op), "h", "v")


def _tangent(op: Map) -> AveragedMap:
    return without_deltas_in(tangent(op))


def _variance(kernel: Floats, root: Floats) -> Floats:
    """Return dF/dK for one input: F = sqrt(K)."""
    if kernel[0, 0] <= 0:
        raise KernelError("a response at K0 = 0", "sqrt(K0) has no derivative", "use K0 > 0")
    return np.array([1 / (2 * root[0, 0])])


def _covariance(kernel: Floats, root: Floats) -> Floats:
    """Return the second row of dF/dK_12; the first input does not move."""
    if root[1, 1] <= 0 or root[0, 0] <= 0:
        raise KernelError(
            "the covariance response of dependent inputs",
            "their kernel is singular, so K12 cannot move freely",
            "use K12^2 < K11 K22",
        )
    return np.array([1 / root[0, 0], -root[1, 0] / (root[0, 0] * root[1, 1])])


def _direction(kernel: Floats, root: Floats) -> Floats:
    """Return a direction independent of the input."""
    column = np.zeros(len(kernel) + 1)
    column[-1] = 1.0
    return column


_START = {"variance": _variance, "covariance": _covariance, "direction": _direction}
