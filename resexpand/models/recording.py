"""Record what computes a branch: modules that call no others, and functions outside of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from resexpand.models.functions import ATTENTIONS, MAPS, SUMS, factor_of, tensors_in
from resexpand.models.tensor_tracing import Node
from resexpand.models.watching import Event, Sum, Watch

PRODUCTS = ("mul", "mul_", "multiply")
RECORDED = (
    MAPS
    | set(SUMS)
    | {
        *("relu", "relu_", "gelu", "silu", "tanh", "erf", "sin", "sigmoid", "leaky_relu", "elu"),
        *("softplus", "softmax", "layer_norm", "rms_norm", "batch_norm", "group_norm", "pow"),
        *("exp", "abs", "glu", "div", "div_", "neg", "dropout", *PRODUCTS),
    }
)
"""Functions that change a signal otherwise than by its form."""


class Recording(Watch):
    """Notes the events of a forward pass, and hands to every residual sum those of its branch."""

    def _begin(self) -> None:
        super()._begin()
        self._events: list[Event] = []
        self._marks: list[int] = []

    def entered(self, path: str) -> None:
        """Note that a module begins."""
        super().entered(path)
        self._marks.append(len(self._events))

    def left(self, path: str, args: Any, kwargs: Any, output: Any) -> None:
        """Let a module that called no other stand for what it did."""
        is_leaf = self._frames[-1].is_leaf
        super().left(path, args, kwargs, output)
        mark = self._marks.pop()
        if path and is_leaf and (self._events[mark:] or self._size[path]):
            del self._events[mark:]
            self._events.append(Event("", path, *self._joined(output)))

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Carry out a function and note it."""
        name, sums = getattr(function, "__name__", ""), len(self._sums)
        given = list(tensors_in((args, kwargs), self._tensor)) if name in RECORDED else []
        signals = [t for t in given if t.numel() > 1 and not isinstance(t, self._parameter)]
        # Before it is carried out: in place, a function replaces what it was given.
        inputs = tuple(map(self._input, signals))
        result = super().call(function, args, kwargs)
        # What it does beside a residual sum was noted by itself.
        if name not in RECORDED or len(self._sums) > sums:
            return result
        weights = tuple(t for t in given if isinstance(t, self._parameter))
        if name == "linear":
            weights = tuple(given[1:])  # parameters, or what is computed from them
        factor = factor_of(name, args)
        joins = len(inputs) > 1
        is_idle = name in SUMS and not joins
        is_idle |= name in PRODUCTS and not (joins or weights or factor is not None)
        is_idle |= name == "dropout" and _is_still(*args[1:], **kwargs)
        if not is_idle:
            made = self._joined(result)
            owner = self._frames[-1].path
            self._events.append(Event(name, "", *made, weights, factor, inputs, owner=owner))
        return result

    def _joined(self, values: Any) -> tuple[int, int]:
        """Return the nodes of the tensors of a value, and those in front of them, as sets."""
        made = past = 0
        for tensor in tensors_in(values, self._tensor):
            node = self._input(tensor)
            made, past = made | node.bit, past | node.past
        return made, past

    def _residual(self, first: Any, second: Any, factor: float) -> Any:
        residual = super()._residual(first, second, factor)
        if residual is None:
            return None
        sum_, stream, branch = residual
        own = list(self._way(stream, branch))
        latest = max((bit for bit in self._sums if bit & stream.stream), default=0)
        noted: Sum = replace(
            sum_,
            reader=self._writer(stream),
            terms=tuple(_terms(own, branch.stream, branch.past | branch.bit)),
            is_parallel=(stream.stream & branch.past) < latest,
        )
        return noted, stream, branch

    def _way(self, stream: Node, branch: Node) -> Iterator[Event]:
        """Yield the events between the last stream that a branch depends on, and the branch.

        Neither what made the stream, such as an embedding or the norm behind the last block, nor
        what does not depend on it, such as masks and codes of positions, is among them.
        """
        base = self._base(stream, branch)
        whole = branch.past | branch.bit
        start = stream.stream & ~(base - 1)
        for event in self._events:
            if not event.made & whole or not event.past & start or not event.made & ~stream.stream:
                continue
            joined = sum(bool((node.past | node.bit) & start) for node in event.inputs)
            if event.name not in SUMS or joined > 1:
                yield replace(event, products=joined > 1 and event.name in (*PRODUCTS, *SUMS))


def _terms(events: list[Event], end: int, whole: int) -> Iterator[tuple[Event, ...]]:
    """Yield the events of every term of a branch that is a sum of functions of the stream.

    `end` are the nodes that the branch is a copy of, `whole` all that it was computed from.
    """
    own = [event for event in events if event.made & whole]
    place = next((k for k, e in reversed([*enumerate(own)]) if e.name in SUMS and e.made & end), -1)
    if place < 0:
        yield tuple(own)
        return
    # What follows the sum, such as a factor, acts on every term.
    for node in own[place].inputs:
        for term in _terms(own[:place], node.stream, node.past | node.bit):
            yield (*term, *own[place + 1 :])


def _is_still(p: float = 0.5, training: bool = True, *rest: Any, **kwargs: Any) -> bool:
    """Whether dropout, called with these arguments, leaves out nothing."""
    return not training or not p


def attends(event: Event) -> bool:
    """Whether an event is where tokens read each other."""
    return event.name in ATTENTIONS or event.name == "softmax"
