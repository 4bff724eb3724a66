"""One term of an expansion: a tree with its coefficient, scale and elementary differential."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sympy as sp

from resexpand.combinatorics.labelled import LabelledTree
from resexpand.combinatorics.tree import Tree
from resexpand.errors import UnsupportedError
from resexpand.theory.expansion.differentials import Evaluator
from resexpand.theory.expansion.points import Point, as_number
from resexpand.theory.expansion.scales import Scales
from resexpand.theory.expansion.sums import NestedSum
from resexpand.theory.expansion.wording import (
    coefficient_text,
    differential_text,
    factor_text,
    scale_text,
    sum_text,
)


class Network(Protocol):
    """Properties of its expansion that a term reads."""

    depth: Any
    scales: Scales

    @property
    def evaluator(self) -> Evaluator:
        """Evaluator of elementary differentials."""

    def scale_of(self, labels: Sequence[int]) -> sp.Expr:
        """Return the product of the scales of some blocks."""


@dataclass(eq=False, repr=False, slots=True)
class Term:
    """One term of an expansion; made by `residual_expansion`, immutable.

    At a concrete number of blocks it belongs to a class of labelled trees, at symbolic depth to an
    unlabelled tree with its nested sum.

    Attributes
    ----------
    tree : Tree
        The unlabelled tree.
    labelled : LabelledTree or None
        The tree with its labels; None at symbolic depth.
    """

    _network: Network
    tree: Tree
    labelled: LabelledTree | None = None
    _scale: sp.Expr | None = None

    @property
    def order(self) -> int:
        """Number of vertices: how many branches the term passes through."""
        return self.tree.order

    @property
    def labels(self) -> tuple[int, ...] | None:
        """Labels of the vertices in preorder; None at symbolic depth."""
        return None if self.labelled is None else self.labelled.labels

    @property
    def coefficient(self) -> sp.Rational:
        """``1/|Aut|`` of the labelled tree, at symbolic depth of the unlabelled one."""
        tree = self.tree if self.labelled is None else self.labelled
        return sp.Rational(1, tree.symmetry)

    @property
    def scale(self) -> sp.Expr:
        """Product of the scales of the blocks at all vertices.

        At symbolic depth with one scale per block it is the summand's, in the indices of `sum`.
        """
        if self._scale is not None:
            return self._scale
        if self.labelled is not None:
            return self._network.scale_of(self.labelled.labels)
        scales: Any = self._network.scales
        if isinstance(scales, sp.IndexedBase):
            return sp.Mul(*(scales[index] for index in self._nested().symbols))
        return scales**self.order

    @property
    def sum(self) -> NestedSum | None:
        """The nested sum over layers; None at a concrete number of blocks."""
        return None if self.labelled is not None else self._nested()

    def _nested(self) -> NestedSum:
        scales = self._network.scales
        symbols = scales.free_symbols if isinstance(scales, sp.Expr) else ()
        return NestedSum(self.tree, self._network.depth, frozenset(map(str, symbols)))

    def value(self, x: Any) -> Any:
        """Return coefficient times scale times elementary differential at a state.

        Parameters
        ----------
        x : number, sympy.Expr, sympy.Matrix or numpy.ndarray
            The input of the network: a scalar, or a vector as long as the blocks have entries.

        Returns
        -------
        float, numpy.ndarray, sympy.Expr or sympy.Matrix
            Like `x`: numbers for numbers as far as blocks and scales are, expressions otherwise.
            At symbolic depth a `sympy.Sum` over layers, in formal blocks ``f(i, x)``.

        Raises
        ------
        DescriptionError
            If the state has not as many entries as the blocks.
        HyperparameterError
            If a derivative is not finite there, or `x` is no state.
        UnsupportedError
            If `x` is a vector at symbolic depth.
        """
        if self.labelled is None:
            return self._symbolic_sum(x)
        point, values = self.entries(x)
        return point.shaped(values)

    def entries(self, x: Any) -> tuple[Point, list[Any]]:
        """Return the state and the entries of `value`, at a concrete number of blocks."""
        if self.labelled is None:
            raise UnsupportedError(
                f"the entries of the term of {self.tree}",
                "at symbolic depth it is a sum over layers",
                "give the number of blocks, or use value()",
            )
        point, values = self._network.evaluator.differential(self.labelled, x)
        factor = as_number(self.coefficient * self.scale, point.digits)
        return point, [factor * value for value in values]

    def _symbolic_sum(self, x: Any) -> sp.Expr:
        if not isinstance(x, sp.Expr) or isinstance(x, sp.MatrixBase):
            raise UnsupportedError(
                f"the term of {self.tree} at symbolic depth for the state {x!r}",
                "its blocks are formal functions f(i, x) of one symbol",
                "give a SymPy symbol, or the number of blocks or the blocks themselves",
            )
        nested, scales = self._nested(), self._network.scales
        factors = self._formal_factors(nested.symbols, x)
        if isinstance(scales, sp.IndexedBase):
            pairs = zip(nested.symbols, factors, strict=True)
            return self.coefficient * nested.over([scales[i] * factor for i, factor in pairs])
        return self.coefficient * self.scale * nested.over(factors)

    def _formal_factors(self, symbols: tuple[sp.Symbol, ...], x: sp.Expr) -> list[sp.Expr]:
        """In one dimension the differential is a product of derivatives, one per vertex."""
        block, argument = sp.Function("f"), sp.Dummy("x")
        derivatives = [
            block(index, argument).diff(argument, len(subtree.children))
            for index, subtree in zip(symbols, self.tree, strict=True)
        ]
        if x.is_Symbol:
            return [derivative.xreplace({argument: x}) for derivative in derivatives]
        return [derivative.subs(argument, x) for derivative in derivatives]

    def __str__(self) -> str:
        return self.text()

    def text(self, latex: bool = False) -> str:
        """Return the term as a reader would write it, as plain text or LaTeX."""
        number, scale = (self.coefficient * self.scale).as_coeff_Mul()
        parts = [coefficient_text(number, latex)]
        if self.labelled is None:
            nested = self._nested()
            differential = differential_text(self.tree, nested.indices, latex)
            layers = sum_text(nested, latex)
            base = self._network.scales
            if isinstance(base, sp.IndexedBase):
                parts += [layers, scale_text(base, nested.indices, latex), differential]
            else:
                parts += [factor_text(scale, latex), layers, differential]
        else:
            differential = differential_text(self.tree, self.labelled.labels, latex)
            parts += [factor_text(scale, latex), differential]
        return " ".join(filter(None, parts))

    def __repr__(self) -> str:
        return f"Term({self})"

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle {self.text(latex=True)}$"
