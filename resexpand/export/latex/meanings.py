"""Symbols in words, for a formula that stands alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import sympy as sp

from resexpand.conventions import WIDTH
from resexpand.export.latex.sections import Section, Text
from resexpand.theory.formula import Formula
from resexpand.theory.notation import VARIANCE, symbol_latex

MEANINGS = {
    "rho": "the residual scale",
    "L": "the number of blocks",
    WIDTH.name: "the number of neurons per layer",
    "K0": "the kernel at layer 0",
    "K_star": "the kernel of the last layer at the optimum",
}
"""Words for the names that the theory gives; others are those of the user, who knows them."""

VARIANCES = {"w": "the weight variance times the fan-in", "b": "the bias variance"}


def defined(section: Section, formula: Formula) -> Section:
    """Return the section of a formula with a sentence that says what its symbols are."""
    said = meanings(formula.lhs.free_symbols | formula.rhs.free_symbols)
    return replace(section, parts=(*section.parts, *said))


def meanings(symbols: Iterable[sp.Basic]) -> tuple[Text, ...]:
    """Return a sentence on the symbols that are those of the theory; nothing if none is."""
    names = sorted(str(symbol) for symbol in symbols)
    said = [f"${symbol_latex(name)}$ is {words}" for name in names if (words := meaning(name))]
    return (Text(f"Here {_listed(said)}."),) if said else ()


def meaning(name: str) -> str:
    """Return what a symbol of the theory means; nothing if it is none."""
    variance = VARIANCE.match(name)
    if variance is None or variance["of"] not in VARIANCES:
        return MEANINGS.get(name, "")
    index = variance["index"]
    return VARIANCES[variance["of"]] + (f" of linear operation {index}" if index else "")


def _listed(said: Iterable[str]) -> str:
    *first, last = said
    return f"{', '.join(first)} and {last}" if first else last
