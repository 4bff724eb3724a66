"""Unlabelled trees: known numbers, symmetries and factorials against brute force, identities."""

from __future__ import annotations

import copy
from fractions import Fraction
from itertools import permutations
from math import factorial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resexpand.combinatorics import Tree, tree_count, trees
from resexpand.errors import DescriptionError, HyperparameterError, UnsupportedError

LEAF = Tree()
# Rooted trees with 1, 2, 3, ... vertices: sequence A000081 of the OEIS.
KNOWN = (1, 1, 2, 4, 9, 20, 48, 115, 286, 719, 1842, 4766)

random_trees = st.recursive(
    st.just(LEAF), lambda below: st.lists(below, max_size=3).map(Tree), max_leaves=6
)


def parents(tree: Tree) -> list[int]:
    """Return the parent of each vertex in preorder, -1 for the root."""
    found = [-1]
    for child in tree.children:
        shift = len(found)
        found += [0 if p < 0 else p + shift for p in parents(child)]
    return found


def automorphisms(tree: Tree) -> int:
    """Count permutations of the vertices that map parents to parents."""
    above = parents(tree)
    return sum(
        all(p < 0 or above[image[v]] == image[p] for v, p in enumerate(above))
        and above[image[0]] == -1
        for image in permutations(range(len(above)))
    )


def linear_extensions(tree: Tree) -> int:
    """Count the numberings of the vertices that decrease from parent to child."""
    above = parents(tree)
    return sum(
        all(p < 0 or number[p] > number[v] for v, p in enumerate(above))
        for number in permutations(range(len(above)))
    )


def test_numbers_of_trees():
    assert tuple(len(trees(k)) for k in range(1, 13)) == KNOWN
    assert tuple(map(tree_count, range(1, 13))) == KNOWN
    assert sum(KNOWN) == 7813
    assert tree_count(30) == 354426847597


@pytest.mark.parametrize("order", range(1, 7))
def test_symmetry_and_factorial_against_brute_force(order):
    for tree in trees(order):
        assert tree.symmetry == automorphisms(tree)
        assert factorial(order) == linear_extensions(tree) * tree.factorial


@pytest.mark.parametrize("order", range(1, 11))
def test_sums_over_all_trees(order):
    ones = sum(Fraction(1, tree.factorial * tree.symmetry) for tree in trees(order))
    assert ones == Fraction(1, order)
    # Cayley: rooted trees on numbered vertices.
    assert sum(Fraction(factorial(order), t.symmetry) for t in trees(order)) == order ** (order - 1)
    # Trees with numbers that increase from the root: every further vertex chooses its parent.
    increasing = sum(Fraction(factorial(order), t.symmetry * t.factorial) for t in trees(order))
    assert increasing == factorial(order - 1)
    wrong = sum(Fraction(1, tree.factorial) for tree in trees(order))
    assert (wrong == Fraction(1, order)) == (order < 3)


def test_trees_are_interned_and_stand_in_canonical_order():
    for order in range(1, 8):
        listed = trees(order)
        assert len(set(map(str, listed))) == len(listed)
        assert sorted(listed) == list(listed)
        for tree in listed:
            assert tree.order == order
            assert list(tree.children) == sorted(tree.children)
            assert Tree(reversed(tree.children)) is tree
            assert len(list(tree)) == order
    assert [str(tree) for tree in trees(4)] == ["[[[[]]]]", "[[[][]]]", "[[][[]]]", "[[][][]]"]


@given(random_trees)
def test_what_holds_for_every_tree(tree):
    assert tree.order > 8 or tree in trees(tree.order)
    assert copy.deepcopy(tree) is tree
    assert [len(subtree.children) for subtree in tree].count(0) >= 1
    assert Tree([tree, LEAF]) is Tree([LEAF, tree])
    assert Tree([tree, tree]).symmetry == 2 * tree.symmetry**2
    assert Tree([tree]).factorial == tree.factorial * (tree.order + 1)


def test_trees_cannot_be_changed():
    with pytest.raises(AttributeError, match="immutable"):
        LEAF.order = 2
    with pytest.raises(AttributeError, match="immutable"):
        del LEAF.order


@pytest.mark.parametrize("order", [0, -1, 1.5, "3", None, True])
def test_bad_orders(order):
    for ask in (trees, tree_count):
        with pytest.raises(HyperparameterError, match="order"):
            ask(order)


@pytest.mark.parametrize(("order", "said"), [(60, "10,950,417,523 EiB"), (10**6, "more than")])
def test_too_many_trees_are_refused_before_they_are_made(order, said):
    with pytest.raises(UnsupportedError, match=said):
        trees(order)


def test_bad_children():
    with pytest.raises(DescriptionError, match="int"):
        Tree([1])
    with pytest.raises(UnsupportedError, match="150"):
        tree_count(151)
