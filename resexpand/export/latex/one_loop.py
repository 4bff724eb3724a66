"""The order 1/N as a section: the principle in words, then one formula after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

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
from resexpand.theory.one_loop.quantities import quantity

Words = Sequence[tuple[Sequence[str], str]]
"""For every group of formulas the beginnings of their names, and what is said of them."""

WORDS: Words = (
    (
        ("covariance", "kernel"),
        "Given the Gram matrices of all linear operations, neurons are independent, and what each "
        "linear operation draws is Gaussian: this is exact at every width. At infinite width the "
        "Gram matrices do not fluctuate.",
    ),
    (
        ("response", "curvature"),
        "A Gram matrix that deviates moves what follows. By Price's theorem its slope $T$ and "
        "curvature $H$ are averages of derivatives.",
    ),
    (
        ("stream", "block_response", "kernel_propagator", "gram_propagator"),
        "The chain rule carries a deviation through the blocks.",
    ),
    (
        ("source", "conditioning_source"),
        "An average over $N$ neurons fluctuates, and since all layers add to one stream, averages "
        "of different layers fluctuate together: for $m \\le l$, symmetric in both,",
    ),
    (
        ("kernel_covariance", "gram_covariance", "single_neuron", "empirical_covariance"),
        "Carried on by the responses, these sources make the covariances between layers.",
    ),
    (
        ("tadpole", "conditioning", "gram_mean", "kernel_mean"),
        "The means are corrected by what is inherited, by the curvature on fluctuations (tadpole), "
        "and because a neuron that raised an earlier Gram matrix responds differently to what that "
        "one moves (conditioning).",
    ),
    (
        ("four_point", "kurtosis", "validity"),
        "The output is Gaussian given its Gram matrix, so that its excess kurtosis is a variance. "
        "The expansion holds as long as the last quantity is small against $N$.",
    ),
)


def finite_response_section(theory: FiniteResponse, closed: bool) -> Section:
    """Return a response at finite width as text and equations."""
    network = network_section(theory.net).parts
    parts: list[Text | Equation] = [*network, *meanings(theory.net.free_symbols), Text(_COLUMNS)]
    for stem, text, formulas in grouped(theory.formulas, (*WORDS[:-1], _LAST)):
        meaning = formulas[0].meaning.split(" ", 4)[-1] if stem == "finite" else ""
        parts.append(Text(prose(text + meaning)))
        parts += [e for formula in formulas for e in _of_entries(formula)]
    kernel = theory.one_loop.kernel
    parts += [*law_equations(kernel.laws), *_numbers(theory.one_loop)]
    return Section("Response at finite width", tuple(parts), theory.citations, "O(1/N^{2})")


_LAST = (("finite",), "These give the response, its shift and its variance times N, ")
_COLUMNS = (
    "A tangent $v$ of the input $h$ is one more column of the network: given the past, the rows of "
    "what a linear operation makes of $\\phi(h)$ and $\\phi'(h) v$ are independent and normal. So "
    "Gram matrices have the entries $hh$, $hv$, $vv$. Averages are over the components $x_h, x_v$ "
    "of one neuron at the later of two layers, and $y_h, y_v$ at the earlier one: their "
    "covariances are $K^{l-1}$, $K^{m-1}$ within the layers, and $K^{m-1}$ between them. Letters "
    "$p, q, r, s$ run over the entries, $a, b, c, d$ over the columns."
)


def one_loop_section(theory: OneLoop, closed: bool) -> Section:
    """Return the order 1/N of a network as text and equations."""
    said = meanings(theory.net.free_symbols)
    parts: list[Text | Equation] = [*network_section(theory.net).parts, *said]
    for _, text, formulas in grouped(theory.formulas, WORDS):
        parts.append(Text(prose(text)))
        parts += [e for formula in formulas for e in _equations(formula, theory, closed)]
    if theory.inputs == 1:
        parts.append(Text(_OTHER_WEIGHTS))
        parts += [e for f in theory.weight_formulas for e in _equations(f, theory, closed)]
    if not closed or theory.inputs > 1:
        parts += law_equations(theory.kernel.laws)
    parts += _numbers(theory)
    if theory.inputs > 1:
        parts.insert(len(network_section(theory.net).parts), Text(_ENTRIES))
    return Section("Order $1/N$", tuple(parts), theory.citations, "O(1/N^{2})")


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


def _equations(formula: Formula, theory: OneLoop, closed: bool) -> tuple[Equation, ...]:
    if theory.inputs == 1:
        return formula_section(formula, closed).equations[:1]
    return _of_entries(formula)


def _of_entries(formula: Formula) -> tuple[Equation, ...]:
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


def grouped(formulas: Iterable[Formula], words: Words) -> Iterator[tuple[str, str, list[Formula]]]:
    """Yield every group: its first name, what is said, and the formulas, if there are any.

    A formula belongs to the group of the longest name it begins with.
    """
    stems = {stem: names[0] for names, _ in words for stem in names}
    groups: dict[str, list[Formula]] = {names[0]: [] for names, _ in words}
    for formula in formulas:
        begun = [s for s in stems if formula.name == s or formula.name.startswith(f"{s}_")]
        groups[stems[max(begun, key=len)]].append(formula)
    yield from ((names[0], text, own) for names, text in words if (own := groups[names[0]]))
