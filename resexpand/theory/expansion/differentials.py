"""Elementary differentials: a tree of blocks evaluated at one state.

The differential of a vertex with ``m`` children is the ``m``-th derivative of its block, a
symmetric multilinear map, applied to the differentials of the children: these are values and are
never differentiated. Every partial derivative is computed once, from one of an order less, whatever
the order of its indices; every subtree is evaluated once per state.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import sympy as sp

from resexpand.combinatorics.labelled import LabelledTree
from resexpand.errors import DescriptionError
from resexpand.theory.expansion.blocks import Block, check_independence
from resexpand.theory.expansion.points import Point, as_number, read_point

Directions = tuple[int, ...]


class Derivatives:
    """Partial derivatives of blocks that act on states of one length, as expressions.

    Parameters
    ----------
    blocks : sequence of Block
        Block ``i`` stands at place ``i - 1``.
    dimension : int
        Length of the state.
    constants : frozenset of sympy.Symbol, optional
        Symbols that no block may depend on.

    Attributes
    ----------
    variables : tuple of sympy.Dummy
        Variables of the derivatives.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        dimension: int,
        constants: frozenset[sp.Symbol] = frozenset(),
    ) -> None:
        self.blocks = blocks
        self._constants = constants
        self.variables = tuple(sp.Dummy(f"x_{a}", real=True) for a in range(1, dimension + 1))
        self._known: dict[tuple[int, Directions], list[sp.Expr]] = {}

    def of(self, label: int, directions: Directions) -> list[sp.Expr]:
        """Return all entries of a block differentiated in directions, which must not decrease."""
        key = label, directions
        if key not in self._known:
            if directions:
                variable = self.variables[directions[-1]]
                below = self.of(label, directions[:-1])
                self._known[key] = [entry.diff(variable) for entry in below]
            else:
                self._known[key] = self._components(self.blocks[label - 1])
        return self._known[key]

    def _components(self, block: Block) -> list[sp.Expr]:
        entries = block.components(self.variables)
        check_independence(block.name, sp.Tuple(*entries).free_symbols, self._constants)
        return entries


class Differentials:
    """Elementary differentials at one state.

    Parameters
    ----------
    derivatives : Derivatives
        Of the blocks.
    point : Point
        The state, of their dimension.
    """

    def __init__(self, derivatives: Derivatives, point: Point) -> None:
        self._derivatives = derivatives
        self._point = point
        self._values: dict[LabelledTree, list[Any]] = {}
        self._at_point: dict[tuple[int, Directions], list[Any]] = {}

    def of(self, tree: LabelledTree) -> list[Any]:
        """Return the entries of the differential of a labelled tree."""
        found = self._values.get(tree)
        if found is None:
            found = self._values[tree] = self._contracted(tree)
        return found

    def _contracted(self, tree: LabelledTree) -> list[Any]:
        children = [self.of(child) for child in tree.children]
        total: list[Any] = [as_number(sp.S.Zero, self._point.digits)] * len(self._point.entries)
        for directions in product(range(len(total)), repeat=len(children)):
            factors = [child[a] for child, a in zip(children, directions, strict=True)]
            if any(factor == 0 for factor in factors):
                continue
            derivative = self._derivative(tree.label, tuple(sorted(directions)))
            weight = prod(factors)
            for entry, value in enumerate(derivative):
                total[entry] = total[entry] + value * weight
        return total

    def _derivative(self, label: int, directions: Directions) -> list[Any]:
        key = label, directions
        if key not in self._at_point:
            expressions = self._derivatives.of(label, directions)
            self._at_point[key] = [self._evaluated(entry) for entry in expressions]
        return self._at_point[key]

    def _evaluated(self, expression: sp.Expr) -> Any:
        values = dict(zip(self._derivatives.variables, self._point.entries, strict=True))
        entries = self._point.entries
        if all(isinstance(e, sp.Symbol) for e in entries) and len(set(entries)) == len(entries):
            return expression.xreplace(values)
        if self._point.digits:
            try:
                number = expression.evalf(self._point.digits + 3, subs=values)
            except ZeroDivisionError:
                number = sp.zoo
            if number.is_number:
                return as_number(number, self._point.digits)
        return as_number(expression.subs(values, simultaneous=True), 0)


class Evaluator:
    """Evaluates trees of the blocks of one network; remembers the last state.

    Parameters
    ----------
    blocks : sequence of Block
        The blocks of the network, the first one first.
    constants : frozenset of sympy.Symbol, optional
        Scales that were differentiated in: blocks may not depend on them.
    """

    def __init__(
        self, blocks: Sequence[Block], constants: frozenset[sp.Symbol] = frozenset()
    ) -> None:
        self.blocks = tuple(blocks)
        self._constants = constants
        self._derivatives: dict[int, Derivatives] = {}
        self._last: tuple[Point, list[Differentials]] | None = None

    def differential(self, tree: LabelledTree, x: Any) -> tuple[Point, list[Any]]:
        """Return the differential of a labelled tree at a state, entry by entry."""
        point = read_point(x)
        if self._last is None or self._last[0] != point:
            self._last = point, self._differentials(point)
        return point, [value for part in self._last[1] for value in part.of(tree)]

    def _differentials(self, point: Point) -> list[Differentials]:
        """Return one for the whole state, or one per entry if every block acts on entries."""
        if all(block.is_pointwise for block in self.blocks):
            entries = [Point((entry,), point.digits, "scalar", ()) for entry in point.entries]
            return [Differentials(self._of_dimension(1), entry) for entry in entries]
        dimension = len(point.entries)
        for block in self.blocks:
            if block.dimension not in (None, dimension):
                raise DescriptionError(
                    f"a state of {dimension} entries",
                    f"block {block.name} has {block.dimension}",
                    f"give a vector of {block.dimension}",
                )
        return [Differentials(self._of_dimension(dimension), point)]

    def _of_dimension(self, dimension: int) -> Derivatives:
        if dimension not in self._derivatives:
            self._derivatives[dimension] = Derivatives(self.blocks, dimension, self._constants)
        return self._derivatives[dimension]
