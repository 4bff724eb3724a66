"""The residual blocks of a model: found on a batch, or those that are named.

A block adds something to a stream: ``x + f(x)``. It is found where that sum is computed
(`resexpand.models.tensor_tracing` says which sums count), so attention and multilayer perceptron of
a layer are two blocks. A named block is a module whose output is its input plus something, whatever
happens within.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from resexpand.errors import UnsupportedError
from resexpand.models.batches import batches_of
from resexpand.models.given import chosen_modules, following
from resexpand.models.library import torch_for
from resexpand.models.state import looked_at, run, unwrapped
from resexpand.models.watching import Counts, Measured, Place, Sum, watching


@dataclass(frozen=True)
class Block:
    """A residual block.

    Attributes
    ----------
    name : str
        Path of the module that makes the sum, or of the part of it that computes the branch where
        a module makes several sums; with a number where a pass comes there more than once.
    place : Place
        Where the sum happens.
    kind : str
        ``"attention"``, ``"convolution"``, ``"mlp"``, ``"other"``, or ``"given"``.
    shape : tuple of int
        Of the stream, on the first batch.
    writer : str
        Path of the module with weights whose output is the branch, up to its form and to a number
        as factor; empty if something else lies between.
    """

    name: str
    place: Place
    kind: str
    shape: tuple[int, ...]
    writer: str = ""


def named(places: Iterable[Place]) -> dict[Place, str]:
    """Return a name for every place, in the order given."""
    own = list(dict.fromkeys(places))
    sums = Counter(place.module for place in own if not place.turn)
    names = {}
    for place in own:
        several = sums[place.module] > 1 or not place.module
        name = (place.child if several else place.module) or place.module or "model"
        names[place] = f"{name} ({place.turn + 1})" if place.turn else name
    taken: Counter[str] = Counter()
    for place, name in names.items():
        taken[name] += 1
        if taken[name] > 1:
            names[place] = f"{name}, sum {taken[name]}"
    return names


def watched(
    torch: Any, model: Any, measured: Measured, blocks: Any = None
) -> AbstractContextManager[Counts]:
    """Return the context in which residual sums are measured: all, or those of named blocks."""
    if blocks is None:
        return watching(torch, model, measured)
    return following(torch, model, chosen_modules(model, blocks), measured)


def find_blocks(model: Any, batch: Any, blocks: Any = None) -> tuple[Block, ...]:
    """Find the residual blocks of a PyTorch model.

    Parameters
    ----------
    model : torch.nn.Module
        The model; it is run once, and left as it was.
    batch : tensor, tuple, dict, or iterable of these
        As for `resexpand.profile`; the first batch is used.
    blocks : sequence of str or torch.nn.Module, optional
        Modules that are taken as blocks instead.

    Returns
    -------
    tuple of Block
        In the order of the forward pass.

    Raises
    ------
    UnsupportedError
        If there is no residual block, or PyTorch is not installed.
    """
    torch = torch_for("the residual blocks of a model")
    model, _ = unwrapped(torch, model, "the residual blocks")
    sums: dict[Place, tuple[str, tuple[int, ...], str]] = {}

    def measured(place: Place, sum_: Sum) -> None:
        sums[place] = sum_.kind, tuple(sum_.stream.shape), sum_.writer

    with looked_at(torch, model, 0), watched(torch, model, measured, blocks) as counts:
        run(torch, model, next(batches_of(torch, batch, model)))
    if not sums:
        raise none_found(model, counts)
    return tuple(Block(name, place, *sums[place]) for place, name in named(sums).items())


def none_found(model: Any, counts: Counts) -> UnsupportedError:
    """Return the error that says what was looked at."""
    modules = sum(1 for _ in model.modules())
    seen = (
        f"in {modules} modules {counts.functions} functions were seen, {counts.sums} of them sums "
        f"of two tensors of one shape, none of them of a tensor and a function of it with weights"
    )
    if counts.projected:
        seen += f"; {counts.projected} add two functions of one tensor, as projected shortcuts do"
    if not counts.functions:
        seen += "; compiled or scripted code cannot be seen"
    remedy = "name them: blocks=[...], modules whose output is their input plus something"
    return UnsupportedError(f"the residual blocks of {type(model).__name__}", seen, remedy)
