"""Tangents: derivatives of the network along a direction in the space of inputs.

A tangent v belongs to one input h and passes an activation as `phi'(h) v`, where phi' is the
derivative where it exists; at a kink it is the mean of both sides, which has probability zero. At
layer 0, with `h^0 = z F^T`, `F F^T = K^0` and the normals z held fixed,

    variance     v = z dF^T/dK^0          one input:  the derivative with respect to its kernel
    covariance   v = z (dF/dK^0_12)^T     two inputs: the second moves, the first does not
    direction    v = a direction of its own, independent of the input
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from resexpand.errors import KernelError, UnsupportedError
from resexpand.montecarlo.groups.group import ColumnGroup, Floats, slope_source
from resexpand.network.ops import Activation
from resexpand.network.resnet import Branch

LOOP = '''
@chunk
def tangents_{j}(source, target, first, parents):
    """Write phi'(h) v for the tangents."""
    for t in range(parents.size):
        h, v, new = source[parents[t]], source[first + t], target[first + t]
        for turn in range(turns(h.size)):
            i = entry(turn)
            new[i] = phi_{j}_prime(h[i]) * v[i]
    meet()
'''

PARENTS = {"variance": 0, "covariance": 1, "direction": 0}
"""The input at which each kind is a tangent."""


@dataclass(frozen=True)
class Tangents(ColumnGroup):
    """One tangent column per kind: ``"variance"``, ``"covariance"``, ``"direction"``."""

    name: ClassVar[str] = "tangents"
    rank: ClassVar[int] = 2

    kinds: tuple[str, ...]

    @property
    def carried(self) -> int:
        """One column per kind."""
        return len(self.kinds)

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
            column = _START[kind](kernel, root)
            matrix[: len(column), t] = column
        return matrix

    def functions(self, j: int, op: Activation) -> list[str]:
        """Return phi' and its loop."""
        return [slope_source(j, op), LOOP.format(j=j)]

    def call(self, j: int, source: str, target: str) -> str:
        """Return the call of the loop."""
        return f"tangents_{j}({source}, {target}, tangents_at, parents)"

    def require(self, branch: Branch, names: str) -> None:
        """Refuse activations that jump."""
        for op in branch.activations:
            if op.jumps:
                raise UnsupportedError(
                    f"{names} of a network with activation {op.name}",
                    f"{op.name} jumps, so its networks have no derivative",
                    'ask for "kernel", or use a continuous activation such as Activation("erf")',
                )


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
