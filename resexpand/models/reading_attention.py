"""Read attention: its values and what follows; queries and keys make its weights.

Attention is described by uniform weights, the limit of independent queries and keys of products
divided by their number; how far a model is from it is said by the spread of its logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from resexpand.models.branch_parts import Map, Reading, Repeated, mean_square, unknown
from resexpand.models.functions import ATTENTIONS, MAPS
from resexpand.models.recording import attends
from resexpand.models.tensor_tracing import Node
from resexpand.models.watching import Event
from resexpand.network.attention import Attention

LINEAR = ("Linear", "Conv1D")
"""Ends of the names of classes of linear maps."""

Modules = dict[str, Any]
Read = Callable[[Reading, Iterable[Event]], None]
Parts = tuple[Map, Map | None, list[Map], int, Sequence[Event]]
"""Values, the map they are packed in, queries and keys, inputs of the map behind, events behind."""


def attention_in(torch: Any, modules: Modules, events: Sequence[Event]) -> int | None:
    """Return the place of the event where tokens read each other; None if there is none."""
    for place, event in enumerate(events):
        whole = event.module and isinstance(modules[event.module], torch.nn.MultiheadAttention)
        if attends(event) or whole:
            return place
    return None


def read_attention(
    read: Read,
    reading: Reading,
    modules: Modules,
    events: tuple[Event, ...],
    place: int,
    causal: bool,
) -> None:
    """Read what leads to the values, the average over tokens, and what follows.

    Queries and keys, and what stands in the attention, are left out.

    Parameters
    ----------
    read : callable
        Adds events to a reading, one after the other.
    reading : Reading
        What is read.
    modules : dict
        Of the model, by path.
    events : tuple of Event
        Of the branch.
    place : int
        Of the attention among them.
    causal : bool
        Whether tokens read those before them alone.

    Raises
    ------
    UnsupportedError
        If its values are no linear map of the tokens.
    """
    whole = events[place].module
    values, packed, sides, inner, after = (
        _of_module(read, reading, modules[whole], whole, events, place)
        if whole
        else _of_functions(read, reading, modules, events, place)
    )
    sizes = [mean_square(side.weight) for side in sides]
    reading.spread = (sizes[0] * sizes[1]) ** 0.5 if len(sizes) == 2 else float("nan")
    reading.add(Attention(1, logits="1/d", tied=False, causal=causal))
    reading.add(values, Repeated(values, inner, packed))
    read(reading, after)
    if any(op.noise for op in reading.operations):
        raise unknown(values.name, "dropout in training beside attention")


def _of_module(
    read: Read, reading: Reading, module: Any, path: str, events: tuple[Event, ...], place: int
) -> Parts:
    """Return the maps of PyTorch's own attention."""
    read(reading, events[:place])
    if module.in_proj_weight is None:
        raise unknown(path, "attention whose queries, keys and values have other sizes")
    packed = Map(f"{path}.in_proj", module.in_proj_weight, module.in_proj_bias)
    values, sides = _unpacked(packed, module.embed_dim)
    out = Event("", f"{path}.out_proj", 0, 0)
    return values, packed, sides, module.embed_dim, [out, *events[place + 1 :]]


def _of_functions(
    read: Read, reading: Reading, modules: Modules, events: tuple[Event, ...], place: int
) -> Parts:
    """Return the maps of attention that was written out."""
    end, value = _values(events, place)
    way, beside = value.past | value.bit, Reading()
    read(reading, [event for event in events[:place] if event.made & way])
    read(beside, [e for e in events[:place] if not e.made & way and is_linear(modules, e)])
    if not reading.parts or not isinstance(reading.parts[-1], Map):
        raise unknown(_named(events), "attention whose values are no linear map")
    values = reading.parts.pop()
    reading.steps.pop()
    # Products with the weights of attention are part of it.
    after = [e for e in events[end + 1 :] if e.name not in MAPS or is_linear(modules, e)]
    ahead = Reading()
    read(ahead, [event for event in after if is_linear(modules, event)][:1])
    if not ahead.maps:
        raise unknown(_named(events), "attention without a linear map behind it")
    inner, sides, packed = int(ahead.maps[0].weight.shape[1]), beside.maps, None
    if not sides and len(values.weight) > inner:
        packed = values
        values, sides = _unpacked(packed, inner)
    return values, packed, sides, inner, after


def _values(events: tuple[Event, ...], place: int) -> tuple[int, Node]:
    """Return the place where an attention ends, and the node of its values."""
    event = events[place]
    if event.name in ATTENTIONS:
        return place, event.inputs[2]
    for k, later in enumerate(events[place + 1 :], start=place + 1):
        others = [n for n in later.inputs if not (n.past | n.bit) & event.made]
        if later.name in MAPS and len(later.inputs) == 2 and len(others) == 1:
            return k, others[0]
    raise unknown(_named(events), "attention whose values were not seen")


def _unpacked(packed: Map, inner: int) -> tuple[Map, list[Map]]:
    """Return the map of values, and those of queries and keys, of a packed one."""
    few = (len(packed.weight) - inner) // 2
    if few < 1 or inner + 2 * few != len(packed.weight):
        raise unknown(packed.name, "queries, keys and values of sizes that do not add up")
    sides = [packed.rows(0, inner), packed.rows(inner, inner + few)]
    return packed.rows(inner + few, None, " (values)"), sides


def is_linear(modules: Modules, event: Event) -> bool:
    """Whether an event is a linear map with weights."""
    if event.module:
        return type(modules[event.module]).__name__.endswith(LINEAR)
    return event.name in ("linear", "addmm") and bool(event.weights)


def _named(events: Sequence[Event]) -> str:
    """Return a module among events, for messages."""
    return next((event.module for event in events if event.module), "the branch")
