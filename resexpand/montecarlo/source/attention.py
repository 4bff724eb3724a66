"""Lines of a sampler for attention: queries and keys, weights, and the sums over tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import sympy as sp

from resexpand.network.steps import Step

ATTENTION = """\
from resexpand.montecarlo.loops.attention import (
    KEYS, add_image, attend, attend_back, attend_moved,
)"""
"""Import for networks with attention."""

FORWARD = '''
@chunk
def attention_{j}(source, target, queries, keys, attention, biased, width, law, place, scratch):
    """Write sums over the tokens of every input."""
    key0, key1, layer, draw = place
    linear(source, queries, biased, width, (law[0], 0.0), place, np.int64({j}), scratch)
{untied}    attend((source, queries, keys, target), attention, width, {form})
'''

KEYS_FORWARD = """\
    apart = (key0, key1, layer + KEYS, draw)
    linear(source, keys, biased, width, (law[0], 0.0), apart, np.int64({j}), scratch)
"""

BACKWARD = '''
@chunk
def gradients_{j}(
    kept, g, asked, answered, attention, moved, answering, image, biased, width, law, place, back
):
    """Take gradients back through sums over tokens and their weights."""
    key0, key1, layer, draw = place
    attend_back((kept, asked, answered), (g, answering, image), attention, moved, width, {form})
{turned}    transposed(kept, g, biased, width, (law[0], 0.0), place, np.int64({j}), back)
{untied}    add_image(g, image, width)
'''

KEYS_BACKWARD = """\
    apart = (key0, key1, layer + KEYS, draw)
    transposed(kept, answering, biased, width, (law[0], 0.0), apart, np.int64({j}), back)
"""

ADDED = "    add_image(g, answering, width)\n"


def attends(step: Step) -> bool:
    """Whether a step sums over tokens with weights made of queries."""
    return not step.contracts and bool(step.op.attends)


def forward_text(j: int, op: Any) -> str:
    """Return the function that takes the inputs through attention j."""
    untied = "" if op.tied else KEYS_FORWARD.format(j=j)
    return FORWARD.format(j=j, form=_form(op), untied=untied)


def forward_call(j: int, op: Any, source: str, target: str) -> str:
    """Return its call."""
    place = "(key0, key1, layer, draw)"
    work = f"queries, {_keys(op)}, attention, biased, width, laws[{j}], {place}, scratch"
    return f"attention_{j}({source}, {target}, {work})"


def moved_call(op: Any, source: str, target: str) -> str:
    """Return the call that takes one tangent per column along."""
    columns = f"({source}, queries, {_keys(op)}, {target})"
    return f"attend_moved({columns}, tangents_at, attention, moved, width, {_form(op)})"


def backward_text(j: int, op: Any) -> str:
    """Return the function that takes gradients back through attention j."""
    untied = "" if op.tied else KEYS_BACKWARD.format(j=j) + ADDED
    turned = ADDED if op.tied else ""
    return BACKWARD.format(j=j, form=_form(op), untied=untied, turned=turned)


def backward_call(j: int, op: Any, layer: str, columns: str) -> str:
    """Return its call."""
    place = f"[{layer}, {j}]"
    asked = f"asked{place}, {'asked' if op.tied else 'answered'}{place}"
    work = f"{asked}, attention, moved, answering, image, biased, width, laws[{j}], place, back"
    return f"gradients_{j}(sought{place}, {columns}, {work})"


def keeping(j: int, op: Any, source: str) -> str:
    """Return the lines that keep all columns in front of attention j, and its queries and keys."""
    lines = [f"keep({source}, sought[layer - 1, {j}])", f"keep(queries, asked[layer - 1, {j}])"]
    lines += [] if op.tied else [f"keep(keys, answered[layer - 1, {j}])"]
    return f"\n{'':12}".join(lines)


def buffers_of(steps: Iterable[Step], gradients: bool) -> dict[str, str]:
    """Return the arrays that attention takes; `gradients`: also on the way back."""
    ops: list[Any] = [step.op for step in steps if attends(step)]
    if not ops:
        return {}
    table = f"(inputs, np.int64({math.prod(ops[0].positions)}))"
    kept = "(depth + 1, laws.shape[0], {}, length)"
    found = {"queries": "(carried, length)", "attention": table, "moved": table}
    back = {
        "image": "(inputs, length)",
        "answering": "(inputs, length)",
        "asked": kept.format("inputs"),
        "sought": kept.format("carried"),
    }
    if not all(op.tied for op in ops):
        found["keys"] = "(carried, length)"
        back["answered"] = kept.format("inputs")
    return found | (back if gradients else {})


def _keys(op: Any) -> str:
    return "queries" if op.tied else "keys"


def _form(op: Any) -> str:
    heads = "width" if op.heads == sp.oo else f"np.int64({op.heads})"
    return f"({heads}, {op.logits != '1/d'}, {op.softmax}, {op.causal})"
