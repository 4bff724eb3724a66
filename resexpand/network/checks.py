"""Checks of a description of a network: what cannot follow each other, and names that clash."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from resexpand.errors import DescriptionError, UnsupportedError
from resexpand.network.branch import is_many
from resexpand.network.operation import Map, Operation, X

# fmt: off
ARGUMENTS = frozenset(
    {
        "control", "draws", "histograms", "inputs", "method", "net", "observables", "outputs",
        "progress", "seed", "shard", "store", "target", "theory", "until", "wait", "weights",
        "workers",
    }
)
# fmt: on
"""Names of arguments that take no hyperparameter."""


def split_read_out(read_out: object) -> tuple[tuple[Operation, ...] | None, object]:
    """Return the maps in front of a read-out, and its linear map."""
    if read_out is None or not isinstance(read_out, Sequence) or not read_out:
        return (None if read_out is None else ()), read_out
    *head, last = read_out
    for op in head:
        if not isinstance(op, Map):
            raise DescriptionError(
                f"{op!r} in front of the read-out", "it is no map", "give [Activation, Linear]"
            )
    for op in filter(lambda op: any(map(is_many, getattr(op, "values", ()))), read_out):
        raise DescriptionError(
            f"{op!r} in a read-out", "it has one value per block", "give one: it is no block"
        )
    return tuple(head), last


def check_blocks(net: Any) -> None:
    """Raise if the kinds of blocks cannot follow each other."""
    if len(net.kinds) > 1 and not net.depth.is_Integer:
        raise DescriptionError(
            f"{len(net.kinds)} kinds of blocks at depth {net.depth}",
            "which block comes last depends on the depth",
            "give the depth as a number",
        )
    for branch in net.kinds:
        curved = any(not step.op.is_linear for step in branch.opening)
        if curved and not net.is_gaussian:
            raise UnsupportedError(
                f"{branch!r} behind a branch that ends in an activation, or a shift of the stream",
                "an activation would act on a stream that is not Gaussian at infinite width",
                "begin or end the branches with a Linear()",
            )


def check_layers(net: Any) -> None:
    """Raise if the covariance between layers does not fit the blocks."""
    if net.layers is None:
        return
    net.layers.check_depth(net.depth)
    if len(net.kinds) > 1:
        raise UnsupportedError(
            f"layers={net.layers!r} of {len(net.kinds)} kinds of blocks",
            "weights of different kinds have no covariance",
            "give one Branch, with one value per parameter",
        )
    for op in net.kinds[0].ops:
        if op.over == "positions" or getattr(op, "gates", None) is not None:
            raise UnsupportedError(
                f"layers={net.layers!r} with {op!r}",
                "weights that couple positions, or make a copy, are drawn independently",
                "use Linear()",
            )


def check_positions(net: Any) -> None:
    """Raise if a read-in, read-out or post-norm would couple positions."""
    for name, op in (("read_in", net.read_in), ("read_out", net.read_out)):
        if op is not None and op.over != "neurons":
            raise UnsupportedError(
                f"{name}={op!r}", "it couples the positions of an input", "use a Linear there"
            )


def check_post_norm(op: object) -> None:
    """Raise if the map behind every block is not linear given its averages."""
    asked, remedy = f"post_norm={op!r}", "give LayerNorm() or RMSNorm()"
    if op is None:
        return
    if not isinstance(op, Map):
        raise DescriptionError(asked, "it is no map of the neurons", remedy)
    if op.expression.diff(X).has(X):
        why = "the stream of the next block would not be Gaussian at infinite width"
        raise UnsupportedError(asked, why, remedy)
    if op.noise or op.over != "neurons":
        couples = {"batch": "the inputs of a batch", "positions": "the positions of an input"}
        why = f"it couples {couples[op.over]}" if not op.noise else "it draws noise of its own"
        raise UnsupportedError(asked, why, remedy)
    if any(map(is_many, op.values)):
        raise UnsupportedError(asked, "it has one value per block", "give one for all blocks")


def check_head(net: Any) -> None:
    """Raise if no theory knows the maps in front of the read-out."""
    curved = [isinstance(op, Map) and not op.is_linear for op in net.head_ops or ()]
    if sum(curved) > net.is_gaussian:
        raise UnsupportedError(
            f"a read-out of {', '.join(map(repr, net.head_ops or ()))}",
            "an activation would act on what is not Gaussian at infinite width",
            "give one activation, behind a branch that ends in a Linear()",
        )


def check_names(net: Any) -> None:
    """Raise if two symbols share a name, or one has that of an argument: values go by name."""
    names = sorted(symbol.name for symbol in net.free_symbols)
    words = [*ARGUMENTS.intersection(names), *(["depth"] if "depth" in names else [])]
    if words and str(net.depth) != words[0]:
        raise DescriptionError(
            f"a symbol called {words[0]}",
            "a value is given by name, and calls have an argument of this name",
            f"rename it, for instance {words[0]}_value",
        )
    twice = [a for a, b in pairwise(names) if a == b]
    if twice:
        raise DescriptionError(
            f"two different symbols called {twice[0]}",
            "a value is given by name, and they differ in their assumptions",
            "use one SymPy symbol for both (the defaults are in resexpand.conventions)",
        )
