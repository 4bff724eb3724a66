r"""Composition of two networks as algebra on labelled trees.

Let the first network be ``y = x + sum_s c_1(s) F_s(x)`` and the later one ``a y + sum_t c_2(t)
F_t(y)``, its labels above those of the first. Taylor expansion of every vertex of ``t`` around
``x`` gives it extra children: all multisets of trees of the first network, each with the product of
``c_1(s)^m / m!`` over its trees of multiplicity ``m``. Hence ``F_t(y) = sum G(t)`` with

    G(B_i(t_1 ... t_m)) = B_i( G(t_1) ... G(t_m) exp(sum_s c_1(s) s) ),

where forests multiply as multisets and ``B_i`` puts a root of label ``i`` on a forest. The
coefficients are those of any map of this form, not of the theorem alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import factorial
from typing import Any, TypeAlias

import sympy as sp

from resexpand.combinatorics.labelled import LabelledTree

Forest = tuple[LabelledTree, ...]
Graded = list[dict[Forest, sp.Expr]]
"""A sum of forests: for each number of vertices, forests with their coefficients."""
Weights: TypeAlias = Mapping[Any, sp.Expr]
"""Factors of elementary differentials, coefficient times scale, by tree."""


def relabelled(weights: Weights, shift: int) -> dict[LabelledTree, sp.Expr]:
    """Return the same sum of trees with all labels raised."""
    known: dict[LabelledTree, LabelledTree] = {}

    def raised(tree: LabelledTree) -> LabelledTree:
        if tree not in known:
            known[tree] = LabelledTree(tree.label + shift, map(raised, tree.children))
        return known[tree]

    return {raised(tree): weight for tree, weight in weights.items()}


def composed(
    later: Weights, first: Weights, identity: sp.Expr | int, order: int
) -> dict[LabelledTree, sp.Expr]:
    """Return the coefficients of a network behind another one, up to an order.

    Parameters
    ----------
    later, first : mapping of LabelledTree to sympy.Expr
        Coefficients of both; the labels of the later one are above those of the first.
    identity : int
        Coefficient of the skip path of the later one.
    order : int
        Highest order kept.
    """
    grafts = _Grafting(first, order)
    total: dict[LabelledTree, sp.Expr] = {}
    if identity:
        total = {t: identity * c for t, c in first.items() if t.order <= order}
    for tree, weight in later.items():
        if tree.order <= order:
            for by_order in grafts.of(tree):
                for (grafted,), factor in by_order.items():
                    total[grafted] = total.get(grafted, sp.S.Zero) + weight * factor
    return {tree: weight for tree, weight in total.items() if weight != 0}


class _Grafting:
    """The map ``G`` for a given first network."""

    def __init__(self, first: Weights, order: int) -> None:
        self._order = order
        self._extra = _exponential(first, order - 1)
        self._known: dict[LabelledTree, Graded] = {}

    def of(self, tree: LabelledTree) -> Graded:
        """Return the sum of trees that a tree of the later network becomes."""
        if tree not in self._known:
            forests = self._extra
            for child in tree.children:
                forests = _product(forests, self.of(child), self._order - 1)
            grown: Graded = [{} for _ in range(self._order + 1)]
            for size, by_order in enumerate(forests):
                for forest, weight in by_order.items():
                    grown[size + 1][(LabelledTree(tree.label, forest),)] = weight
            self._known[tree] = grown
        return self._known[tree]


def _exponential(weights: Weights, order: int) -> Graded:
    """Return all multisets of trees with the product of ``c^m / m!``, by number of vertices."""
    total: Graded = [{} for _ in range(order + 1)]
    total[0][()] = sp.S.One
    for tree, weight in sorted(weights.items(), key=lambda item: item[0].key):
        powers: Graded = [{} for _ in range(order + 1)]
        for copies in range(order // tree.order + 1):
            power = weight**copies / factorial(copies)
            powers[copies * tree.order][(tree,) * copies] = power
        total = _product(total, powers, order)
    return total


def _product(left: Graded, right: Graded, order: int) -> Graded:
    total: Graded = [{} for _ in range(order + 1)]
    for size, forests in enumerate(left):
        for extra, others in enumerate(right[: order + 1 - size]):
            into = total[size + extra]
            for forest, weight in forests.items():
                for other, factor in others.items():
                    joined = _sorted((*forest, *other)) if forest and other else forest or other
                    term = weight * factor
                    into[joined] = into[joined] + term if joined in into else term
    return total


def _sorted(forest: Iterable[LabelledTree]) -> Forest:
    return tuple(sorted(forest, key=lambda tree: tree.key))
