"""Columns of a given network, carried through its blocks together with the network itself.

The stream is an array of shape (columns + 1, batch, N). Row 0 is the exact ``h^l``; row ``1 + j``
holds the part of ``h^l`` with j factors of a residual scale (an order ``T_j``, or paths of length
j). A block multiplies by one more scale, so what its branch makes of row ``1 + j`` is added to row
``2 + j``, while row 0 is added to itself. All rows pass a `Linear` in one matrix product, and
buffers are made once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from resexpand.errors import HyperparameterError
from resexpand.measure.given_network import Array, GivenNetwork
from resexpand.network.operation import Map

LARGEST = 2**33
"""Bytes that the parts of the stream and the buffers of a branch may take."""


class Step(Protocol):
    """Map of the rows by an activation: row 0 is the exact argument."""

    def __call__(self, source: Array, target: Array, /) -> None:
        """Write the rows of phi to the target; both have shape (rows, batch * width)."""


class Propagation:
    """The stream of a network and the buffers of one branch.

    Parameters
    ----------
    given : Given
    columns : int
        Number of parts beyond the zeroth.
    step : callable
        Returns the `Step` of an activation.
    """

    def __init__(self, given: GivenNetwork, columns: int, step: Callable[[Map], Step]) -> None:
        _require_memory(given, columns)
        self.given = given
        self.columns = columns
        self.stream = np.zeros((columns + 2, *given.x.shape))
        self.stream[:2] = given.x
        self._steps = {op: step(op) for op in given.net.branch.maps}
        self._buffers = self._make_buffers()

    def _make_buffers(self) -> list[Array]:
        """Return the result of every operation of the branch, for the widest block."""
        batch, width = self.given.x.shape
        widest = [
            max(block[i].shape[0] for block in self.given.weights)
            for i in range(len(self.given.weights[0]))
        ]
        sizes, linear, size = [], iter(widest), width
        for step in self.given.net.branch.steps:
            size = next(linear) if step.contracts else size
            sizes.append(size)
        return [np.empty((self.columns + 1) * batch * size) for size in sizes]

    def block(self, number: int, parts: int) -> None:
        """Carry the stream through block `number` (from 0), of which `parts` rows matter.

        Raises
        ------
        HyperparameterError
            If a number becomes infinite or NaN.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            change = self._branch(number, self.stream[: parts + 1])
            change *= self.given.scales[number]
            self.stream[0] += change[0]
            self.stream[2 : parts + 2] += change[1:]
            if not np.isfinite(self.stream.sum()):
                self._check(number, self.stream)

    def _branch(self, number: int, rows: Array) -> Array:
        weights = iter(self.given.weights[number])
        biases = iter(self.given.biases[number]) if self.given.biases else None
        for step, buffer in zip(self.given.net.branch.steps, self._buffers, strict=True):
            if not step.contracts:
                target = buffer[: rows.size].reshape(rows.shape)
                flat = (rows.shape[0], -1)
                self._steps[step.op](rows.reshape(flat), target.reshape(flat))
            else:
                matrix = next(weights)
                shape = (*rows.shape[:2], matrix.shape[0])
                target = buffer[: shape[0] * shape[1] * shape[2]].reshape(shape)
                flat = (shape[0] * shape[1], -1)
                np.matmul(rows.reshape(flat), matrix.T, out=target.reshape(flat))
                if biases is not None:
                    # The bias is the same for every scale of this block: it starts here.
                    target[:2] += next(biases)
                if not np.isfinite(target.sum()):
                    self._check(number, target)
            rows = target
        return rows

    def _check(self, number: int, target: Array) -> None:
        """Say which number is not finite; a sum may be infinite when no term of it is."""
        bad = np.array([not np.isfinite(row).all() for row in target])
        if not bad.any():
            return
        if not all(np.isfinite(matrix).all() for matrix in self.given.weights[number]):
            raise HyperparameterError(
                f"weights of block {number + 1}", "an entry is infinite or NaN", "give finite ones"
            )
        part = "the stream" if bad[0] else f"order {int(np.argmax(bad)) - 1} of the stream"
        raise HyperparameterError(
            f"{part} at block {number + 1}",
            "it leaves the range of doubles",
            "take smaller scales or weights, or a lower order",
        )


def _require_memory(given: GivenNetwork, columns: int) -> None:
    """Refuse what would not fit, and say how much it would be."""
    widest = max(max(matrix.shape) for block in given.weights for matrix in block)
    arrays = 1 + len(given.net.branch.ops)
    needed = 8 * (columns + 2) * given.x.shape[0] * widest * arrays
    if needed > LARGEST:
        raise HyperparameterError(
            f"{columns} orders or path lengths of {given.x.shape[0]} inputs",
            f"they would take {needed / 2**30:.1f} GiB of {LARGEST / 2**30:g}",
            "give fewer inputs at a time, a lower order, or a smaller longest=",
        )
