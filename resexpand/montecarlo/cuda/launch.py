"""How networks are drawn on a GPU: lanes, blocks in flight, memory, and what comes back.

One block of threads draws one network after another. Its lanes are as many as there are vectors of
four normals in a column, a power of two from 32 to 256: their number decides in which order sums
are formed, so it follows from the width alone. As many blocks are in flight as the device works on
at a time, or fewer where their memory does not fit; which block draws a network changes nothing.

The columns used most lie in shared memory, as far as they fit there, the others in one row of
global memory per block. Results of the networks are collected on the device and copied once.

Where memory runs out, blocks and networks per launch are halved until one of each is left.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from resexpand.codegen.cuda.device import require_cuda
from resexpand.codegen.cuda.memory import SHARE, free_bytes, is_out_of_memory
from resexpand.codegen.cuda.target import SIMULATED
from resexpand.errors import DeviceMemoryError
from resexpand.montecarlo.cuda.lanes import SUMS
from resexpand.montecarlo.lanes import Shape, memory_for, on_host
from resexpand.montecarlo.loops.columns import padded

Floats = NDArray[np.float64]

FEWEST_LANES, MOST_LANES = 32, 256
SIMULATED_LANES = 4
"""A simulated thread is one of Python."""

SHARED_BYTES = 48 * 1024
"""Of every device; more has to be asked for."""

THREADS = 1024
"""In flight on one multiprocessor, to begin with."""

LEAST_GROUPS = 1 if SIMULATED else 128
"""Blocks of a launch where memory allows it: of fewer Numba warns, and idle ones cost nothing."""

NUMBER = 8
"""Bytes."""

_ONE_AT_A_TIME = threading.Lock()
"""The memory of the device is for one batch; meanwhile other threads reduce what they got."""


@dataclass(frozen=True)
class Networks:
    """The networks of one ensemble on a device.

    Attributes
    ----------
    text : module
        The generated module, for the target ``"cuda"``.
    given : tuple of ndarray and int
        The arguments of `draw_networks` from `matrix` to `twin_roots`.
    """

    text: Any
    given: tuple[Any, ...]

    @cached_property
    def arguments(self) -> tuple[Any, ...]:
        """The given arguments, on the device."""
        return tuple(cuda.to_device(x) if isinstance(x, np.ndarray) else x for x in self.given)

    @cached_property
    def lanes(self) -> int:
        """Threads of a block."""
        return lanes_for(self.given[4])

    @cached_property
    def memory(self) -> tuple[int, int]:
        """Numbers that a network keeps in shared and in global memory."""
        matrix, _, _, added_to, width, scales, laws, _, twin_roots = self.given
        shapes = on_host(self.text.buffers)(matrix, added_to, width, scales, laws, twin_roots)
        return memory_for(SHARED_BYTES // NUMBER - SUMS * self.lanes, shapes)

    def draw(
        self,
        first: int,
        draws: int,
        keys: tuple[np.uint64, np.uint64],
        blocks: int,
        shapes: Mapping[str, Shape],
    ) -> dict[str, Floats]:
        """Draw networks and return what they leave behind.

        Parameters
        ----------
        first, draws : int
            Which networks.
        keys : tuple of np.uint64
        blocks : int
            Blocks of the branch that are read, L or L+1.
        shapes : mapping
            Of one network, by site; a site that is not wanted has a length of zero.

        Raises
        ------
        DeviceError
            If the process has no device: a worker on another machine, or one that was forked.
        DeviceMemoryError
            If one network does not fit on the device.
        """
        require_cuda("drawing networks with target='cuda'")
        per_network = NUMBER * max(sum(map(size_of, shapes.values())), 1)
        found = {site: np.empty((draws, *shape)) for site, shape in shapes.items()}
        with _ONE_AT_A_TIME:
            half = SHARE * free_bytes() / 2
            row = NUMBER * max(self.memory[1], 1)
            wanted = min(in_flight(self.lanes), max(draws, LEAST_GROUPS))
            groups = int(max(min(wanted, half // row), 1))
            batch = int(max(min(draws, half // per_network), 1))
            done = 0
            while done < draws:
                count = min(batch, draws - done)
                try:
                    part = self._batch(first + done, count, keys, blocks, shapes, groups)
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    if groups == 1 and batch == 1:
                        raise too_large(row, per_network) from error
                    groups, batch = max(groups // 2, 1), max(batch // 2, 1)
                    continue
                for site, values in part.items():
                    found[site][done : done + count] = values
                done += count
        return found

    def _batch(
        self,
        first: int,
        draws: int,
        keys: tuple[np.uint64, np.uint64],
        blocks: int,
        shapes: Mapping[str, Shape],
        groups: int,
    ) -> dict[str, Floats]:
        """Draw networks by one launch."""
        shared, remote = self.memory
        sizes = [draws * size_of(shape) for shape in shapes.values()]
        ends = np.cumsum([0, *sizes]).tolist()
        memory = cuda.device_array((groups, max(remote, 1)), np.float64)
        everything = cuda.device_array(max(ends[-1], 1), np.float64)
        _clear[CLEARING](everything)
        views = [
            everything[begin:end].reshape((draws, *shape)) if end > begin else _nothing(len(shape))
            for begin, end, shape in zip(ends, ends[1:], shapes.values(), strict=False)
        ]
        size = NUMBER * (shared + SUMS * self.lanes)
        kernel = self.text.draw_networks[groups, self.lanes, 0, size]
        kernel(first, draws, *keys, *self.arguments, memory, blocks, *views)
        flat = everything.copy_to_host()
        return {
            site: flat[begin:end].reshape((draws, *shape))
            for (site, shape), begin, end in zip(shapes.items(), ends, ends[1:], strict=False)
        }


CLEARING = (1, SIMULATED_LANES) if SIMULATED else (1024, MOST_LANES)
"""Blocks and threads that write zeros."""


def _cleared(flat: Any) -> None:
    for i in range(cuda.grid(1), flat.size, cuda.gridsize(1)):
        flat[i] = 0.0


_clear = cuda.jit(_cleared)


def _nothing(dimensions: int) -> Any:
    """Return an array of size zero, for a site that is not wanted."""
    return cuda.to_device(np.zeros((0,) * (dimensions + 1)))


def lanes_for(width: int) -> int:
    """Return the number of threads that draw a network of this width."""
    if SIMULATED:
        return SIMULATED_LANES
    vectors: int = on_host(padded)(width + 1) // 4
    return min(max(1 << (vectors - 1).bit_length(), FEWEST_LANES), MOST_LANES)


def in_flight(lanes: int) -> int:
    """Return how many blocks a device works on at a time."""
    if SIMULATED:
        return 2
    return int(cuda.get_current_device().MULTIPROCESSOR_COUNT) * (THREADS // lanes)


def size_of(shape: Shape) -> int:
    """Return the number of entries of an array."""
    return int(np.prod(shape, dtype=np.int64))


def too_large(row: int, per_network: int) -> DeviceMemoryError:
    """Return the error that says what one network needs and what there is."""
    return DeviceMemoryError(
        "drawing networks on the device, one at a time",
        f"a network needs {row:,} bytes for its columns and {per_network:,} for what is read off, "
        f"and {free_bytes():,.0f} are free",
        "free device memory, ask for fewer observables, or use target='cpu'",
    )
