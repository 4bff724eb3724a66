"""Lines of a sampler that gather wide columns, on which a convolution acts as a linear map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from resexpand.errors import UnsupportedError
from resexpand.montecarlo.weights.law import ORTHOGONAL, WeightLaw
from resexpand.network.steps import Step

WIDE = "from resexpand.montecarlo.loops.positions import gather, scatter, wide_gram"
"""Import for networks with convolutions."""

GATHER = """\
            gather({source}, {wide}, {sheet}, width)"""


def is_wide(step: Step) -> bool:
    """Whether a step contracts over the neurons of several positions."""
    return step.contracts and step.op.over == "positions"


def wide_name(op: Any) -> str:
    """Return the name of the wide columns of an operation: by their number of pieces."""
    return f"wide_{len(op.offsets)}"


def sheet(step: Step) -> str:
    """Return the arguments that say how the positions of a step lie: shares, offsets, shape."""
    flat = len(step.op.positions) == 1
    offsets = ", ".join(str((0, *offset) if flat else offset) for offset in step.op.offsets)
    shape = (1, *step.op.positions) if flat else step.op.positions
    return f"laws[{step.position}], ({offsets},), {shape}, {step.op.circular}"


def gathering(step: Step, source: str) -> str:
    """Return the line that gathers wide columns."""
    return GATHER.format(source=source, wide=wide_name(step.op), sheet=sheet(step))


def with_wide(buffers: Mapping[str, str], steps: Iterable[Step]) -> dict[str, str]:
    """Return the arrays of a network, with wide columns and scratch space as wide as they are."""
    counts = sorted({len(step.op.offsets) for step in steps if is_wide(step)})
    if not counts:
        return dict(buffers)
    # The entry behind the last belongs to the bias.
    longest = f"padded({_length(counts[-1])} + 1)"
    wider = {
        name: text.replace("length)", f"{longest})")
        for name, text in buffers.items()
        if name in ("scratch", "back")
    }
    return {**buffers, **wider, **{f"wide_{n}": f"(carried, {_length(n)})" for n in counts}}


def _length(pieces: int) -> str:
    """Return the length of wide columns: longer than the others, even where there is one piece."""
    return f"padded({pieces} * length + 1)"


def require_law(steps: Iterable[Step], law: WeightLaw) -> None:
    """Refuse convolutions of rotations.

    Raises
    ------
    UnsupportedError
        If the weights are orthogonal.
    """
    for step in steps:
        if is_wide(step) and law == ORTHOGONAL:
            raise UnsupportedError(
                f"orthogonal weights of {step.op!r}",
                "the weights of several offsets are no rotation together",
                'use weights="gaussian", or Conv((0,), ...) for one offset',
            )
