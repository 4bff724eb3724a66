"""Unlabelled rooted trees: one object per isomorphism class.

Trees are interned: building the same tree twice gives the same object, so that equality is
identity and sharing is free. The canonical order, in which children stand and `trees` lists, is by
number of vertices, then number of children of the root, then the children in turn. A chain comes
first among the trees of its order, the bush (all leaves at the root) last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain, combinations_with_replacement, groupby, product
from math import factorial, prod
from typing import Any, ClassVar

from resexpand.combinatorics.arguments import MAX_ORDER, check_memory, check_order
from resexpand.combinatorics.counting_series import rooted_tree_numbers
from resexpand.errors import DescriptionError

BYTES_PER_TREE = 500
"""Memory that one interned tree takes, its sort key and its place in the table included."""


class Tree:
    """An unlabelled rooted tree, immutable and interned.

    Parameters
    ----------
    children : iterable of Tree, optional
        The subtrees at the root, in any order; none for the tree of one vertex.

    Attributes
    ----------
    children : tuple of Tree
        In canonical order.
    order : int
        Number of vertices.
    symmetry : int
        Order of the automorphism group, ``|Aut T|``.
    factorial : int
        ``T!``, the product over all vertices of the size of the subtree there.

    Raises
    ------
    DescriptionError
        If a child is not a tree.

    Examples
    --------
    >>> leaf = Tree()
    >>> cherry = Tree([leaf, leaf])
    >>> cherry, cherry.order, cherry.symmetry, cherry.factorial
    (Tree([[][]]), 3, 2, 3)
    >>> Tree([cherry, leaf]) is Tree([leaf, cherry])
    True
    """

    __slots__ = ("children", "factorial", "key", "order", "symmetry")

    children: tuple[Tree, ...]
    order: int
    symmetry: int
    factorial: int
    key: tuple[Any, ...]
    """Key of the canonical order."""

    _known: ClassVar[dict[tuple[Tree, ...], Tree]] = {}

    def __new__(cls, children: Iterable[Tree] = ()) -> Tree:
        """Return the one tree that has these children."""
        given = tuple(children)
        for child in given:
            if not isinstance(child, Tree):
                raise DescriptionError(
                    f"a tree with the child {child!r}",
                    f"it is of type {type(child).__name__}",
                    "children are trees; Tree() is the tree of one vertex",
                )
        return cls._interned(tuple(sorted(given, key=lambda tree: tree.key)))

    @classmethod
    def _interned(cls, children: tuple[Tree, ...]) -> Tree:
        """Return the tree with children that stand in canonical order already."""
        found = cls._known.get(children)
        return cls._new(children) if found is None else found

    @classmethod
    def _new(cls, children: tuple[Tree, ...]) -> Tree:
        tree = object.__new__(cls)
        order = 1 + sum(child.order for child in children)
        copies = [len(list(equal)) for _, equal in groupby(children)]
        values = {
            "children": children,
            "order": order,
            "symmetry": prod(map(factorial, copies)) * prod(c.symmetry for c in children),
            "factorial": order * prod(child.factorial for child in children),
            "key": (order, len(children), tuple(child.key for child in children)),
        }
        for name, value in values.items():
            object.__setattr__(tree, name, value)
        return cls._known.setdefault(children, tree)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"trees are immutable: cannot set {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"trees are immutable: cannot delete {name}")

    def __reduce__(self) -> tuple[Any, ...]:
        return Tree, (self.children,)

    def __lt__(self, other: object) -> bool:
        return self.key < other.key if isinstance(other, Tree) else NotImplemented

    def __iter__(self) -> Iterator[Tree]:
        """Iterate over the subtrees at all vertices, in preorder: the tree itself first."""
        yield self
        for child in self.children:
            yield from child

    def __str__(self) -> str:
        return f"[{''.join(map(str, self.children))}]"

    def __repr__(self) -> str:
        return f"Tree({self})"


def trees(order: int) -> tuple[Tree, ...]:
    """Return all unlabelled rooted trees with a number of vertices, in canonical order.

    Parameters
    ----------
    order : int
        Number of vertices, from 1.

    Raises
    ------
    HyperparameterError
        If the order is not an integer of 1 or more.
    UnsupportedError
        If there are more trees than the memory of this machine would hold.

    Examples
    --------
    >>> [len(trees(order)) for order in range(1, 8)]
    [1, 1, 2, 4, 9, 20, 48]
    >>> print(*trees(4))
    [[[[]]]] [[[][]]] [[][[]]] [[][][]]
    """
    checked = check_order(order)
    check_tree_memory(checked)
    return trees_of_height(checked, checked)


def check_tree_memory(order: int) -> None:
    """Refuse the trees up to an order if they would not fit into memory."""
    count = sum(rooted_tree_numbers(min(order, MAX_ORDER))[1:])
    check_memory(f"the rooted trees up to order {order}", count, BYTES_PER_TREE, order > MAX_ORDER)


@cache
def trees_of_height(order: int, height: int) -> tuple[Tree, ...]:
    """Return the trees of an order with at most `height` vertices from the root to any leaf."""
    if height < 1:
        return ()
    found = [Tree._interned(children) for children in _forests(order - 1, height - 1)]
    return tuple(sorted(found, key=lambda tree: tree.key))


def _forests(vertices: int, height: int) -> Iterator[tuple[Tree, ...]]:
    """Generate the multisets of trees with a number of vertices in all, each in canonical order."""
    if height == 1:
        yield (Tree(),) * vertices
        return
    for sizes in _partitions(vertices):
        groups: Sequence[Iterable[tuple[Tree, ...]]] = [
            list(
                combinations_with_replacement(
                    trees_of_height(size, min(height, size)), len(list(equal))
                )
            )
            for size, equal in groupby(sizes)
        ]
        for parts in product(*groups):
            yield tuple(chain.from_iterable(parts))


def _partitions(number: int, least: int = 1) -> Iterator[tuple[int, ...]]:
    """Generate the partitions of a number into parts that do not decrease."""
    if number == 0:
        yield ()
    for part in range(least, number + 1):
        for rest in _partitions(number - part, part):
            yield (part, *rest)
