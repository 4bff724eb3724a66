"""Record what computes a branch: modules that call no others, and functions outside of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from resexpand.models.functions import ATTENTIONS, MAPS, factor_of, tensors_in
from resexpand.models.watching import Event, Sum, Watch

RECORDED = MAPS | {
    *("relu", "relu_", "gelu", "silu", "tanh", "erf", "sin", "sigmoid", "leaky_relu", "elu"),
    *("softplus", "softmax", "layer_norm", "rms_norm", "batch_norm", "group_norm", "pow", "abs"),
    *("exp", "mul", "mul_", "div", "div_", "neg", "dropout"),
}
"""Functions that change a signal otherwise than by its form."""


class Recording(Watch):
    """Notes the events in front of every residual sum."""

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
            self._events.append(Event("", path, self._flow.count))

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Carry out a function and note it."""
        name, sums = getattr(function, "__name__", ""), len(self._sums)
        result = super().call(function, args, kwargs)
        if len(self._sums) > sums:  # what it does beside the sum was noted by itself
            return result
        # The node of an input that nothing made is noted by the call, and comes before it.
        if name in RECORDED and not (name == "dropout" and _is_still(*args[1:], **kwargs)):
            given = list(tensors_in((args, kwargs), self._tensor))
            weights = tuple(t for t in given if isinstance(t, self._parameter))
            if name == "linear":
                weights = tuple(given[1:])  # parameters, or what is computed from them
            signals = [t for t in given if t.numel() > 1 and not isinstance(t, self._parameter)]
            is_product = name in ("mul", "mul_") and len(signals) > 1
            factor = factor_of(name, args)
            if not name.startswith("mul") or is_product or weights or factor is not None:
                event = Event(name, "", self._flow.count, weights, is_product, factor)
                self._events.append(event)
        return result

    def _residual(self, first: Any, second: Any, factor: float) -> Any:
        found = super()._residual(first, second, factor)
        if found is None:
            return None
        sum_, stream, branch = found
        # What came before the stream, an embedding or the norm behind the last block, is no part.
        oldest = (stream.stream & -stream.stream).bit_length()
        # A factor in front of the stream is none of the branch.
        own = [e for e in self._events if e.factor is None or not 1 << e.at - 1 & stream.stream]
        events = tuple(event for event in own if event.at > oldest)
        latest = max((bit for bit in self._sums if bit & stream.stream), default=0)
        noted: Sum = replace(
            sum_,
            reader=self._writer(stream),
            events=events,
            is_parallel=(stream.stream & branch.past) < latest,
        )
        self._events.clear()
        self._marks = [0] * len(self._marks)
        return noted, stream, branch


def _is_still(p: float = 0.5, training: bool = True, *rest: Any, **kwargs: Any) -> bool:
    """Whether dropout, called with these arguments, leaves out nothing."""
    return not training or not p


def attends(event: Event, kind: str) -> bool:
    """Whether an event is where tokens read each other."""
    return event.name in ATTENTIONS or (kind == "attention" and event.name == "softmax")
