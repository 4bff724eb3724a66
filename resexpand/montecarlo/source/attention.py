"""Lines of a sampler for attention: queries, weights, and the sums over tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from resexpand.network.operation import Map
from resexpand.network.steps import Step

ATTENTION = """\
from resexpand.montecarlo.loops.attention import (
    add_image, attend, attend_back, attend_moved, write_weights,
)"""
"""Import for networks with attention."""

FORWARD = '''
@chunk
def attention_{j}(source, target, queries, attention, biased, width, law, place, scratch):
    """Write sums over the tokens of every input."""
    linear(source, queries, biased, width, (law[0], 0.0), place, np.int64({j}), scratch)
    write_weights(queries, attention, width, {form})
    attend(source, target, attention)
'''

BACKWARD = '''
@chunk
def gradients_{j}(
    kept, g, queries, attention, moved, image, biased, width, law, place, back
):
    """Take gradients back through sums over tokens and their weights."""
    write_weights(queries, attention, width, {form})
    attend_back((kept, queries), g, image, attention, moved, width, {form})
    transposed(kept, g, biased, width, (law[0], 0.0), place, np.int64({j}), back)
    add_image(g, image, width)
'''


def attends(step: Step) -> bool:
    """Whether a step sums over tokens with weights made of queries."""
    return not step.contracts and bool(step.op.attends)


def forward_text(j: int, op: Map) -> str:
    """Return the function that takes the inputs through attention j."""
    return FORWARD.format(j=j, form=_form(op))


def forward_call(j: int, source: str, target: str) -> str:
    """Return its call."""
    place = "(key0, key1, layer, draw)"
    work = f"queries, attention, biased, width, laws[{j}], {place}, scratch"
    return f"attention_{j}({source}, {target}, {work})"


def moved_call(op: Map, source: str, target: str) -> str:
    """Return the call that takes one tangent per column along."""
    columns = f"({source}, queries, {target})"
    return f"attend_moved({columns}, tangents_at, attention, moved, width, {_form(op)})"


def backward_text(j: int, op: Map) -> str:
    """Return the function that takes gradients back through attention j."""
    return BACKWARD.format(j=j, form=_form(op))


def backward_call(j: int, layer: str, columns: str) -> str:
    """Return its call."""
    work = f"asked[{layer}, {j}], attention, moved, image, biased, width, laws[{j}], place, back"
    return f"gradients_{j}(sought[{layer}, {j}], {columns}, {work})"


def keeping(j: int, source: str) -> str:
    """Return the lines that keep all columns in front of attention j, and queries of the inputs."""
    kept = f"keep({source}, sought[layer - 1, {j}])"
    return f"{kept}\n{'':12}keep(queries, asked[layer - 1, {j}])"


def buffers_of(steps: Iterable[Step], gradients: bool) -> dict[str, str]:
    """Return the arrays that attention takes; `gradients`: also on the way back."""
    ops: list[Any] = [step.op for step in steps if attends(step)]
    if not ops:
        return {}
    table = f"(inputs, np.int64({math.prod(ops[0].positions)}))"
    found = {"queries": "(carried, length)", "attention": table, "moved": table}
    back = {
        "image": "(inputs, length)",
        "asked": "(depth + 1, laws.shape[0], inputs, length)",
        "sought": "(depth + 1, laws.shape[0], carried, length)",
    }
    return found | (back if gradients else {})


def _form(op: Any) -> str:
    return f"{op.softmax}, {op.causal}"
