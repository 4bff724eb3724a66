r"""Which tensors of a forward pass come from which: how an addition is known to be residual.

Every tensor that a function returns is a node. Sets of nodes are integers, a bit per node. A node
knows three sets:

    past      nodes that it was computed from
    mixed     those from which a contraction (linear map, convolution, product of activations) lies
              on the way
    same      nodes of which it is a copy (a view, another precision, a multiple), or to which it
              adds branches: the stream that leads to it

An addition ``u + g`` is residual if g depends on the stream of u through a contraction,
``(u or same(u)) & mixed(g)``. So two projections of one tensor that are added are not a residual
block, nor is ``x + c x^3`` within an activation, nor the sum of two embeddings; and an attention
block beside a multilayer perceptron, ``x + a(x) + m(x)``, is one.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

KEPT_DEAD = 4096
"""Nodes of tensors that are gone, after which the table is cleaned."""


@dataclass(frozen=True)
class Node:
    """A tensor of the forward pass.

    Attributes
    ----------
    bit : int
        Its own number, as a set.
    past, mixed, same : int
        Sets of other nodes, as the module explains.
    """

    bit: int
    past: int = 0
    mixed: int = 0
    same: int = 0

    @property
    def stream(self) -> int:
        """The node and those it continues."""
        return self.bit | self.same


class Flow:
    """The nodes of a forward pass; tensors are not kept alive.

    Attributes
    ----------
    count : int
        Number of nodes so far; the bit of the next one.
    """

    def __init__(self) -> None:
        self._nodes: dict[int, tuple[weakref.ref[Any], Node]] = {}
        self.count = 0
        self._clean_at = KEPT_DEAD

    def of(self, tensor: Any) -> Node | None:
        """Return the node of a tensor, None for weights and what came from elsewhere."""
        entry = self._nodes.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None

    def derive(self, tensor: Any, sources: Iterable[Node], *, contracts: bool) -> Node:
        """Note a tensor that was computed from others."""
        past = mixed = 0
        for node in sources:
            past |= node.past | node.bit
            mixed |= node.mixed
        return self._note(tensor, past, past if contracts else mixed, 0)

    def copy(self, tensor: Any, source: Node) -> Node:
        """Note a tensor that is another one in a different guise."""
        return self._note(tensor, source.past | source.bit, source.mixed, source.stream)

    def extend(self, tensor: Any, stream: Node, branch: Node) -> Node:
        """Note the sum of a stream and a branch."""
        past = stream.past | stream.bit | branch.past | branch.bit
        return self._note(tensor, past, stream.mixed | branch.mixed, stream.stream)

    def _note(self, tensor: Any, past: int, mixed: int, same: int) -> Node:
        node = Node(1 << self.count, past, mixed, same)
        self.count += 1
        self._nodes[id(tensor)] = weakref.ref(tensor), node
        if len(self._nodes) > self._clean_at:
            self._nodes = {k: v for k, v in self._nodes.items() if v[0]() is not None}
            self._clean_at = len(self._nodes) + KEPT_DEAD
        return node


def is_residual(stream: Node | None, branch: Node | None) -> bool:
    """Whether a sum continues a stream by a function of it."""
    return stream is not None and branch is not None and bool(stream.stream & branch.mixed)
