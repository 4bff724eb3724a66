"""Symbols in words, for a formula that stands alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

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
    symbols = formula.lhs.free_symbols | formula.rhs.free_symbols
    said = [
        f"${symbol_latex(s.name)}$ is {words}"
        for s in sorted(symbols, key=lambda s: s.name)
        if (words := meaning(s.name))
    ]
    if not said:
        return section
    return replace(section, parts=(*section.parts, Text(f"Here {_listed(said)}.")))


def meaning(name: str) -> str:
    """Return what a symbol of the theory means; nothing if it is none."""
    found = VARIANCE.match(name)
    if found is None or found["of"] not in VARIANCES:
        return MEANINGS.get(name, "")
    index = found["index"]
    return VARIANCES[found["of"]] + (f" of linear operation {index}" if index else "")


def _listed(said: Iterable[str]) -> str:
    *first, last = said
    return f"{', '.join(first)} and {last}" if first else last
