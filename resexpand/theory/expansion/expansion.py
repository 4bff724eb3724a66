"""The expansion of a network as a mapping: order to terms, with what mathematics can do to it."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import sympy as sp

from resexpand.combinatorics.arguments import check_count, check_order
from resexpand.combinatorics.counting import class_count, tree_count
from resexpand.combinatorics.labelled import (
    BYTES_PER_CLASS,
    LabelledTree,
    check_class_memory,
    labelled_trees,
)
from resexpand.combinatorics.tree import Tree, check_tree_memory, trees
from resexpand.conventions import is_symbolic
from resexpand.errors import DescriptionError, HyperparameterError, UnsupportedError
from resexpand.references import REFERENCES, Citation
from resexpand.theory.expansion.blocks import Block, check_independence, formal_block
from resexpand.theory.expansion.composition import Weights, composed, relabelled
from resexpand.theory.expansion.counts import Counts
from resexpand.theory.expansion.differentials import Evaluator
from resexpand.theory.expansion.points import as_number, read_point, summed
from resexpand.theory.expansion.scales import Scales, default_scales, find_scale
from resexpand.theory.expansion.term import Term
from resexpand.theory.expansion.wording import expansion_latex, expansion_text

BYTES_PER_TERM = 200


def check_expansion_memory(order: int, depth: int | sp.Symbol) -> None:
    """Refuse expansions whose terms would not fit into memory.

    Raises
    ------
    UnsupportedError
        If they would not; the error says how much they would take.
    """
    if isinstance(depth, int):
        check_class_memory(range(1, order + 1), depth, BYTES_PER_CLASS + BYTES_PER_TERM)
    else:
        check_tree_memory(order)


class Expansion(Mapping[int, tuple[Term, ...]]):
    """The expansion of a residual network: a mapping from the order to its terms.

    ``F(x) = identity * x + sum of all values``. Made by `residual_expansion`; immutable.
    ``later @ first`` is ``later.after(first)``.

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
        Sources of the formulas.
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
        variables: frozenset[sp.Symbol] = frozenset(),
    ) -> None:
        self.order = check_order(order)
        self.depth = depth
        self.blocks = None if blocks is None else tuple(blocks)
        self.scales = scales
        self.identity = identity
        self._variables = variables
        self._weights = weights
        self._terms: dict[int, tuple[Term, ...]] = {}
        self._scales_of: dict[tuple[int, ...], sp.Expr] = {}
        if weights is None:
            check_expansion_memory(self.order, self.depth)

    def __getitem__(self, order: int) -> tuple[Term, ...]:
        try:
            key = operator.index(order)
        except TypeError:
            raise KeyError(order) from None
        if key not in self._terms:
            if not 1 <= key <= self.order:
                raise KeyError(order)
            self._terms[key] = tuple(self._of_order(key))
        return self._terms[key]

    def _of_order(self, order: int) -> Iterator[Term]:
        if self._weights is not None:
            kept = [tree for tree in self._weights if tree.order == order]
            for tree in sorted(kept, key=lambda tree: tree.key):
                yield self._term(tree, self._weights[tree] * tree.symmetry)
        elif isinstance(self.depth, int):
            yield from map(self._term, labelled_trees(order, self.depth))
        else:
            yield from map(self._term, trees(order))

    def _term(self, tree: LabelledTree | Tree, scale: sp.Expr | None = None) -> Term:
        if isinstance(tree, LabelledTree):
            return Term(self, tree.shape, tree, scale)
        return Term(self, tree, None, scale)

    def __iter__(self) -> Iterator[int]:
        return iter(range(1, self.order + 1))

    def __len__(self) -> int:
        return self.order

    # Mapping would compare term by term, and terms know their network.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def size(self, order: int) -> int:
        """Return the number of terms of an order, without making them."""
        if self._weights is not None:
            return sum(tree.order == order for tree in self._weights)
        if isinstance(self.depth, int):
            return int(class_count(order, self.depth))
        return tree_count(order)

    @property
    def terms(self) -> tuple[Term, ...]:
        """All terms, the low orders first."""
        return tuple(term for order in self for term in self[order])

    @property
    def weights(self) -> Weights:
        """Coefficient times scale by tree: labelled ones, at symbolic depth unlabelled ones."""
        if self._weights is not None:
            return dict(self._weights)
        return {
            term.tree if term.labelled is None else term.labelled: term.coefficient * term.scale
            for term in self.terms
        }

    @cached_property
    def evaluator(self) -> Evaluator:
        """Evaluator of elementary differentials; it remembers derivatives and the last state."""
        return Evaluator(self.blocks or (), self._variables)

    def scale_of(self, labels: Sequence[int]) -> sp.Expr:
        """Return the product of the scales of some blocks, each as often as its label occurs."""
        key = tuple(sorted(labels))
        if key not in self._scales_of:
            self._scales_of[key] = sp.Mul(*(self.scales[label - 1] for label in key))
        return self._scales_of[key]

    def term(self, tree: LabelledTree | Tree) -> Term:
        """Return the term of one tree: a labelled one, at symbolic depth an unlabelled one.

        Raises
        ------
        HyperparameterError
            If there is no such term: its order or a label is too high, or its coefficient zero.
        """
        kind = LabelledTree if isinstance(self.depth, int) else Tree
        why = ""
        if not isinstance(tree, kind):
            why = f"at depth {self.depth} a term belongs to a {kind.__name__}"
        elif tree.order > self.order:
            why = f"it has order {tree.order}, and the expansion ends at order {self.order}"
        elif isinstance(tree, LabelledTree) and tree.label > self.depth:
            why = f"its root has label {tree.label}, and there are {self.depth} blocks"
        if not why:
            for term in self[tree.order]:
                if tree in (term.labelled, term.tree):
                    return term
            why = "its coefficient is zero"
        raise HyperparameterError(
            f"the term of {tree}", why, f"iterate over the terms of orders 1 to {self.order}"
        )

    def counts(self, depth: Any = None) -> Counts:
        """Return how many terms there are, order by order, without enumerating labels.

        Parameters
        ----------
        depth : int or sympy.Expr, optional
            Another number of blocks than that of the expansion.

        Raises
        ------
        HyperparameterError
            If the depth is neither an integer of 1 or more nor a SymPy expression.
        """
        chosen = self.depth if depth is None else depth
        if not is_symbolic(chosen, "depth"):
            chosen = check_count(chosen, "depth", least=1)
        return Counts(self.order, chosen)

    def expression(self, x: Any) -> Any:
        """Return the network at a state: ``identity * x`` plus the values of all terms.

        Parameters
        ----------
        x : number, sympy.Expr, sympy.Matrix or numpy.ndarray
            The input of the network.

        Returns
        -------
        float, numpy.ndarray, sympy.Expr or sympy.Matrix
            Like `x`, as for `Term.value`.

        Raises
        ------
        ResexpandError
            As `Term.value`.
        """
        point = read_point(x)
        start = [as_number(self.identity * entry, point.digits) for entry in point.entries]
        if not isinstance(self.depth, int):
            return sp.Add(*start, *(term.value(x) for term in self.terms))
        return point.shaped(summed([start, *(term.entries(x)[1] for term in self.terms)]))

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
        weights: Any = self._weights
        if weights is not None:
            weights = {tree: weight for tree, weight in weights.items() if tree.order <= kept}
        return self._with(weights, self.identity, kept, self._variables)

    def diff(self, scale: sp.Symbol | str) -> Expansion:
        """Return the derivative in a scale: of one block, or one that all blocks share.

        Terms keep their order, the number of branches they pass through; the skip path drops out.

        Parameters
        ----------
        scale : sympy.Symbol or str
            A symbol in the scales, or its name.

        Raises
        ------
        HyperparameterError
            If no scale holds this symbol, or a block does.
        UnsupportedError
            If the depth is symbolic and every layer has a scale of its own.
        """
        symbol = find_scale(self.scales, scale)
        for block in self.blocks or ():
            check_independence(block.name, block.parameters, {symbol})
        weights: Any = {
            tree: changed
            for tree, weight in self.weights.items()
            if (changed := sp.diff(weight, symbol)) != 0
        }
        return self._with(weights, 0, self.order, self._variables | {symbol})

    def _with(
        self,
        weights: Weights | None,
        identity: int,
        order: int,
        variables: frozenset[sp.Symbol],
    ) -> Expansion:
        return Expansion(
            order,
            self.depth,
            self.blocks,
            self.scales,
            weights=weights,
            identity=identity,
            variables=variables,
        )

    def after(self, first: Expansion) -> Expansion:
        """Return the composition: this network behind another one.

        Blocks of this network are numbered on from those of the first; formal blocks and default
        scales are renamed accordingly. The result has the lower of the two orders.

        Parameters
        ----------
        first : Expansion
            The network that acts first.

        Raises
        ------
        UnsupportedError
            If a depth is symbolic, or the first one has lost its skip path by differentiation.
        DescriptionError
            If the first network is no expansion.
        """
        if not isinstance(first, Expansion):
            raise DescriptionError(
                f"a network behind {first!r}",
                f"it is of type {type(first).__name__}",
                "give what residual_expansion() returns",
            )
        if not (isinstance(self.depth, int) and isinstance(first.depth, int)):
            raise UnsupportedError(
                f"the composition of networks of {first.depth} and {self.depth} blocks",
                "at symbolic depth the layers of the two cannot be told apart in one sum",
                "give both numbers of blocks, or expand the whole network at symbolic depth",
            )
        if first.identity != 1:
            raise UnsupportedError(
                "a network behind a differentiated one",
                "without its skip path that is not the input plus something small",
                "compose first and differentiate then",
            )
        order, shift = min(self.order, first.order), first.depth
        blocks, scales, renamed = self._renumbered(shift)
        later = {
            tree: weight.xreplace(renamed)
            for tree, weight in relabelled(self.truncate(order).weights, shift).items()
        }
        return Expansion(
            order,
            shift + self.depth,
            [*(first.blocks or ()), *blocks],
            (*first.scales, *scales),
            weights=composed(later, first.truncate(order).weights, self.identity, order),
            identity=self.identity,
            variables=frozenset(renamed.get(symbol, symbol) for symbol in self._variables),
        )

    def __matmul__(self, first: Expansion) -> Expansion:
        return self.after(first) if isinstance(first, Expansion) else NotImplemented

    def _renumbered(self, shift: int) -> tuple[list[Block], tuple[sp.Expr, ...], dict[Any, Any]]:
        """Return blocks and scales behind others, and what scales are renamed to."""
        blocks = [formal_block(b.index + shift) if b.index else b for b in self.blocks or ()]
        default = default_scales(len(blocks))
        renamed = {}
        if self.scales == default:
            later = default_scales(shift + len(blocks))[shift:]
            renamed = dict(zip(default, later, strict=True))
        return blocks, tuple(scale.xreplace(renamed) for scale in self.scales), renamed

    @property
    def _start(self) -> str:
        return "x" if self.identity else ""

    def __repr__(self) -> str:
        return f"Expansion(order={self.order}, depth={self.depth})"

    def __str__(self) -> str:
        return expansion_text(self._start, self, self.size)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {expansion_latex(self._start, self, self.size)}$"
