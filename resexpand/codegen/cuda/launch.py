"""Running the kernels of a routine, one block of points after the other.

The parameters of a block are sent, the kernels write one row per layer, and the rows are transposed
on the device into the layout of the caller: arrays of the host, or arrays that stay on the device.
A parameter with one value for all points is sent as that value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from resexpand.codegen.arguments import Arguments
from resexpand.codegen.cuda import memory
from resexpand.codegen.cuda.arrays import LEAST_BLOCKS, threads_and_blocks, transpose
from resexpand.codegen.cuda.driver import matrices_of, results, rows_of
from resexpand.codegen.cuda.shares import MOST, THREADS, threads_per_point
from resexpand.codegen.cuda.target import SIMULATED
from resexpand.codegen.schedule import Schedule, diagonal_slot

Array = NDArray[np.float64]

MOST_SIMULATED = 2

COLUMNS = (32, 4)
"""Threads of a propagating block: points, and columns of the propagator."""

NUMBER = 8
"""Bytes of a number."""


@dataclass
class Kernels:
    """The kernels of a routine at one depth, with everything that does not depend on the block.

    Parameters
    ----------
    module : module
        Generated text with ``run`` and ``propagate_<name>``.
    plan : Schedule
        The plan of the routine.
    depth : int
        Number of blocks of the network.
    points : int
        Points of the whole grid.
    rules : sequence of ndarray
        Nodes and weights.
    """

    module: Any
    plan: Schedule
    depth: int
    points: int
    rules: Sequence[Array]

    @cached_property
    def rows(self) -> dict[str, int]:
        """Rows of every array."""
        return rows_of(self.plan, self.depth)

    @cached_property
    def copied(self) -> tuple[str, ...]:
        """Arrays that the caller gets, in the order of the outputs, and diagonals."""
        names = [output.name for output in self.plan.outputs]
        diagonals = [diagonal_slot(o.name) for o in self.plan.outputs if o.diagonal is not None]
        return (*names, *diagonals)

    @cached_property
    def device_rules(self) -> list[Any]:
        """The rules on the device."""
        return [cuda.to_device(rule) for rule in self.rules]

    @cached_property
    def flag(self) -> Any:
        """One whole number on the device, which is 1 after a result was not finite."""
        return cuda.to_device(np.zeros(1, dtype=np.int64))

    def all_finite(self) -> bool:
        """Whether all results of all launches so far are finite."""
        return not self.flag.copy_to_host()[0]

    def launch(self, count: int, parameters: Sequence[Any], arrays: dict[str, Any]) -> None:
        """Compute so many points into arrays of shape ``(rows, width)``, the first columns."""
        width = arrays[self.copied[0]].shape[1]
        flat = {name: array.reshape(array.size) for name, array in arrays.items()}
        written = [flat[name] for name in results(self.plan)]
        sizes = (count, width, self.depth)
        given = (*sizes, *self.device_rules, self.flag, *parameters, *written)
        self.module.run[*self._rectangle(count)](*given)
        columns = self.depth + 1
        for p in self.plan.propagations:
            own = [flat[matrices_of(p.name)]]
            own += [flat[name] for name in [diagonal_slot(p.name)] if name in flat]
            kernel = getattr(self.module, f"propagate_{p.name}")
            kernel[*rectangle(count, columns)](*sizes, self.flag, *own, flat[p.name])

    def _rectangle(self, count: int) -> tuple[int, tuple[int, int], int, int]:
        """Return the launch of ``run``: blocks, points by threads per point, stream, memory."""
        most = MOST_SIMULATED if SIMULATED else MOST
        shares = threads_per_point(self.points, most=most) if self.plan.quadratures else 1
        blocks, points = threads_and_blocks(count, THREADS // shares)
        numbers = points * shares if shares > 1 else 0
        return blocks, (points, shares), 0, numbers * NUMBER


def rectangle(count: int, columns: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return blocks and threads for so many points and columns of a propagator."""
    across, down = min(COLUMNS[0], count), min(COLUMNS[1], columns)
    tall = -(-columns // down)
    return (max(-(-count // across), -(-LEAST_BLOCKS // tall)), tall), (across, down)


def run_blocks(kernels: Kernels, arguments: Arguments, wholes: dict[str, Any]) -> bool:
    """Compute all points of a grid; return whether all numbers are finite.

    Parameters
    ----------
    kernels : Kernels
        The plan of the routine.
    arguments : Arguments
        On which points.
    wholes : dict of str to array
        Where to, by output name (and diagonal): contiguous arrays of the host, points first, or
        arrays of shape (points, rows) on the device.

    Raises
    ------
    DeviceMemoryError
        If not even a small block fits.
    """
    rows, count = kernels.rows, arguments.count
    largest = max(rows[name] for name in kernels.copied)
    per_point = sum(value.size > 1 for value in arguments.parameters)
    per_point += sum(v.shape[-1] for v in arguments.layered if v.size > v.shape[-1])
    numbers = sum(rows.values()) + largest + per_point
    space: dict[str, Any] = {}

    def block(low: int, high: int, size: int) -> None:
        if "staging" not in space or space["staging"].size != size * largest:
            space.clear()
            space.update({name: memory.device_array((n, size)) for name, n in rows.items()})
            space["staging"] = memory.device_array((size * largest,))
        arrays = {name: space[name] for name in rows}
        given = [cuda.to_device(part) for part in sent(arguments, low, high)]
        kernels.launch(high - low, given, arrays)
        for name in kernels.copied:
            shape = (count, rows[name])
            _copy(arrays[name], space["staging"], wholes[name].reshape(shape)[low:high])

    memory.in_blocks(count, NUMBER * numbers, block)
    return kernels.all_finite()


def sent(arguments: Arguments, low: int, high: int) -> list[Array]:
    """Return the parameters of a block: one value or one per point, or a row of these per layer."""
    found = [_part(value, arguments.shape, low, high) for value in arguments.parameters]
    for value in arguments.layered:
        depth = value.shape[-1]
        rows = np.empty((depth, 1 if value.size == depth else high - low))
        for layer in range(depth):
            rows[layer] = _part(value[..., layer], arguments.shape, low, high)
        found.append(rows)
    return found


def _part(value: Array, shape: tuple[int, ...], low: int, high: int) -> Array:
    if value.size == 1:
        return np.array(value.reshape(1), dtype=float)
    return np.array(np.broadcast_to(value, shape).flat[low:high], dtype=float)


def _copy(source: Any, staging: Any, target: Any) -> None:
    """Transpose a block of rows into an array of shape (points, rows), of device or host."""
    if not isinstance(target, np.ndarray):
        transpose(source, target)
        return
    part = staging[: target.size]
    transpose(source, part.reshape(target.shape))
    part.copy_to_host(target.reshape(-1))
