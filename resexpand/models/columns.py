"""Which columns of a stream blocks couple: tokens, positions of images, inputs of a batch."""

from __future__ import annotations

import math

from resexpand.models.branch_parts import Reading
from resexpand.models.convolutions import Convolution
from resexpand.models.watching import Sum

COLUMNS, OF_BATCH = 2048, 256
"""Columns of images in the kernel in front of the first block, and where blocks normalise over a
batch, whose averages take all columns at once; one image at least."""


def are_images(sums: list[Sum]) -> bool:
    """Whether channels stand first, in front of positions."""
    return any(sum_.kind == "convolution" for sum_ in sums)


def positions_of(sums: list[Sum], readings: list[Reading]) -> tuple[int, ...] | None:
    """Return the positions of an input, if blocks couple them."""
    shape = tuple(sums[0].branch)
    if not are_images(sums):
        return shape[1:2] if any(r.spread is not None for r in readings) else None
    couples = any(isinstance(part, Convolution) for r in readings for part in r.parts)
    return shape[2:] if couples or _has_batches(readings) else None


def _has_batches(readings: list[Reading]) -> bool:
    return any(op.over == "batch" for reading in readings for op in reading.operations)


def columns_of(sums: list[Sum], readings: list[Reading], notes: list[str]) -> int:
    """Return how many columns the kernel in front of the first block holds; 0 for their mean."""
    positions, shape = positions_of(sums, readings) or (), tuple(sums[0].branch)
    inputs = shape[0] if are_images(sums) else math.prod(shape[:-1])
    count, has_batches = math.prod(positions), _has_batches(readings)
    if not has_batches and not are_images(sums):
        return count if positions else 0
    if not positions and not has_batches:
        return 0
    taken: int = min(inputs, max(1, (OF_BATCH if has_batches else COLUMNS) // count))
    if has_batches and taken < inputs:
        notes.append(f"statistics of a batch are those of {taken} of its {inputs} inputs")
    return taken * count
