"""A task: chunks of networks that a worker draws with a sampler it builds once.

A worker receives the frozen description of the sampler and numbers of draws, and returns partial
sums. `resexpand.montecarlo.engine.make_sampler` remembers the samplers of a process.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from resexpand.errors import UnsupportedError
from resexpand.montecarlo.engine import make_sampler
from resexpand.montecarlo.jit import library_digest
from resexpand.montecarlo.runs.plan import NUMBERS_VERSION, Chunk
from resexpand.montecarlo.runs.sums import Sums
from resexpand.montecarlo.spec import SamplerSpec


class TaskResult(NamedTuple):
    """Result of a task: the sums of its chunks, and seconds spent building and drawing."""

    sums: list[Sums]
    building: float
    drawing: float


def draw(spec: SamplerSpec, library: str, chunks: tuple[Chunk, ...]) -> TaskResult:
    """Draw chunks: the one function that workers run.

    Parameters
    ----------
    spec : SamplerSpec
    library : str
        The `version` of the process that asks.
    chunks : tuple of Chunk

    Raises
    ------
    UnsupportedError
        If this worker has another version of the samplers, whose numbers may differ.
    """
    if library != version():
        raise UnsupportedError(
            "drawing networks on a worker",
            "its version of resexpand is not that of the process that asks",
            "install the same version everywhere",
        )
    begun = time.perf_counter()
    sampler = make_sampler(spec)
    built = time.perf_counter()
    sums = sampler.sums(chunks)
    return TaskResult(sums, built - begun, time.perf_counter() - built)


def version() -> str:
    """Return what samplers must share for their numbers to be the same."""
    return f"{NUMBERS_VERSION} {library_digest()}"
