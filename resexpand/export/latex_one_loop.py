"""The order 1/N as a section: the principle in words, then one formula after the other."""

from __future__ import annotations

from itertools import groupby

from resexpand.export.latex_layout import Equation
from resexpand.export.latex_sections import (
    Section,
    Text,
    formula_section,
    law_equations,
    network_section,
    prose,
)
from resexpand.theory.formula import Formula
from resexpand.theory.one_loop import OneLoop

_GROUPS = (
    (
        ("covariance", "kernel"),
        "Given the Gram matrices of all linear operations, neurons are independent, and what each "
        "linear operation draws is Gaussian. This is exact at every width. At infinite width the "
        "Gram matrices do not fluctuate:",
    ),
    (
        ("response", "curvature", "stream", "kernel_propagator", "gram_propagator"),
        "A Gram matrix that deviates moves all that follows. By Price's theorem and the chain "
        "rule,",
    ),
    (
        ("source", "conditioning_source"),
        "An average over N neurons fluctuates, and since all layers add to one stream, averages of "
        "different layers fluctuate together. For $m \\\\le l$, symmetric in both,",
    ),
    (
        ("kernel_covariance", "gram_covariance", "empirical_covariance"),
        "Carried on by the responses, these sources make the covariances between layers,",
    ),
    (
        ("tadpole", "conditioning", "gram_mean", "kernel_mean"),
        "and the corrections of the means: inherited ones are transported; the curvature "
        "acts on fluctuations (tadpole); and a neuron that raised an earlier Gram matrix responds "
        "differently to what that one moves (conditioning).",
    ),
    (
        ("kurtosis", "validity"),
        "The output is Gaussian given its Gram matrix, so that its excess kurtosis is a variance. "
        "The expansion holds as long as the last quantity is small against N:",
    ),
)


def one_loop_section(theory: OneLoop, closed: bool) -> Section:
    """Return the order 1/N of a network as text and equations."""
    parts: list[Text | Equation] = [*network_section(theory.net).parts]
    for number, same in groupby(theory.formulas, key=_group):
        parts.append(Text(prose(_GROUPS[number][1].replace("\\\\", "\\"))))
        for formula in same:
            parts += formula_section(formula, closed).equations[:1]
    if not closed:
        parts += law_equations(theory.kernel.laws)
    if theory.inputs > 1:
        parts.append(
            Text(
                "For several inputs $K$ and $C$ have one entry for every pair of inputs, and "
                "products of responses and sources are sums over entries."
            )
        )
    return Section("Order $1/N$", tuple(parts), theory.citations, "O(1/N^{2})")


def _group(formula: Formula) -> int:
    """Return which group a formula belongs to: that of the longest name it begins with."""
    found = [
        (len(stem), number)
        for number, (stems, _) in enumerate(_GROUPS)
        for stem in stems
        if formula.name == stem or formula.name.startswith(f"{stem}_")
    ]
    return max(found)[1]
