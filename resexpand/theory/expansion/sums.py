r"""Nested sums: an unlabelled tree with its strictly ordered sum over layers.

At symbolic depth each vertex of a tree carries a summation index, and a child sums over the layers
below its parent: a chain is ``sum_{1 <= i < j <= n} f_j'(f_i)``, the cherry
``1/2 sum_{k = 1}^n sum_{i, j < k} f_k''(f_i, f_j)``. Indices are named in the order in which the
blocks act, so that the root has the last letter; a letter that names the depth is left out.

A sum is held as data: the indices of all vertices in preorder with their bounds, and the same as
levels, in which unbranched stretches are written as one chain of inequalities.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import sympy as sp

from resexpand.combinatorics.tree import Tree

LETTERS = "ijklmnpqrstuvw"
"""Names of indices; ``o`` looks like a zero, ``x`` is the input."""


@dataclass(frozen=True)
class Level:
    """Indices that are summed below a common bound.

    Attributes
    ----------
    chains : tuple of tuple of str
        Each chain is written increasingly, ``("i", "j")`` for ``i < j``; its last index is below
        the bound.
    bound : str
        The index above, or the depth.
    is_outermost : bool
        Whether the bound is the depth, which the index may reach.
    """

    chains: tuple[tuple[str, ...], ...]
    bound: str
    is_outermost: bool


@dataclass(frozen=True)
class NestedSum:
    """The sum over all strictly decreasing labellings of a tree.

    Attributes
    ----------
    tree : Tree
        The summand is its elementary differential.
    depth : sympy.Symbol
        Largest label.
    taken : frozenset of str, optional
        Names that no index may have: those of the scales.

    Examples
    --------
    >>> from resexpand.combinatorics import Tree
    >>> cherry = NestedSum(Tree([Tree(), Tree()]), sp.Symbol("n"))
    >>> cherry.indices, cherry.bounds
    (('k', 'i', 'j'), ('n', 'k', 'k'))
    >>> [level.chains for level in cherry.levels]
    [(('k',),), (('i',), ('j',))]
    """

    tree: Tree
    depth: sp.Symbol
    taken: frozenset[str] = frozenset()

    @cached_property
    def indices(self) -> tuple[str, ...]:
        """Name of the index at each vertex, in preorder."""
        letters = [name for name in LETTERS if name not in (str(self.depth), *self.taken)]
        names = _names(letters, self.tree.order)
        found = [""] * self.tree.order
        for name, vertex in zip(names, _postorder(self.tree, 0), strict=True):
            found[vertex] = name
        return tuple(found)

    @cached_property
    def parents(self) -> tuple[int, ...]:
        """Place of the parent of each vertex, both in preorder; -1 for the root."""
        found = [-1] * self.tree.order
        for vertex, children in _children(self.tree):
            for child in children:
                found[child] = vertex
        return tuple(found)

    @property
    def bounds(self) -> tuple[str, ...]:
        """Upper bound of each index, in preorder; the root stays below or at the depth."""
        return tuple(self.indices[p] if p >= 0 else str(self.depth) for p in self.parents)

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """The sums from the outermost to the innermost, unbranched stretches as one chain."""
        children = dict(_children(self.tree))
        found: list[Level] = []

        def descend(starts: list[int], bound: str, is_outermost: bool) -> None:
            chains, ends = [], []
            for vertex in starts:
                chain = [vertex]
                while len(children[chain[-1]]) == 1:
                    chain += children[chain[-1]]
                chains.append(tuple(self.indices[v] for v in reversed(chain)))
                ends.append(chain[-1])
            found.append(Level(tuple(chains), bound, is_outermost))
            for end in ends:
                if children[end]:
                    descend(children[end], self.indices[end], False)

        descend([0], str(self.depth), True)
        return tuple(found)

    @property
    def symbols(self) -> tuple[sp.Symbol, ...]:
        """The indices as SymPy symbols, in preorder."""
        return tuple(sp.Symbol(name, integer=True, positive=True) for name in self.indices)

    def over(self, factors: Sequence[sp.Expr]) -> sp.Expr:
        """Return the sum of a product with one factor per vertex, as nested `sympy.Sum`.

        Parameters
        ----------
        factors : sequence of sympy.Expr
            In preorder; the factor of a vertex holds no other index than its own.

        Returns
        -------
        sympy.Expr
            ``doit`` writes it out once the depth is a number.
        """
        symbols = self.symbols
        # A sum over several limits at once stays as it is: inner bounds hold outer indices.
        products = list(factors)
        for vertex in reversed(range(len(products))):
            parent = self.parents[vertex]
            if parent < 0:
                break
            limits = (symbols[vertex], 1, symbols[parent] - 1)
            products[parent] *= sp.Sum(products[vertex], limits)
        return sp.Sum(products[0], (symbols[0], 1, self.depth))


def _names(letters: list[str], count: int) -> Iterator[str]:
    """Yield index names: the letters, then the letters with a number."""
    for number in range(count):
        round_, place = divmod(number, len(letters))
        yield letters[place] + (f"_{round_}" if round_ else "")


def _postorder(tree: Tree, vertex: int) -> Iterator[int]:
    """Yield the vertices in preorder numbering, children before parents."""
    place = vertex + 1
    for child in tree.children:
        yield from _postorder(child, place)
        place += child.order
    yield vertex


def _children(tree: Tree) -> Iterator[tuple[int, list[int]]]:
    """Yield each vertex, in preorder, with its children."""
    for vertex, subtree in enumerate(tree):
        places, place = [], vertex + 1
        for child in subtree.children:
            places.append(place)
            place += child.order
        yield vertex, places
