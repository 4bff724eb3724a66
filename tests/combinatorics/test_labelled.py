"""Labelled classes and closed counts, against enumeration of all labellings by brute force."""

from __future__ import annotations

import copy
from fractions import Fraction
from itertools import product
from math import comb, factorial, prod

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from resexpand.combinatorics import (
    LabelledTree,
    Tree,
    arguments,
    class_count,
    distinct_count,
    labelled_trees,
    order_polynomial,
    trees,
    weighted_count,
)
from resexpand.errors import DescriptionError, HyperparameterError, UnsupportedError

n = sp.Symbol("n")
PER_LAYER = {
    class_count: [4, 6, 14, 32, 75],
    weighted_count: [4, 6, 11, 21, sp.Rational(161, 4)],
    distinct_count: [4, 6, 8, 6, 0],
}


def built(tree: Tree, labels: tuple[int, ...]) -> LabelledTree | None:
    """Return a tree with labels in preorder; None where they do not decrease."""
    children, place = [], 1
    for child in tree.children:
        below = built(child, labels[place : place + child.order])
        if below is None or below.label >= labels[0]:
            return None
        children.append(below)
        place += child.order
    return LabelledTree(labels[0], children)


def brute(order: int, labels: int) -> dict[Tree, list[LabelledTree]]:
    """Return all labellings of all trees; isomorphic ones repeat."""
    choices = list(product(range(1, labels + 1), repeat=order))
    return {
        tree: [found for chosen in choices if (found := built(tree, chosen)) is not None]
        for tree in trees(order)
    }


@pytest.mark.parametrize("labels", range(1, 5))
@pytest.mark.parametrize("order", range(1, 6))
def test_classes_and_counts_against_all_labellings(order, labels):
    every = brute(order, labels)
    classes = labelled_trees(order, labels)
    assert len(set(classes)) == len(classes) == class_count(order, labels)
    assert set(classes) == {tree for found in every.values() for tree in found}
    assert sum(sp.Rational(1, t.symmetry) for t in classes) == weighted_count(order, labels)
    different = [t for t in classes if len(set(t.labels)) == order]
    assert len(different) == distinct_count(order, labels)
    assert all(t.symmetry == 1 for t in different)
    for shape, found in every.items():
        assert order_polynomial(shape, labels) == len(found)
        # Each class is met |Aut T| / |Aut(T, l)| times among the labellings.
        for tree in set(found):
            assert found.count(tree) * tree.symmetry == shape.symmetry
            assert tree.shape is shape


def test_known_numbers():
    for count, expected in PER_LAYER.items():
        assert [count(order, 4) for order in range(1, 6)] == expected
    assert [class_count(order, 10) for order in range(1, 7)] == [10, 45, 285, 1905, 13383, 96291]
    assert class_count(6, 100) == 157_959_892_035


@pytest.mark.parametrize("count", PER_LAYER)
@pytest.mark.parametrize("order", [1, 2, 3, 6, 9])
def test_counts_are_polynomials_of_their_order(count, order):
    polynomial = sp.Poly(count(order, n), n)
    assert polynomial.degree() == order
    for labels in (0, 1, 2, order - 1, order + 3, 50, 10**6):
        assert polynomial.eval(labels) == count(order, labels)
    # With lambda = 1/n the weighted number tends to that of the flow: sum of 1/(T! |Aut|) = 1/k.
    if count is weighted_count:
        assert polynomial.LC() == sp.Rational(1, order)
    if count is distinct_count:
        assert polynomial.LC() == sp.Rational(1, order)
        assert count(order, 12) == comb(12, order) * factorial(order - 1)


@pytest.mark.parametrize("order", range(1, 8))
def test_order_polynomials(order):
    total = 0
    for tree in trees(order):
        polynomial = sp.Poly(order_polynomial(tree, n), n)
        assert polynomial.degree() == order
        assert polynomial.LC() == sp.Rational(1, tree.factorial)
        assert all(polynomial.eval(k) == order_polynomial(tree, k) for k in (0, 1, 5, 10**6))
        total += polynomial.as_expr() / tree.symmetry
    assert sp.expand(total - weighted_count(order, n)) == 0


