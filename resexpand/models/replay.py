"""Carry out a branch as it was read, and compare: a reading that misses something is refused.

What computes a branch is recorded by name (`resexpand.models.recording`). A function without a name
there, such as a clamp or a constant that is added, would be left out without a word, so every
reading is carried out on the rows that the model itself had, in evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from resexpand.errors import UnsupportedError
from resexpand.models.reading import Reading, number
from resexpand.models.state import run
from resexpand.models.watching import Place, Sum, watching
from resexpand.network.scale import Scale

ROWS = 64
"""Tokens that are compared."""

SAME = 0.01
"""Relative difference that rounding, or gelu by tanh, may make in single precision."""

COARSE = 0.05
"""The same in half precision."""


@dataclass(frozen=True)
class Rows:
    """Rows of a stream in front of a sum, and of what is added to them."""

    stream: Any
    branch: Any
    bound: float


def kept_rows(torch: Any, model: Any, batch: Any) -> dict[Place, Rows]:
    """Run a model in evaluation and keep the first rows of every block."""
    found: dict[Place, Rows] = {}

    def measured(place: Place, sum_: Sum) -> None:
        own = [t.reshape(-1, t.shape[-1])[:ROWS].double() for t in (sum_.stream, sum_.branch)]
        half = torch.finfo(sum_.branch.dtype).bits < 32
        found[place] = Rows(own[0], sum_.factor * own[1], COARSE if half else SAME)

    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    with watching(torch, model, measured):
        run(torch, model, batch)
    for module, mode in modes:
        module.training = mode
    return found


def settle(name: str, reading: Reading, rows: Rows, skip: float) -> None:
    """Require that the parts of a reading make the branch of the stream.

    Where the stream has a factor, a branch reads what stands in front of the factor, or behind it;
    then the factor becomes its first part. Attention is approximated, and not compared.

    Raises
    ------
    UnsupportedError
        If something lies between them that was not read.
    """
    if any(op.attends for op in reading.operations):
        return
    if _misses(reading, rows.stream / skip, rows) <= rows.bound:
        return
    miss = _misses(reading, rows.stream, rows)
    if skip != 1 and miss <= rows.bound:
        reading.parts.insert(0, Scale(number(skip)))
        return
    what = ", ".join(getattr(part, "kind", "Linear") for part in reading.parts)
    raise UnsupportedError(
        f"a description of {name}",
        f"the parts that were read, {what}, give something else than its branch (relative "
        f"difference {miss:.2g}): it holds a further function or factor, or reads another tensor",
        "profile(model, batch) needs no description",
    )


def _misses(reading: Reading, stream: Any, rows: Rows) -> float:
    """Return the size of what the reading misses, over that of the branch."""
    result = stream
    try:
        for step in reading.steps:
            result = step(result)
    except RuntimeError:  # their shapes do not follow each other
        return float("inf")
    if result.shape != rows.branch.shape:
        return float("inf")
    size, miss = float(rows.branch.norm()), float((result - rows.branch).norm())
    return miss / size if size else float(miss > 0)
