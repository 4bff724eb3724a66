"""Interleaved timing: all contenders once per round, many rounds, medians and spread.

A shared machine slows down and speeds up in spells of seconds. Contenders timed in turn within a
round meet the same spell, so the ratio of two contenders is taken round by round and its median
reported; absolute times are medians too, with the quartiles beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Times = dict[str, NDArray[np.float64]]
Timed = Callable[[], float]


def clocked(work: Callable[[], object]) -> Timed:
    """Return a function that does the work and returns the seconds it took."""

    def timed() -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    return timed


def processed(work: Callable[[], object]) -> Timed:
    """Return a function that does the work and returns the seconds of processor time it took."""

    def timed() -> float:
        begin = time.process_time()
        work()
        return time.process_time() - begin

    return timed


def interleaved(contenders: Mapping[str, Timed], rounds: int, uncounted: int = 1) -> Times:
    """Time every contender once per round, after some rounds that are not counted."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(uncounted + rounds):
        for name, timed in contenders.items():
            seconds = timed()
            if number >= uncounted:
                times[name].append(seconds)
    return {name: np.array(seconds) for name, seconds in times.items()}


def spread(values: NDArray[np.float64]) -> dict[str, Any]:
    """Return the median, the quartiles, the extremes and the count of some numbers."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {
        "median": median,
        "quartiles": [low, high],
        "smallest": values.min(),
        "largest": values.max(),
        "count": values.size,
    }
