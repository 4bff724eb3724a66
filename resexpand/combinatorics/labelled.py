"""Rooted trees with layer labels that strictly decrease from parent to child, up to isomorphism.

Children stand in the order of their shapes; among equal shapes the one with the larger labels
comes first. So a class is its shape together with the labels of the vertices in preorder, and this
pair is what equality and hashing use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, combinations_with_replacement, groupby, product
from math import factorial, prod
from typing import Any

from resexpand.combinatorics.arguments import (
    MAX_ORDER,
    check_count,
    check_countable,
    check_memory,
    check_order,
)
from resexpand.combinatorics.counting import class_count
from resexpand.combinatorics.tree import Tree, trees_of_height
from resexpand.errors import DescriptionError

BYTES_PER_CLASS = 400
"""Memory that one labelled tree takes, its labels and children included."""

COUNTED = 40
"""Orders up to this are counted exactly before an enumeration; above, the highest one alone."""

Choice = tuple[tuple["LabelledTree", ...], int]


class LabelledTree:
    """A rooted tree whose labels strictly decrease from parent to child, immutable.

    Parameters
    ----------
    label : int
        Label of the root, from 1.
    children : iterable of LabelledTree, optional
        The subtrees at the root, in any order, with smaller labels.

    Attributes
    ----------
    label : int
        Label of the root.
    children : tuple of LabelledTree
        In canonical order.
    order : int
        Number of vertices.
    symmetry : int
        ``|Aut(T, l)|``: permutations of vertices that keep root, edges and labels.
    shape : Tree
        The tree without labels.
    labels : tuple of int
        Labels in preorder; they belong to the vertices of `shape` in preorder.

    Raises
    ------
    DescriptionError
        If a label is not a positive integer or not below that of its parent.

    Examples
    --------
    >>> one, two = LabelledTree(1), LabelledTree(2)
    >>> LabelledTree(3, [one, two]), LabelledTree(3, [one, one]).symmetry
    (LabelledTree(3[2, 1]), 2)
    """

    __slots__ = ("children", "labels", "shape", "symmetry")

    children: tuple[LabelledTree, ...]
    labels: tuple[int, ...]
    shape: Tree
    symmetry: int

    def __init__(self, label: int, children: Iterable[LabelledTree] = ()) -> None:
        given = list(children)
        _check_labels(label, given)
        given.sort(key=lambda child: child.labels, reverse=True)
        given.sort(key=lambda child: child.shape.key)
        copies = Counter(given).values()
        symmetry = prod(map(factorial, copies)) * prod(child.symmetry for child in given)
        shape = Tree(child.shape for child in given)
        _fill(self, tuple(given), _joined(int(label), given), shape, symmetry)

    @property
    def label(self) -> int:
        """Label of the root."""
        return self.labels[0]

    @property
    def order(self) -> int:
        """Number of vertices."""
        return len(self.labels)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"labelled trees are immutable: cannot set {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"labelled trees are immutable: cannot delete {name}")

    def __reduce__(self) -> tuple[Any, ...]:
        return LabelledTree, (self.label, self.children)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LabelledTree):
            return NotImplemented
        return self.labels == other.labels and self.shape is other.shape

    def __hash__(self) -> int:
        return hash((self.labels, self.shape.order, len(self.children)))

    @property
    def key(self) -> tuple[Any, ...]:
        """Key of the canonical order: the shape, then the labels."""
        return self.shape.key, self.labels

    def __str__(self) -> str:
        inside = ", ".join(map(str, self.children))
        return f"{self.label}[{inside}]" if inside else str(self.label)

    def __repr__(self) -> str:
        return f"LabelledTree({self})"


def _check_labels(label: Any, children: Sequence[Any]) -> None:
    check_count(label, "label", least=1)
    for child in children:
        if not isinstance(child, LabelledTree):
            raise DescriptionError(
                f"a labelled tree with the child {child!r}",
                f"it is of type {type(child).__name__}",
                "children are labelled trees; LabelledTree(1) is one of a single vertex",
            )
        if child.label >= label:
            raise DescriptionError(
                f"a vertex with label {label} above one with label {child.label}",
                "labels strictly decrease from parent to child",
                "give the root a label above those of its children",
            )


def _joined(label: int, children: Iterable[LabelledTree]) -> tuple[int, ...]:
    return (label, *chain.from_iterable(child.labels for child in children))


def _fill(
    tree: LabelledTree,
    children: tuple[LabelledTree, ...],
    labels: tuple[int, ...],
    shape: Tree,
    symmetry: int,
) -> LabelledTree:
    write = object.__setattr__
    write(tree, "children", children)
    write(tree, "labels", labels)
    write(tree, "shape", shape)
    write(tree, "symmetry", symmetry)
    return tree


def labelled_trees(order: int, labels: int) -> tuple[LabelledTree, ...]:
    """Return one tree per class of labelled trees, in canonical order.

    Parameters
    ----------
    order : int
        Number of vertices, from 1.
    labels : int
        Labels are ``1 .. labels``.

    Returns
    -------
    tuple of LabelledTree
        Sorted by shape, then by the labels in preorder; empty where no tree can be labelled.

    Raises
    ------
    HyperparameterError
        If the order or the number of labels is not an integer that makes sense.
    UnsupportedError
        If there are more classes than the memory of this machine would hold.

    Examples
    --------
    >>> print(*labelled_trees(3, 3))
    3[2[1]] 2[1, 1] 3[1, 1] 3[2, 1] 3[2, 2]
    """
    size, count = check_order(order), check_count(labels)
    check_class_memory([size], count, BYTES_PER_CLASS)
    enumeration = _Enumeration()
    return tuple(
        tree
        for shape in trees_of_height(size, min(size, count))
        for label in range(1, count + 1)
        for tree in enumeration.rooted(shape, label)
    )


def check_class_memory(orders: Sequence[int], labels: int, bytes_each: int) -> None:
    """Refuse the classes of labelled trees of some orders if they would not fit into memory."""
    highest = max(orders)
    exact = [order for order in orders if order <= COUNTED]
    counted = exact if highest <= COUNTED else [*exact, min(highest, MAX_ORDER)]
    check_memory(
        f"the labelled trees of order {highest} with {labels} labels",
        sum(class_count(order, labels) for order in counted),
        bytes_each,
        is_least=highest > COUNTED,
    )
    if highest > MAX_ORDER:
        check_countable(highest)


class _Enumeration:
    """Labelled trees by shape and root label; subtrees are shared between them."""

    def __init__(self) -> None:
        self._rooted: dict[tuple[Tree, int], list[LabelledTree]] = {}
        self._choices: dict[tuple[Tree, int, int], list[Choice]] = {}

    def rooted(self, shape: Tree, label: int) -> list[LabelledTree]:
        """Return the trees of a shape with a given root label, sorted by their labels."""
        found = self._rooted.get((shape, label))
        if found is None:
            found = sorted(self._generate(shape, label), key=lambda tree: tree.labels)
            self._rooted[shape, label] = found
        return found

    def _generate(self, shape: Tree, label: int) -> Iterator[LabelledTree]:
        groups = [
            self._multisets(child, len(list(equal)), label)
            for child, equal in groupby(shape.children)
        ]
        for parts in product(*groups):
            children = tuple(chain.from_iterable(part[0] for part in parts))
            symmetry = prod(part[1] for part in parts)
            tree = object.__new__(LabelledTree)
            yield _fill(tree, children, _joined(label, children), shape, symmetry)

    def _multisets(self, shape: Tree, size: int, label: int) -> list[Choice]:
        """Return the multisets of trees of one shape below a label, with their symmetries."""
        key = shape, size, label
        if key not in self._choices:
            below = [tree for top in range(1, label) for tree in self.rooted(shape, top)]
            self._choices[key] = [
                (chosen[::-1], _symmetry(chosen))
                for chosen in combinations_with_replacement(below, size)
            ]
        return self._choices[key]


def _symmetry(chosen: tuple[LabelledTree, ...]) -> int:
    own = prod(tree.symmetry for tree in chosen)
    if len(chosen) == 1:
        return own
    # Equal trees are one object here and stand beside each other.
    return own * prod(factorial(len(list(equal))) for _, equal in groupby(chosen, key=id))