def test_weighted_series_by_its_functional_equation():
    """The exponential formula, one label at a time, in exact fractions of its own."""
    order, total = 7, [Fraction(0)] * 8
    for labels in range(1, 6):
        power, series = [Fraction(1)] + [Fraction(0)] * order, [Fraction(0)] * (order + 1)
        for m in range(order + 1):
            series = [a + b / factorial(m) for a, b in zip(series, power, strict=True)]
            power = [
                sum((power[i] * total[k - i] for i in range(k + 1)), Fraction(0))
                for k in range(order + 1)
            ]
        total = [a + b for a, b in zip(total, [Fraction(0), *series[:order]], strict=True)]
        assert [weighted_count(k, labels) for k in range(1, order + 1)] == [
            sp.Rational(t.numerator, t.denominator) for t in total[1:]
        ]


def test_deep_networks_cost_no_more():
    huge = 10**6
    assert class_count(10, huge) > weighted_count(10, huge) > distinct_count(10, huge)
    ratio = sp.Rational(distinct_count(10, huge), class_count(10, huge))
    assert 1 - sp.Rational(1, 10**4) < ratio < 1
    assert distinct_count(3, 2) == class_count(1, 0) == order_polynomial(Tree(), 0) == 0


def test_canonical_order_and_labels():
    for labels, order in ((4, 5), (3, 6), (2, 9), (1, 1)):
        classes = labelled_trees(order, labels)
        assert [t.key for t in classes] == sorted(t.key for t in classes)
        for tree in classes:
            assert built(tree.shape, tree.labels) == tree
            assert max(tree.labels) == tree.label <= labels
    assert labelled_trees(4, 1) == ()
    assert [t.labels for t in labelled_trees(100, 2)] == [(2, *[1] * 99)]


@given(st.data())
def test_a_tree_is_the_same_however_its_children_are_given(data):
    tree = data.draw(st.sampled_from(labelled_trees(5, 4)))
    children = data.draw(st.permutations(tree.children))
    again = LabelledTree(tree.label, children)
    assert again == tree
    assert hash(again) == hash(tree)
    assert again.labels == tree.labels
    assert copy.deepcopy(tree) == tree
    assert again.symmetry == tree.symmetry
    inner = prod(child.symmetry for child in tree.children)
    repeated = prod(factorial(children.count(child)) for child in set(children))
    assert tree.symmetry == inner * repeated


def test_labels_repeat_on_vertices_that_are_not_comparable_alone():
    one = LabelledTree(1)
    twin = LabelledTree(3, [one, one])
    assert twin in labelled_trees(3, 3)
    assert twin.symmetry == 2
    assert str(LabelledTree(4, [LabelledTree(2, [one]), LabelledTree(3)])) == "4[3, 2[1]]"
    for label in (1, 0):
        with pytest.raises((DescriptionError, HyperparameterError), match="label"):
            LabelledTree(label, [one])
    with pytest.raises(DescriptionError, match="Tree"):
        LabelledTree(2, [Tree()])
    with pytest.raises(AttributeError, match="immutable"):
        one.labels = (2,)


@pytest.mark.parametrize("bad", [-1, 1.5, "n", None])
def test_bad_numbers_of_labels(bad):
    for ask in (labelled_trees, class_count, weighted_count, distinct_count):
        with pytest.raises(HyperparameterError, match="number of labels"):
            ask(2, bad)
        with pytest.raises(HyperparameterError, match="order"):
            ask(0, 2)
    with pytest.raises(HyperparameterError, match="number of labels"):
        order_polynomial(Tree(), bad)
    with pytest.raises(DescriptionError, match="shape"):
        order_polynomial(LabelledTree(1), 2)


def test_what_memory_would_not_hold_is_refused_with_its_size(monkeypatch):
    with pytest.raises(UnsupportedError, match=r"157,959,892,035 of them.*57.4 TiB"):
        labelled_trees(6, 100)
    with pytest.raises(UnsupportedError, match="more than"):
        labelled_trees(10**5, 100)
    monkeypatch.setattr(arguments, "memory_size", lambda: 1000)
    with pytest.raises(UnsupportedError, match=r"6 of them.*2.3 KiB, and at most 500 bytes"):
        labelled_trees(2, 4)
