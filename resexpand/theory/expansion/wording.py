r"""Terms in words a reader would write: ``1/2 sum_{k=1..n} sum_{i,j<k} f_k''(f_i, f_j)``.

The elementary differential of a vertex with one child is written as a product of derivatives
applied to its argument, ``f_j'(f_i)``; from the fourth derivative on the order stands in brackets.
Both plain text and LaTeX come from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sympy as sp

from resexpand.combinatorics.tree import Tree
from resexpand.theory.expansion.sums import Level, NestedSum
from resexpand.theory.latex_names import name_latex
from resexpand.theory.notation import in_notation

SHOWN_TERMS = 40
"""Terms that a printed expansion shows at most, in whole orders after the first."""
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


def coefficient_text(coefficient: sp.Expr, latex: bool = False) -> str:
    """Return a coefficient; nothing for one, its sign for minus one."""
    if abs(coefficient) == 1 and coefficient.is_real:
        return "" if coefficient == 1 else "-"
    return in_notation(coefficient) if latex else str(coefficient)


def factor_text(scale: sp.Expr, latex: bool = False) -> str:
    """Return a product of scales; nothing for one."""
    text = coefficient_text(scale, latex)
    return f"({text})" if scale.is_Add else text


def scale_text(base: sp.IndexedBase, indices: Sequence[str], latex: bool = False) -> str:
    """Return a product of indexed scales, its indices in alphabetical order."""
    names = sorted(indices, key=lambda name: (name.count("_"), name))
    if latex:
        head = name_latex(str(base.label))
        return " ".join(f"{head}_{{{name}}}" for name in names)
    return " ".join(f"{base.label}_{name}" for name in names)


def expansion_text(start: str, terms: Mapping[int, Any], size: Callable[[int], int]) -> str:
    """Return an expansion as text, one line per term; high orders by their number of terms.

    Parameters
    ----------
    start : str
        The term of order 0; empty for a derivative in a scale, which has none.
    terms : mapping of int to sequence of Term
        The expansion.
    size : callable
        Number of terms of an order.
    """
    lines = [f"F(x) = {start}" if start else "dF(x) = 0"]
    shown = _shown_orders(terms, size)
    for order in terms:
        if order in shown:
            lines += [f"  {signed(term.text())}" for term in terms[order] if term.scale != 0]
        else:
            lines.append(f"  + order {order}: {size(order)} terms")
    return "\n".join(lines)


def expansion_latex(start: str, terms: Mapping[int, Any], size: Callable[[int], int]) -> str:
    """Return an expansion as one formula, all differentials taken at ``x``."""
    shown = _shown_orders(terms, size)
    listed = (term for order in shown for term in terms[order] if term.scale != 0)
    parts = [*([start] if start else []), *(term.text(latex=True) for term in listed)]
    if len(shown) < len(terms):
        parts.append(r"\cdots")
    head = "F(x) = " if start else r"\partial F(x) = "
    return head + (" ".join([*parts[:1], *map(signed, parts[1:])]) or "0")


def signed(term: str) -> str:
    """Return a term behind others: with a plus in front, or its own minus."""
    return f"- {term[1:].lstrip()}" if term.startswith("-") else f"+ {term}"


def _shown_orders(orders: Iterable[int], size: Callable[[int], int]) -> list[int]:
    total = 0
    shown: list[int] = []
    for order in orders:
        total += size(order)
        if total > SHOWN_TERMS and shown:
            break
        shown.append(order)
    return shown
