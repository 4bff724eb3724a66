r"""Terms in words a reader would write: ``1/2 sum_{k=1..n} sum_{i,j<k} f_k''(f_i, f_j)``.

The elementary differential of a vertex with one child is written as a product of derivatives
applied to its argument, ``f_j'(f_i)``; from the fourth derivative on the order stands in brackets.
Both plain text and LaTeX come from here.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from resexpand.combinatorics.tree import Tree
from resexpand.theory.expansion.sums import Level, NestedSum

PRIMES = 3
"""Derivatives up to this order are written with primes."""


def differential_text(tree: Tree, indices: Sequence[object], latex: bool = False) -> str:
    """Return an elementary differential with an index or label for each vertex in preorder."""
    index, order = str(indices[0]), len(tree.children)
    high = f"^{{({order})}}" if latex else f"^({order})"
    head = f"f_{{{index}}}" if latex else f"f_{index}"
    head += "'" * order if order <= PRIMES else high
    if not order:
        return head
    inside, place = [], 1
    for child in tree.children:
        inside.append(differential_text(child, indices[place : place + child.order], latex))
        place += child.order
    tall = latex and any("(" in text for text in inside)
    left, right = (r"\bigl(", r"\bigr)") if tall else ("(", ")")
    return f"{head}{left}{', '.join(inside)}{right}"


def sum_text(nested: NestedSum, latex: bool = False) -> str:
    """Return the summation signs in front of a summand."""
    if latex:
        return " ".join(rf"\sum_{{{_condition(level, True)}}}" for level in nested.levels)
    return " ".join(f"sum_{{{_condition(level, False)}}}" for level in nested.levels)


def _condition(level: Level, latex: bool) -> str:
    less, at_most = (" < ", r" \le ") if latex else ("<", "<=")
    chains = [less.join(chain) for chain in level.chains]
    if level.is_outermost:
        return f"1{at_most}{chains[0]}{at_most}{level.bound}"
    if all(len(chain) == 1 for chain in level.chains):
        return f"{', '.join(chains)}{less}{level.bound}"
    return ", ".join(f"{chain}{less}{level.bound}" for chain in chains)


def coefficient_text(coefficient: sp.Rational, latex: bool = False) -> str:
    """Return a coefficient with a space behind it; nothing for one."""
    if coefficient == 1:
        return ""
    return f"{sp.latex(coefficient) if latex else coefficient} "
