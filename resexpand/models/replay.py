"""Carry out a branch as it was read, and compare: a reading that misses something is refused.

What computes a branch is recorded by name (`resexpand.models.recording`). A function without a name
there, such as a clamp or a constant that is added, would be left out without a word, so every
reading is carried out on the rows that the model itself had, in evaluation.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

from resexpand.errors import UnsupportedError
from resexpand.models.branch_parts import Reading, Repeated, number
from resexpand.models.functions import terms_of
from resexpand.models.state import run
from resexpand.models.tensor_tracing import Node
from resexpand.models.watching import Place, Sum, Watch, watching
from resexpand.network.scale import Scale

ROWS, POSITIONS = 64, 4096
"""Tokens, and positions of whole images, that are compared."""

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


def kept_rows(torch: Any, model: Any, batch: Any) -> dict[Place, list[Rows]]:
    """Run a model in evaluation and keep the first rows of every term of every block."""
    found: dict[Place, list[Rows]] = {}

    def measured(place: Place, sum_: Sum) -> None:
        keeps = _images if sum_.kind == "convolution" else _rows
        own = [keeps(t) for t in (sum_.stream, sum_.branch)]
        bound = COARSE if torch.finfo(sum_.branch.dtype).bits < 32 else SAME
        found[place] = [
            Rows(own[0], sum_.factor * term, bound)
            for term in (keeps is _rows and sum_.term_rows) or own[1:]
        ]

    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    with watching(torch, model, measured, Keeping):
        run(torch, model, batch)
    for module, mode in modes:
        module.training = mode
    return found


def _rows(tensor: Any) -> Any:
    # A copy, since the sum may be in place.
    return tensor.reshape(-1, tensor.shape[-1])[:ROWS].double().clone()


def _images(tensor: Any) -> Any:
    """Return the first inputs, channels last."""
    count = max(1, POSITIONS // max(1, tensor[0, 0].numel()))
    return tensor[:count].movedim(1, -1).double().clone()


class Keeping(Watch):
    """Keeps rows of both terms of sums, for branches that are sums of functions themselves."""

    def _begin(self) -> None:
        super()._begin()
        self._terms: dict[int, tuple[Any, ...]] = {}

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Carry out a function and keep what it adds."""
        terms = terms_of(getattr(function, "__name__", ""), args, kwargs, self._tensor)
        kept: tuple[Any, ...] = ()
        if terms is not None and terms[0].is_floating_point():
            *both, factor = terms
            for node, own in zip(map(self._input, both), both, strict=True):
                kept += self._terms_of(node) or (_rows(own).clone(),)
            kept = (*kept[:-1], factor * kept[-1])
        sums = len(self._sums)
        result = super().call(function, args, kwargs)
        if kept and len(self._sums) == sums:
            self._terms[self._input(result).bit] = kept
        return result

    def _terms_of(self, node: Node) -> tuple[Any, ...]:
        return next((kept for bit, kept in self._terms.items() if bit & node.stream), ())

    def _residual(self, first: Any, second: Any, factor: float) -> Any:
        found = super()._residual(first, second, factor)
        if found is None:
            return None
        sum_, stream, branch = found
        return replace(sum_, term_rows=self._terms_of(branch)), stream, branch


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
        _settle_attention(name, reading, rows, skip)
        return
    for swaps in itertools.product((False, True), repeat=len(reading.choices)):
        for choice, swapped in zip(reading.choices, swaps, strict=True):
            choice.swapped = swapped
        if _misses(reading, rows.stream / skip, rows) <= rows.bound:
            reading.swap()
            return
        miss = _misses(reading, rows.stream, rows)
        if skip != 1 and miss <= rows.bound:
            reading.swap()
            reading.parts.insert(0, Scale(number(skip)))
            return
    what = ", ".join(getattr(part, "kind", "Linear") for part in reading.parts)
    raise UnsupportedError(
        f"a description of {name}",
        f"the parts that were read, {what}, give something else than its branch (relative "
        f"difference {miss:.2g}): it holds a further function or factor, or reads another tensor",
        "profile(model, batch) needs no description",
    )


def _settle_attention(name: str, reading: Reading, rows: Rows, skip: float) -> None:
    """Require the branch of the first token, where it reads itself alone: its own value.

    Heads are of a size that is not known; all are tried where it matters.
    """
    if not any(op.attends and op.causal for op in reading.operations):
        reading.notes.append("attention to all tokens is described as it was read, unchecked")
        return
    first = Rows(rows.stream[:1], rows.branch[:1], rows.bound)
    place, repeated = next(
        (k, step) for k, step in enumerate(reading.steps) if isinstance(step, Repeated)
    )
    for option in repeated.options():
        reading.steps[place], reading.parts[place] = option, option.values
        for stream in {1.0, skip}:
            if _misses(reading, first.stream / stream, first) <= rows.bound:
                return
    raise UnsupportedError(
        f"a description of {name}",
        "the first token, which reads itself alone, gets something else than the map of values and "
        "what follows: the branch holds more than that",
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
