"""The order 1/N as a section: the principle in words, then one formula after the other."""

from __future__ import annotations

from itertools import groupby

from resexpand.export.latex.layout import Equation
from resexpand.export.latex.meanings import meanings
from resexpand.export.latex.printer import FormulaPrinter
from resexpand.export.latex.recursion import recursion_bindings
from resexpand.export.latex.sections import (
    Section,
    Text,
    equation,
    formula_section,
    law_equations,
    network_section,
    prose,
)
from resexpand.export.latex.tidy import formal
from resexpand.gaussian.expectation import GaussianExpectation
from resexpand.theory.finite_response import FiniteResponse
from resexpand.theory.formula import Formula
from resexpand.theory.one_loop import OneLoop
from resexpand.theory.one_loop.quantities import LayerQuantity, quantity
from resexpand.theory.one_loop.words import GROUPS, group


def finite_response_section(theory: FiniteResponse, closed: bool) -> Section:
    """Return a response at finite width as text and equations."""
    parts = _grouped(theory, closed, _COLUMNS)
    parts += [*law_equations(theory.one_loop.kernel.laws), *_numbers(theory.one_loop)]
    return Section("Response at finite width", tuple(parts), theory.citations, "O(1/N^{2})")


def one_loop_section(theory: OneLoop, closed: bool) -> Section:
    """Return the order 1/N of a network as text and equations."""
    parts = _grouped(theory, closed, _ENTRIES if theory.inputs > 1 else "")
    if theory.inputs == 1:
        parts.append(Text(_OTHER_WEIGHTS))
        parts += [e for f in theory.weight_formulas for e in _equations(f, closed)]
    if not closed or theory.inputs > 1:
        parts += law_equations(theory.kernel.laws)
    return Section("Order $1/N$", (*parts, *_numbers(theory)), theory.citations, "O(1/N^{2})")


def _grouped(theory: OneLoop | FiniteResponse, closed: bool, opening: str) -> list[Text | Equation]:
    """Return the network, and what each group of formulas says, with the formulas."""
    parts = [*network_section(theory.net).parts, *meanings(theory.net.free_symbols)]
    parts += [Text(opening)] if opening else []
    for number, same in groupby(theory.formulas, key=lambda formula: group(formula.name)):
        formulas = list(same)
        meaning = formulas[0].meaning
        last = f" It is {meaning.split(' ', 4)[-1]}." if meaning.startswith("value ") else ""
        parts.append(Text(prose(GROUPS[number][1] + last)))
        parts += [e for formula in formulas for e in _equations(formula, closed)]
    return parts


_COLUMNS = (
    "A tangent $v$ of the input $h$ is one more column of the network: given the past, the rows of "
    "what a linear operation makes of $\\phi(h)$ and $\\phi'(h) v$ are independent and normal. So "
    "Gram matrices have the entries $hh$, $hv$, $vv$. Averages are over the components $x_h, x_v$ "
    "of one neuron at the later of two layers, and $y_h, y_v$ at the earlier one: their "
    "covariances are $K^{l-1}$, $K^{m-1}$ within the layers, and $K^{m-1}$ between them. Letters "
    "$p, q, r, s$ run over the entries, $a, b, c, d$ over the columns."
)


_ENTRIES = (
    "Of several inputs $a, b, c, d$ Gram matrices have one entry for every pair. Averages "
    "are over the components $x_a, x_b$ of one neuron at the later of two layers, and $x_c, x_d$ "
    "at the earlier one: their covariances are $K^{l-1}$, $K^{m-1}$ within the layers, and "
    "$K^{m-1}$ between them. For $a = b$ the three $P_{ab,\\cdot\\,,cd}$ add up to one. Letters "
    "$p, q, r, s$ run over all pairs of inputs."
)


_OTHER_WEIGHTS = (
    "Weights are Gaussian so far. For independent weights of another law with the same variance, "
    r"symmetric about zero, with $\mu_4 = \mathrm{E} w^4 / (\mathrm{E} w^2)^2$, covariances and "
    r"responses are the same, $\omega$ is added to the tadpole, and the kurtosis changes:"
)


def _numbers(theory: OneLoop) -> list[Text | Equation]:
    """Return what the symbols of the formulas stand for, where the network has numbers."""
    given = recursion_bindings(theory.kernel)
    return [Text("with"), *given] if given else []


def _equations(formula: Formula, closed: bool) -> tuple[Equation, ...]:
    if not any(node.args[2] for node in formula.lhs.atoms(LayerQuantity)):
        return formula_section(formula, closed).equations[:1]
    nodes = formula.rhs.atoms(GaussianExpectation)
    printer = FormulaPrinter(None, {n.covariance: _layers_of(n) for n in nodes})
    left = printer.text(formula.lhs)
    return (equation(left, formal(formula.rhs), printer=printer, citations=formula.citations),)


def _layers_of(node: GaussianExpectation) -> str:
    """Return the matrices an average is over: of one layer, or of two."""
    ends = node.covariance[0], node.covariance[-1]
    printer = FormulaPrinter()
    names = [printer.text(quantity(str(e.args[0]), *e.args[3:], draw=int(e.args[1]))) for e in ends]
    return names[0] if len(node.variables) == 2 else ", ".join(dict.fromkeys(names))
