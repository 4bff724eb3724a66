"""How many terms an expansion has, order by order, from closed counts alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy as sp

from resexpand.combinatorics.counting import (
    class_count,
    distinct_count,
    order_polynomial,
    tree_count,
    weighted_count,
)
from resexpand.combinatorics.tree import Tree, trees


@dataclass(frozen=True)
class Counts:
    """Numbers of terms up to an order, for a given or symbolic depth.

    Every attribute is a mapping from the order; at symbolic depth its values are polynomials.

    Attributes
    ----------
    order : int
        Highest order.
    depth : int or sympy.Expr
        Number of blocks ``n``.
    """

    order: int
    depth: int | sp.Expr

    @property
    def orders(self) -> range:
        """The orders, from 1."""
        return range(1, self.order + 1)

    @cached_property
    def trees(self) -> Mapping[int, int]:
        """Unlabelled trees: terms at symbolic depth."""
        return {k: tree_count(k) for k in self.orders}

    @cached_property
    def classes(self) -> Mapping[int, Any]:
        """Classes of labelled trees: terms of a network with that many blocks."""
        return {k: class_count(k, self.depth) for k in self.orders}

    @cached_property
    def weighted(self) -> Mapping[int, Any]:
        """Sum of the coefficients ``1/|Aut(T, l)|``."""
        return {k: weighted_count(k, self.depth) for k in self.orders}

    @cached_property
    def distinct(self) -> Mapping[int, Any]:
        """Terms in which no block occurs twice."""
        return {k: distinct_count(k, self.depth) for k in self.orders}

    @cached_property
    def ordered_sums(self) -> Mapping[int, Mapping[Tree, Any]]:
        """For each tree the number of addends of its nested sum, its strict order polynomial."""
        return {k: {t: order_polynomial(t, self.depth) for t in trees(k)} for k in self.orders}

    def __repr__(self) -> str:
        return f"Counts(order={self.order}, depth={self.depth})"

    def __str__(self) -> str:
        rows = [["order", "trees", "classes", "weighted", "distinct"]]
        columns = (self.trees, self.classes, self.weighted, self.distinct)
        rows += [[str(k), *(str(column[k]) for column in columns)] for k in self.orders]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.rjust, row, widths)) for row in rows)
        return "\n".join([f"depth {self.depth}", *lines])
