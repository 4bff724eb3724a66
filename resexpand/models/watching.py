"""Watch a forward pass: every residual sum, the module it happens in, and the branch it adds.

Functions are seen through a mode of PyTorch (`torch.overrides.TorchFunctionMode`), which needs no
change of the model: in-place sums, keyword arguments, tuples and wrappers are what they are. Hooks
tell in which module a sum happens; they are removed when the context ends, however it ends.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from resexpand.models.functions import (
    ATTENTIONS,
    CONVOLUTIONS,
    MAPS,
    PRODUCTS,
    copied,
    is_number,
    tensors_in,
    terms_of,
)
from resexpand.models.fused import FUSED, fused
from resexpand.models.tensor_tracing import Flow, Node, is_residual


@dataclass(frozen=True)
class Place:
    """Where in a forward pass a residual sum happens.

    Attributes
    ----------
    module : str
        Path of the innermost module, empty for the model itself.
    child : str
        Path of the largest module called within it since the sum before; empty if there is none.
    turn : int
        How many times before this pass has been here.
    """

    module: str
    child: str
    turn: int


@dataclass(frozen=True)
class Event:
    """A call that computes a part of a branch.

    Attributes
    ----------
    name : str
        Of a function; empty for a module.
    module : str
        Path of a module that calls no other; empty for a function.
    weights : tuple of torch.Tensor
        Parameters among the arguments of a function.
    factor : float or None
        The number by which it multiplies.
    made, past : int
        Its results, as a set of nodes, and what they were computed from.
    inputs : tuple of Node
        Every activation that a function was given.
    products : bool
        Whether it joins two functions of the stream, by a product or a sum.
    owner : str
        Path of the module in which a function was called.
    """

    name: str
    module: str
    made: int
    past: int
    weights: tuple[Any, ...] = ()
    factor: float | None = None
    inputs: tuple[Node, ...] = ()
    products: bool = False
    owner: str = ""


@dataclass(frozen=True)
class Sum:
    """A residual sum ``stream + factor * branch``, before it is computed.

    Attributes
    ----------
    stream, branch : torch.Tensor
        Of one shape.
    factor : float
        In front of the branch.
    kind : str
        ``"attention"``, ``"convolution"``, ``"mlp"`` or ``"other"``, by what was called for it.
    writer : str
        Path of the module with weights whose output the branch is, up to its form and a factor.
    reader : str
        The same of the stream.
    terms : tuple of tuple of Event
        What was called for the branch, where that is recorded: for each of its terms, if it is a
        sum of several functions of the stream.
    term_rows : tuple of torch.Tensor
        Rows of these terms, where they are kept.
    is_parallel : bool
        Whether the branch does not depend on the block before it, where that is recorded.
    """

    stream: Any
    branch: Any
    factor: float
    kind: str
    writer: str = ""
    reader: str = ""
    terms: tuple[tuple[Event, ...], ...] = ()
    term_rows: tuple[Any, ...] = ()
    is_parallel: bool = False


Measured = Callable[[Place, Sum], Callable[[Any], None] | None]
"""Called before a residual sum; what it returns is called with the result."""


@dataclass
class Frame:
    """A module that is running."""

    path: str
    called: list[str] = field(default_factory=list)
    settled: int = 0
    is_leaf: bool = True


@dataclass
class Counts:
    """What was seen, for messages."""

    functions: int = 0
    sums: int = 0
    projected: int = 0
    scripted: int = 0


class Watch:
    """The state of one forward pass.

    Parameters
    ----------
    torch : module
        PyTorch.
    model : torch.nn.Module
        What runs.
    measured : callable
        What to do at residual sums.
    """

    def __init__(self, torch: Any, model: Any, measured: Measured) -> None:
        self._torch, self._tensor, self._measured = torch, torch.Tensor, measured
        self._parameter = torch.nn.Parameter
        self._size = {
            path: sum(p.numel() for p in module.parameters())
            for path, module in model.named_modules()
        }
        self.counts = Counts()
        self._begin()

    def _begin(self) -> None:
        """Forget the pass before."""
        self._flow, self._frames = Flow(), [Frame("")]
        self._turns: dict[tuple[str, str], int] = {}
        self._writers: dict[int, str] = {}
        self._kinds: list[tuple[int, str]] = []
        self._sums: list[int] = []

    def entered(self, path: str) -> None:
        """Note that a module begins."""
        if path:
            self._frames[-1].called.append(path)
            self._frames[-1].is_leaf = False
            self._frames.append(Frame(path))
        else:
            self._begin()

    def left(self, path: str, args: Any, kwargs: Any, output: Any) -> None:
        """Note that a module has ended; what no function made comes from its inputs."""
        if not path:
            return
        frame = self._frames.pop()
        sources = None
        for tensor in tensors_in(output, self._tensor):
            node = self._flow.of(tensor)
            if node is None:
                sources = self._nodes((args, kwargs)) if sources is None else sources
                node = self._flow.derive(tensor, sources, contracts=self._size[path] > 0)
            if frame.is_leaf and self._size[path]:
                self._writers[node.bit] = path

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Carry out a function and note its results."""
        name = getattr(function, "__name__", "")
        terms = self._fused(name, args, kwargs) or terms_of(name, args, kwargs, self._tensor)
        residual = None if terms is None else self._residual(*terms)
        finish = None
        if residual is not None:
            finish = self._measured(self._place(residual[0].writer), residual[0])
        result = function(*args, **kwargs)
        if residual is not None:
            self._sums.append(self._flow.extend(result, *residual[1:]).bit)
            if finish is not None:
                finish(result)
        else:
            self._note(name, args, kwargs, result)
        return result

    def _fused(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return both terms of a function that makes a branch and adds it; None for others.

        The branch is made beside what the model computes, which stays as it is.
        """
        if name.removesuffix("_") not in FUSED:
            return None
        parts = fused(name, args, kwargs, self._tensor)
        if parts is None or isinstance(parts.first, self._parameter):
            return None
        nodes = self._nodes(parts.sources)
        reached = 0
        for node in nodes:
            reached |= (node.past | node.bit) if parts.second[0] in MAPS else node.mixed
        if not self._input(parts.first).stream & reached and len(parts.second) > 1:
            return None
        second = parts.second[0]
        if len(parts.second) > 1:
            second = self.call(getattr(self._torch, parts.second[0]), parts.second[1:], {})
        if second.shape != parts.first.shape:
            return None
        (beta, alpha), first = parts.weights, parts.first
        if not is_number(beta) or beta != 1:
            first = self.call(self._torch.mul, (first, beta), {})
        if not is_number(alpha):
            second, alpha = self.call(self._torch.mul, (second, alpha), {}), 1
        return first, second, alpha

    def _residual(self, first: Any, second: Any, factor: float) -> tuple[Sum, Node, Node] | None:
        one, two = self._input(first), self._input(second)
        self.counts.sums += 1
        # The sum continues the term that the other one depends on.
        if is_residual(one, two):
            return Sum(first, second, factor, self._kind(one, two), self._writer(two)), one, two
        if is_residual(two, one):
            stream = second if factor == 1 else factor * second
            return Sum(stream, first, 1, self._kind(two, one), self._writer(one)), two, one
        common = one.past & two.past
        latest = 1 << (common.bit_length() - 1) if common else 0
        self.counts.projected += bool(latest & one.mixed & two.mixed)
        return None

    def _writer(self, branch: Node) -> str:
        """Return the module whose output a branch is."""
        bits = branch.stream
        return next((p for bit, p in reversed(self._writers.items()) if bit & bits), "")

    def _input(self, tensor: Any) -> Node:
        """Return the node of a tensor; one that nothing made is a node of its own."""
        return self._flow.of(tensor) or self._flow.derive(tensor, (), contracts=False)

    def _nodes(self, values: Any) -> list[Node]:
        return [
            self._input(tensor)
            for tensor in tensors_in(values, self._tensor)
            if not isinstance(tensor, self._parameter)
        ]

    def _note(self, name: str, args: Any, kwargs: Any, result: Any) -> None:
        made = list(tensors_in(result, self._tensor))
        if not made:
            return
        self.counts.functions += 1
        sources = self._nodes((args, kwargs))
        if name in MAPS:
            self._kinds.append((1 << self._flow.count, self._of_map(name, args)))
        original = copied(name, args, self._tensor, self._parameter) if len(made) == 1 else None
        if name == "__getitem__" and made[0].numel() == args[0].numel():
            original = args[0]  # x[None], or the one entry of an axis
        if original is not None and not isinstance(original, self._parameter):
            if self._flow.of(made[0]) is None or made[0] is original:
                self._flow.copy(made[0], self._input(original))
            return
        for tensor in made:
            # A function that returns what it was given (or a weight) makes nothing.
            if isinstance(tensor, self._parameter):
                continue
            if self._flow.of(tensor) is None or name.endswith("_"):
                self._flow.derive(tensor, sources, contracts=name in MAPS)

    def _of_map(self, name: str, args: Any) -> str:
        if name in ATTENTIONS:
            return "attention"
        if name in CONVOLUTIONS:
            return "convolution"
        factors = [n for n in map(self._flow.of, tensors_in(args, self._tensor)) if n is not None]
        products = name in PRODUCTS and sum(bool(node.past) for node in factors) > 1
        return "attention" if products else "mlp"

    def _base(self, stream: Node, branch: Node) -> int:
        """Return the last sum of the stream that a branch depends on, or where it begins."""
        shared = stream.stream & branch.past
        begin = stream.stream & -stream.stream
        return next((bit for bit in reversed(self._sums) if bit & shared), begin)

    def _kind(self, stream: Node, branch: Node) -> str:
        """Return the kind of a branch by the maps on the way to it."""
        base, past = self._base(stream, branch), branch.past | branch.bit
        own = itertools.takewhile(lambda made: made[0] > base, reversed(self._kinds))
        kinds = {kind for bit, kind in own if bit & past}
        return next((k for k in ("attention", "convolution", "mlp") if k in kinds), "other")

    def _place(self, writer: str) -> Place:
        frame = self._frames[-1]
        # Where two branches were computed before the first is added, the writer ends its own.
        places = reversed([*enumerate(frame.called, start=1)])
        end = next((k for k, path in places if f"{writer}.".startswith(f"{path}.")), 0)
        first = min(frame.settled, end - 1) if end else frame.settled
        own = frame.called[first : end or None]
        child = max(own, key=lambda path: self._size[path], default="")
        frame.settled = max(end or len(frame.called), frame.settled)
        turn = self._turns.get((frame.path, child), 0)
        self._turns[frame.path, child] = turn + 1
        return Place(frame.path, child, turn)


@contextmanager
def watching(
    torch: Any, model: Any, measured: Measured, watch_type: type[Watch] = Watch
) -> Iterator[Counts]:
    """Watch the forward passes of a model within the context.

    Parameters
    ----------
    torch : module
        PyTorch.
    model : torch.nn.Module
        The model; its own hooks stay.
    measured : callable
        Called with the `Place` and the `Sum` before every residual sum; may return a function that
        takes its result.
    watch_type : type
        `Watch`, or one that notes more.

    Yields
    ------
    Counts
        What was seen.
    """
    watch = watch_type(torch, model, measured)

    class Mode(torch.overrides.TorchFunctionMode):
        """Hands every function to the watch."""

        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            return watch.call(function, args, kwargs or {})

    def before(path: str) -> Any:
        return lambda module, args: watch.entered(path)

    def after(path: str) -> Any:
        return lambda module, args, kwargs, output: watch.left(path, args, kwargs, output)

    with ExitStack() as stack:
        for path, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                watch.counts.scripted += 1
                continue
            handle = module.register_forward_pre_hook(before(path), prepend=True)
            stack.callback(handle.remove)
            handle = module.register_forward_hook(after(path), with_kwargs=True)
            stack.callback(handle.remove)
        stack.enter_context(Mode())
        yield watch.counts
