"""The device's own rates, and how work on it is timed.

Times are taken by events around what is launched, after a round that is not counted. The rates are
roofs: pure Philox and Box-Muller normals summed in registers, independent fused multiply-adds, and
storing from the first to the last element.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray
from timing import spread

from resexpand.codegen.targets import cuda as target
from resexpand.montecarlo.cuda import lanes  # noqa: F401  what a thread is, for the normals
from resexpand.montecarlo.random.normals import normals4

KEY = 20
CHAINS = 8
"""Multiply-adds of a thread that do not wait for each other."""
SHORTEST = 1e-9
"""Seconds; the simulator takes no time."""


@dataclass(frozen=True)
class Scale:
    """Sizes of what is timed: those of real work, or tiny ones for the simulator."""

    threads: int
    blocks: int
    calls: int
    dense_widths: tuple[int, ...]
    widths: tuple[int, ...]
    depth: int
    seconds: float
    points: int
    cpu_points: int
    layers: int
    cases: tuple[tuple[str, int], ...]
    rounds: int


REAL = Scale(
    threads=256,
    blocks=132 * 8 * 4,
    calls=2000,
    dense_widths=(1024, 4096),
    widths=(256, 1024, 4096, 16384),
    depth=10,
    seconds=1.0,
    points=2**20,
    cpu_points=2**17,
    layers=100,
    cases=(("erf", 1), ("relu", 1), ("erf", 2), ("relu", 2)),
    rounds=5,
)
TINY = Scale(
    threads=4,
    blocks=2,
    calls=2,
    dense_widths=(8,),
    widths=(8,),
    depth=2,
    seconds=0.0,
    points=8,
    cpu_points=8,
    layers=2,
    cases=(("relu", 1),),
    rounds=2,
)


def by_events(launch: Callable[[], object]) -> float:
    """Return the seconds that the device spent on what was launched."""
    begin, end = cuda.event(), cuda.event()
    begin.record()
    launch()
    end.record()
    end.synchronize()
    return max(begin.elapsed_time(end) / 1000.0, SHORTEST)


class Launches:
    """A function of the device whose launches are timed by events."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._events: list[tuple[Any, Any]] = []

    def __getitem__(self, configuration: Any) -> Callable[..., None]:
        launch = self._kernel[configuration]

        def timed(*arguments: Any) -> None:
            begin, end = cuda.event(), cuda.event()
            begin.record()
            launch(*arguments)
            end.record()
            self._events.append((begin, end))

        return timed

    def seconds(self) -> float:
        """Return the seconds of all launches since the last call."""
        cuda.synchronize()
        spent = sum(begin.elapsed_time(end) for begin, end in self._events) / 1000.0
        self._events.clear()
        return max(spent, SHORTEST)


def repeated(timed: Callable[[], float], rounds: int) -> NDArray[np.float64]:
    """Return the times of some rounds, after one that is not counted."""
    timed()
    return np.array([timed() for _ in range(rounds)])


draw4 = target.bind(normals4)


@cuda.jit
def _sums_of_normals(out, calls, key):
    thread = cuda.grid(1)
    total = 0.0
    for call in range(calls):
        a, b, c, d = draw4(
            np.uint64(call), np.uint64(thread), np.uint64(0), np.uint64(0), key, np.uint64(1)
        )
        total += (a + b) + (c + d)
    out[thread] = total


@cuda.jit
def _multiply_add(out, calls, one):
    thread = cuda.grid(1)
    # Eight different numbers, or the compiler would do with one chain.
    a, b, c, d = one, one + one, one + one + one, -one
    e, f, g, h = -b, -c, one / b, one / c
    for _ in range(calls):
        a, b, c, d = a * one + one, b * one + one, c * one + one, d * one + one
        e, f, g, h = e * one + one, f * one + one, g * one + one, h * one + one
    out[thread] = (a + b + c + d) + (e + f + g + h)


@cuda.jit
def _fill(out, value):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = value


def normals(scale: Scale) -> dict[str, Any]:
    """Return the rate of pure normals, and a check that they are some."""
    threads = scale.threads * scale.blocks
    out = cuda.device_array(threads, dtype=np.float64)
    shape, key = (scale.blocks, scale.threads), np.uint64(KEY)
    seconds = repeated(
        lambda: by_events(lambda: _sums_of_normals[shape](out, scale.calls, key)), scale.rounds
    )
    count = 4 * threads * scale.calls
    return {
        "normals_per_second": spread(count / seconds),
        "deviation_of_the_mean": float(out.copy_to_host().sum() / count**0.5),
    }


def arithmetic(scale: Scale) -> dict[str, Any]:
    """Return the rates of fused multiply-adds and of storing."""
    threads, shape = scale.threads * scale.blocks, (scale.blocks, scale.threads)
    out = cuda.device_array(threads, dtype=np.float64)
    many = cuda.device_array(scale.points * scale.layers, dtype=np.float64)
    adds = repeated(
        lambda: by_events(lambda: _multiply_add[shape](out, scale.calls, 1.0)), scale.rounds
    )
    stores = repeated(lambda: by_events(lambda: _fill[shape](many, 1.0)), scale.rounds)
    return {
        "multiply_adds_per_second": spread(CHAINS * threads * scale.calls / adds),
        "stored_bytes_per_second": spread(many.nbytes / stores),
    }
