"""Running the kernels of a routine: blocks of points in, arrays of the host or of the device out.

For arrays of the host the grid is streamed. Two workspaces take turns on two streams: while one is
copied to the host, the other computes. A parameter that was given on few axes of the grid stays on
the device for the whole run; one with a value for every point is sent block by block. Results are
transposed on the device, so that what is copied lands in the caller's array as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from resexpand.codegen.arguments import Arguments, Placed, placed, placed_layers
from resexpand.codegen.cuda import memory
from resexpand.codegen.cuda.arrays import (
    LEAST_BLOCKS,
    sendable,
    threads_and_blocks,
    transpose,
)
from resexpand.codegen.cuda.driver import matrices_of, results, rows_of
from resexpand.codegen.cuda.shares import MOST, THREADS, threads_per_point
from resexpand.codegen.cuda.target import SIMULATED
from resexpand.codegen.schedule import Schedule, diagonal_slot

MOST_SIMULATED = 2

COLUMNS = (32, 4)
"""Threads of a propagating block: points, and columns of the propagator."""


@dataclass
class Workspace:
    """Device memory for one block of points, and the stream that works on it."""

    size: int
    stream: Any
    arrays: dict[str, Any]
    parameters: dict[int, Any]
    staging: Any | None = None
    where: Any | None = None
    busy: tuple[int, int] | None = None


@dataclass
class Kernels:
    """The kernels of a routine at one depth, with everything that does not depend on the block.

    Parameters
    ----------
    module : module
        Generated text with ``run`` and ``propagate_<name>``.
    plan : Schedule
        What it computes.
    depth : int
        Number of blocks of the network.
    points : int
        Points of the whole grid.
    rules : sequence of ndarray
        Nodes and weights.
    number : type
        `numpy.float64` or `numpy.float32`.
    """

    module: Any
    plan: Schedule
    depth: int
    points: int
    rules: Sequence[NDArray[np.float64]]
    number: Any

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
        return [cuda.to_device(sendable(rule, self.number)) for rule in self.rules]

    @cached_property
    def flag(self) -> Any:
        """One whole number on the device, which is 1 after a result was not finite."""
        return cuda.to_device(np.zeros(1, dtype=np.int64))

    def all_finite(self) -> bool:
        """Whether all results of all launches so far are finite."""
        return not self.flag.copy_to_host()[0]

    def launch(
        self, count: int, where: Any, parameters: Sequence[Any], arrays: dict[str, Any], stream: Any
    ) -> None:
        """Compute so many points into arrays of shape ``(rows, width)``, the first columns."""
        width = arrays[self.copied[0]].shape[1]
        flat = {name: array.reshape(array.size) for name, array in arrays.items()}
        written = [flat[name] for name in results(self.plan)]
        taken = [_flat(array) for array in parameters]
        sizes = (count, width, self.depth)
        given = (*sizes, *self.device_rules, where, self.flag, *taken, *written)
        self.module.run[*self._rectangle(count, stream)](*given)
        columns = self.depth + 1
        for p in self.plan.propagations:
            blocks, threads = rectangle(count, columns)
            own = [flat[matrices_of(p.name)]]
            own += [flat[name] for name in [diagonal_slot(p.name)] if name in flat]
            kernel = getattr(self.module, f"propagate_{p.name}")
            kernel[blocks, threads, stream](*sizes, self.flag, *own, flat[p.name])

    def _rectangle(self, count: int, stream: Any) -> tuple[int, tuple[int, int], Any, int]:
        """Return the launch of ``run``: blocks, points by threads per point, stream, memory."""
        most = MOST_SIMULATED if SIMULATED else MOST
        shares = threads_per_point(self.points, most=most) if self.plan.quadratures else 1
        blocks, points = threads_and_blocks(count, THREADS // shares)
        numbers = points * shares if shares > 1 else 0
        return blocks, (points, shares), stream, numbers * np.dtype(self.number).itemsize


def rectangle(count: int, columns: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return blocks and threads for so many points and columns of a propagator."""
    across, down = min(COLUMNS[0], count), min(COLUMNS[1], columns)
    tall = -(-columns // down)
    return (max(-(-count // across), -(-LEAST_BLOCKS // tall)), tall), (across, down)


def _flat(array: Any) -> Any:
    """Return an array as one of one axis; what has one already may be strided."""
    return array if len(array.shape) == 1 else array.reshape(array.size)


def streamed(kernels: Kernels, arguments: Arguments, wholes: dict[str, NDArray[Any]]) -> bool:
    """Compute all points of a grid into arrays of the host; return whether all are finite.

    Parameters
    ----------
    kernels : Kernels
        What to run.
    arguments : Arguments
        On which points.
    wholes : dict of str to ndarray
        Where to: by output name (and diagonal), points first, contiguous.

    Raises
    ------
    DeviceMemoryError
        If not even a small block fits.
    """
    Stream(kernels, arguments, wholes).run()
    return kernels.all_finite()


class Stream:
    """One run over a grid."""

    def __init__(
        self, kernels: Kernels, arguments: Arguments, wholes: dict[str, NDArray[Any]]
    ) -> None:
        self.kernels, self.count = kernels, arguments.count
        self.wholes = wholes
        self.parameters = [placed(v, arguments.shape) for v in arguments.parameters]
        self.parameters += [placed_layers(v, arguments.shape) for v in arguments.layered]
        self.sent = [k for k, p in enumerate(self.parameters) if self._is_per_point(p)]
        self.resident: dict[int, Any] = {}

    def _is_per_point(self, parameter: Placed) -> bool:
        return parameter.repeat == 1 and parameter.period == self.count > 1

    @property
    def per_point(self) -> int:
        """Bytes of a block for each of its points."""
        rows = self.kernels.rows
        numbers = sum(rows.values()) + max(rows[name] for name in self.kernels.copied)
        numbers += sum(self.parameters[k].values[..., 0].size for k in self.sent)
        return int(numbers * np.dtype(self.kernels.number).itemsize)

    def run(self) -> None:
        """Compute everything, in smaller blocks if memory runs out."""
        fixed = [p for k, p in enumerate(self.parameters) if k not in self.sent]
        held = sum(p.values.size for p in fixed) * np.dtype(self.kernels.number).itemsize
        size = memory.block_size(self.count, self.per_point, held, at_a_time=2)
        memory.in_smaller_blocks(self.count, size, self.per_point, self._blocks)

    def _blocks(self, start: int, stop: int, size: int) -> int:
        """Do the points from `start` on; return where memory ran out, or `stop`."""
        done = start
        spaces: list[Workspace] = []
        try:
            self._send_resident()
            several = stop - start > size
            spaces = [self._workspace(size) for _ in range(1 + several)]
            for turn, low in enumerate(range(start, stop, size)):
                space = spaces[turn % len(spaces)]
                # The workspace is free again once what it held has been copied.
                done = self._copied(space, done)
                self._started(space, low, min(low + size, stop))
            for space in sorted(spaces, key=lambda s: s.busy or (stop, stop)):
                done = self._copied(space, done)
        except memory.FAILURES as error:
            if not memory.is_out_of_memory(error):
                raise
        return done

    def _send_resident(self) -> None:
        for k, parameter in enumerate(self.parameters):
            if k not in self.sent and k not in self.resident:
                self.resident[k] = cuda.to_device(sendable(parameter.values, self.kernels.number))

    def _workspace(self, size: int) -> Workspace:
        number, rows = self.kernels.number, self.kernels.rows
        stream = cuda.stream()
        arrays = {
            name: memory.device_array((count, size), number, stream) for name, count in rows.items()
        }
        largest = max(rows[name] for name in self.kernels.copied)
        staging = memory.device_array((size * largest,), number, stream) if largest > 1 else None
        return Workspace(size, stream, arrays, {}, staging)

    def _started(self, space: Workspace, low: int, high: int) -> None:
        """Send the parameters of a block and launch its kernels."""
        where = np.empty((len(self.parameters), 3), dtype=np.int64)
        given = []
        for k, parameter in enumerate(self.parameters):
            if k in self.sent:
                part = sendable(parameter.values[..., low:high], self.kernels.number)
                space.parameters[k] = cuda.to_device(part, stream=space.stream)
                where[k] = 0, 1, high - low
            else:
                where[k] = low, parameter.repeat, parameter.period
            given.append(space.parameters[k] if k in self.sent else self.resident[k])
        # Kept until the block is done: not every allocator waits for kernels before it takes back.
        space.where = cuda.to_device(where, stream=space.stream)
        self.kernels.launch(high - low, space.where, given, space.arrays, space.stream)
        space.busy = (low, high)

    def _copied(self, space: Workspace, done: int) -> int:
        """Copy the finished block of a workspace to the host; return up to where all is there."""
        if space.busy is None:
            return done
        low, high = space.busy
        count, stream = high - low, space.stream
        for name in self.kernels.copied:
            rows = self.kernels.rows[name]
            target = self.wholes[name].reshape(self.count, rows)[low:high].reshape(-1)
            source = space.arrays[name]
            if rows == 1 or space.staging is None:
                flat = source.reshape(source.size)[:count]
            else:
                flat = space.staging[: count * rows]
                transpose(source, flat.reshape((count, rows)), count, stream)
            flat.copy_to_host(target, stream=stream)
        stream.synchronize()
        space.busy = None
        return high
