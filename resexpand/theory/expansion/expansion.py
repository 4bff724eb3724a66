"""The expansion of a network as a mapping: order to terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import sympy as sp

from resexpand.combinatorics.arguments import check_count, check_memory, check_order
from resexpand.combinatorics.counting import class_count, tree_count
from resexpand.combinatorics.labelled import BYTES_PER_CLASS, LabelledTree, labelled_trees
from resexpand.combinatorics.tree import BYTES_PER_TREE, trees
from resexpand.errors import HyperparameterError
from resexpand.references import REFERENCES, Citation
from resexpand.theory.expansion.blocks import Block
from resexpand.theory.expansion.counts import Counts
from resexpand.theory.expansion.differentials import Evaluator
from resexpand.theory.expansion.points import as_number, read_point
from resexpand.theory.expansion.scales import Scales
from resexpand.theory.expansion.term import Term

Weights = Mapping[LabelledTree, sp.Expr]
"""What stands in front of each elementary differential, where it is not the theorem's."""

BYTES_PER_TERM = 100
SHOWN_ORDERS = 3


class Expansion(Mapping[int, tuple[Term, ...]]):
    """The expansion of a residual network: a mapping from the order to its terms.

    ``F(x) = identity * x + sum of all values``. Made by `residual_expansion`; immutable.

    Attributes
    ----------
    order : int
        Highest order kept.
    depth : int or sympy.Symbol
        Number of blocks.
    blocks : tuple of Block, or None at symbolic depth
        The residual branches, the first one first.
    scales : tuple of sympy.Expr, sympy.Expr or sympy.IndexedBase
        One scale per block; at symbolic depth the common scale, or the base of indexed ones.
    identity : int
        Coefficient of the skip path: 1, and 0 after differentiating in a scale.
    citations : tuple of Citation
        What it rests on.
    """

    citations = (Citation(REFERENCES["dherin2025"]),)

    def __init__(
        self,
        order: int,
        depth: int | sp.Symbol,
        blocks: Sequence[Block] | None,
        scales: Scales,
        *,
        weights: Weights | None = None,
        identity: int = 1,
    ) -> None:
        self.order = check_order(order)
        self.depth = depth
        self.blocks = None if blocks is None else tuple(blocks)
        self.scales = scales
        self.identity = identity
        self._weights = weights
        self._terms: dict[int, tuple[Term, ...]] = {}
        if weights is None:
            self._check_memory()

    def _check_memory(self) -> None:
        if isinstance(self.depth, int):
            count = sum(class_count(k, self.depth) for k in range(1, self.order + 1))
            what = f"the terms up to order {self.order} of {self.depth} blocks"
            check_memory(what, count, BYTES_PER_CLASS + BYTES_PER_TERM)
        count = sum(tree_count(k) for k in range(1, self.order + 1))
        check_memory(f"the trees up to order {self.order}", count, BYTES_PER_TREE)

    def __getitem__(self, order: int) -> tuple[Term, ...]:
        if order not in self._terms:
            if not isinstance(order, int) or not 1 <= order <= self.order:
                raise KeyError(order)
            self._terms[order] = tuple(self._of_order(order))
        return self._terms[order]

    def _of_order(self, order: int) -> Iterator[Term]:
        if self._weights is not None:
            for tree in sorted((t for t in self._weights if t.order == order), key=lambda t: t.key):
                yield Term(self, tree.shape, tree, self._weights[tree] * tree.symmetry)
        elif isinstance(self.depth, int):
            for tree in labelled_trees(order, self.depth):
                yield Term(self, tree.shape, tree)
        else:
            for shape in trees(order):
                yield Term(self, shape)

    def __iter__(self) -> Iterator[int]:
        return iter(range(1, self.order + 1))

    def __len__(self) -> int:
        return self.order

    @property
    def terms(self) -> tuple[Term, ...]:
        """All terms, the low orders first."""
        return tuple(term for order in self for term in self[order])

    @cached_property
    def evaluator(self) -> Evaluator:
        """What evaluates elementary differentials; it remembers derivatives and the last state."""
        return Evaluator(self.blocks or ())

    def counts(self, depth: Any = None) -> Counts:
        """Return how many terms there are, order by order, without enumerating labels.

        Parameters
        ----------
        depth : int or sympy.Expr, optional
            Another number of blocks than that of the expansion.
        """
        chosen = self.depth if depth is None else depth
        if not (isinstance(chosen, sp.Expr) and not chosen.is_number):
            chosen = check_count(chosen, "depth", least=1)
        return Counts(self.order, chosen)

    def expression(self, x: Any) -> Any:
        """Return ``x`` plus the values of all terms at a state.

        Parameters
        ----------
        x : number, sympy.Expr, sympy.Matrix or numpy.ndarray
            The input of the network.

        Returns
        -------
        float, numpy.ndarray, sympy.Expr or sympy.Matrix
            Like `x`.

        Raises
        ------
        ResexpandError
            As `Term.value`.
        """
        point = read_point(x)
        start = [as_number(self.identity * entry, point.digits) for entry in point.entries]
        total = point.shaped(start)
        for term in self.terms:
            total = total + term.value(x)
        return total

    def truncate(self, order: int) -> Expansion:
        """Return the same expansion up to a lower order.

        Raises
        ------
        HyperparameterError
            If the order is not between 1 and that of the expansion.
        """
        kept = check_order(order)
        if kept > self.order:
            raise HyperparameterError(
                f"order {kept} of an expansion up to order {self.order}",
                "what was neglected cannot be recovered from it",
                "derive it anew with residual_expansion()",
            )
        weights = self._weights
        if weights is not None:
            weights = {tree: weight for tree, weight in weights.items() if tree.order <= kept}
        return Expansion(
            kept, self.depth, self.blocks, self.scales, weights=weights, identity=self.identity
        )

    def __repr__(self) -> str:
        sizes = ", ".join(str(len(self[k])) for k in self) if self.order <= SHOWN_ORDERS else "..."
        return f"Expansion(order={self.order}, depth={self.depth}, terms per order: {sizes})"
