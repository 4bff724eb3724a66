r"""Contents of a result, before it is typeset: sections of text and equations.

Every kind of result becomes a `Section`; the three styles of `to_latex` are three ways to typeset
the same sections. Texts inside sections are LaTeX; `prose` makes it from plain words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw
from resexpand.export.latex.layout import Equation, broken, page, width
from resexpand.export.latex.positions import convolution, indexed
from resexpand.export.latex.printer import FormulaPrinter
from resexpand.export.latex.tidy import closed_form, formal
from resexpand.network.operation import Noise, Value
from resexpand.network.resnet import ResNet
from resexpand.network.steps import Step
from resexpand.references import Citation
from resexpand.theory.closure import Laws
from resexpand.theory.formula import Formula
from resexpand.theory.notation import symbol_latex

_SPECIAL = {c: rf"\{c}" for c in "&%$#_{}"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "–": "--",
    "≤": r"\ensuremath{\le}",
    "≥": r"\ensuremath{\ge}",
    "≈": r"\ensuremath{\approx}",
    "×": r"\ensuremath{\times}",
}
LISTED = 6
"""Entries of a list that are written out."""

_MATHS = re.compile(
    r"sqrt\((?P<root>\w+)\)|(?P<order>\bO\(1/\w\))|(?P<starred>\b(?:rho|K)\*)"
    r"|\b(?P<name>rho|phi|chi|eta|pi|sigma_\w+2|K\^?0|K|L|N)\b(?!\w|')"
)


@dataclass(frozen=True)
class Text:
    """A paragraph, as LaTeX."""

    latex: str


@dataclass(frozen=True)
class Section:
    """Title, paragraphs and equations of one result, in reading order.

    The neglected order stands apart (``O(1/N)``): every style has its own place for it.
    """

    title: str
    parts: tuple[Text | Equation, ...]
    citations: tuple[Citation, ...] = ()
    neglects: str = ""

    @property
    def equations(self) -> tuple[Equation, ...]:
        """The equations without the text between them."""
        return tuple(part for part in self.parts if isinstance(part, Equation))


def prose(text: str) -> str:
    """Return plain words as LaTeX: special characters escaped, names of quantities as formulas.

    Text between dollar signs is LaTeX already.
    """
    words = text.split("$")
    words[::2] = map(_words, words[::2])
    return "$".join(words)


def _words(text: str) -> str:
    pieces, end = [], 0
    for match in _MATHS.finditer(text):
        pieces += [_escaped(text[end : match.start()]), f"${_maths(match)}$"]
        end = match.end()
    return "".join([*pieces, _escaped(text[end:])])


def _maths(match: re.Match[str]) -> str:
    if match["root"]:
        return rf"\sqrt{{{symbol_latex(match['root'])}}}"
    if match["order"]:
        return match["order"]
    if match["starred"]:
        return symbol_latex(match["starred"][:-1]) + "^{*}"
    name = match["name"].replace("^", "")
    return r"\pi" if name == "pi" else symbol_latex(name)


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in text)


def equation(
    left: str,
    expression: sp.Expr,
    *,
    printer: FormulaPrinter | None = None,
    remark: str = "",
    citations: tuple[Citation, ...] = (),
) -> Equation:
    """Print one equation, its right side on as many lines as it needs."""
    room = page() - (width(left) + 1.4 if left else 0.0)
    lines = broken(printer or FormulaPrinter(), expression, room)
    return Equation(left, lines, remark, citations)


def formula_section(formula: Formula, closed: bool) -> Section:
    """Return a formula; closed forms replace averages if asked for."""
    printer = FormulaPrinter()
    show = closed_form if closed else formal
    left, right = show(formula.lhs, formula.laws), show(formula.rhs, formula.laws)
    if len(str(left)) > len(str(right)):  # a condition: what vanishes is the long side
        main = equation("", left, remark=f"= {printer.text(right)}", citations=formula.citations)
    else:
        main = equation(printer.text(left), right, citations=formula.citations)
    intro = (Text(_sentence(formula.meaning)),) if formula.meaning else ()
    # A definition needs no mention where no formal activation is left.
    formal_ones = {label for label, _ in formula.laws} & (_symbols(left) | _symbols(right))
    parts = (*intro, main, *(law_equations(formula.laws) if formal_ones else ()))
    title = _escaped(formula.name.replace("_", " "))
    return Section(title, parts, formula.citations, formula.neglects)


def _symbols(expression: sp.Expr) -> set[sp.Basic]:
    return set(expression.atoms(sp.Symbol))


def _sentence(text: str) -> str:
    """Return a meaning as a sentence; one that begins with a formula keeps its letter."""
    first = text if text.startswith("rho") else text[0].upper() + text[1:]
    return f"{prose(first)}."


def law_equations(laws: Laws) -> tuple[Equation, ...]:
    """Return the definition of every activation, ``phi(x) = erf(x)``."""
    return tuple(
        equation(f"{symbol_latex(label.name)}(x)", law_expression(law)) for label, law in laws
    )


def law_expression(law: ActivationLaw) -> sp.Expr:
    """Return the expression of an activation in ``x``."""
    (variable,) = law.expression.free_symbols
    return law.expression.xreplace({variable: sp.Symbol("x", real=True)})


def expression_section(left: str, expression: sp.Basic) -> Section:
    """Return a plain SymPy expression, equation or relation."""
    if isinstance(expression, sp.Equality):
        printer = FormulaPrinter()
        left, expression = printer.text(expression.lhs), expression.rhs
    shown = formal(expression) if isinstance(expression, sp.Expr) else expression
    return Section("", (equation(left, shown),))


def network_section(net: ResNet) -> Section:
    """Return the layer equation of a network, its weights and its activation."""
    layers = tuple(
        Equation("h^{l}", (_layer(net, number),), _where(net, number))
        for number in range(len(net.shapes.steps))
    )
    weights = tuple(_weight_law(net))
    own = net.read_out is not None and net.has_own_head
    blocks = (step for shape in net.shapes.steps for step in shape)
    steps = (*blocks, *net.post, *(net.head if own else ()))
    named = {_head(step): step for step in steps if not step.contracts}
    laws = tuple(each for step in named.values() for each in _definitions(step))
    end = (Equation("y", (_read_out(net),)),) if own else ()
    return Section("Network", (Text("A block of the network is"), *layers, *end, *laws, *weights))


def _read_out(net: ResNet) -> str:
    """Return what the read-out makes of the last layer."""
    body = f"h^{{{_depth(net)}}}"
    for step in net.head:
        body = f"{_head(step)}({body})"
    bias = "" if net.read_out is None or net.read_out.bias_variance == 0 else " + b_{\\mathrm{out}}"
    return rf"W_{{\mathrm{{out}}}} {body}{bias}"


def _depth(net: ResNet) -> str:
    return FormulaPrinter().text(net.depth)


def _head(step: Step) -> str:
    """Return how a map is called: by its label, or by its kind."""
    if step.label is not None:
        return symbol_latex(step.label.name)
    index = r"\mathrm{post}" if step.suffix == "_post" else step.number
    number = f"_{{{index}}}" if step.suffix else ""
    return rf"\operatorname{{{step.op.kind}}}{number}"


def _definitions(step: Step) -> Iterable[Equation]:
    """Yield what a map does; a gate is a product of its activation and of a copy."""
    if step.op.gates is None:
        yield _definition(step)
        return
    name, gain = symbol_latex(step.gate.name), _value(step.op.values[0])
    yield equation(f"{name}(x)", law_expression(step.op.gates))
    product = rf"{'' if gain == '1' else gain} {name}(x_i) \, x'_i".strip()
    yield Equation(f"{_head(step)}(x)_{{i}}", (product,), step.op.latex)


def _definition(step: Step) -> Equation:
    """Return what a map does to a neuron; averages are written with a bar, of a batch with a B."""
    if step.label is not None:
        return equation(f"{_head(step)}(x)", law_expression(step.op.law))
    if step.op.attends:
        law = rf"W_{{K,ij}} \sim \mathcal{{N}}\!\left(0, {_value(step.op.values[0])} / N\right)"
        return Equation(f"{_head(step)}(x)_{{t}}", (step.op.latex,), law)
    values = step.op.by_symbol
    listed = {symbol: _value(v) for symbol, v in values.items() if isinstance(v, tuple)}
    at = {symbol: v for symbol, v in values.items() if symbol not in listed}
    printer = FormulaPrinter(listed)
    for symbol, value in step.op.averages:
        over = {"batch": "^{B}", "positions": "^{P}"}.get(step.op.over, "")
        printer.names[symbol] = rf"\overline{{{printer.text(value.xreplace(at))}}}{over}"
    for noise in step.op.noise:
        index = "_{i}" if noise.over == "neurons" else "^{l}"
        printer.names[noise.symbol] = f"{symbol_latex(noise.symbol.name)}{index}"
    laws = ", ".join(_chances(noise, at, printer) for noise in step.op.noise)
    value = step.op.expression.xreplace(at)
    return equation(f"{_head(step)}(x)", value, printer=printer, remark=laws)


def _chances(noise: Noise, at: Mapping[sp.Symbol, sp.Expr], printer: FormulaPrinter) -> str:
    """Return the probabilities of all outcomes of a noise but the last."""
    name = printer.names[noise.symbol]
    return ", ".join(
        rf"P({name} = {printer.text(value)}) = {printer.text(chance.xreplace(at))}"
        for value, chance in noise.outcomes[:-1]
    )


def _where(net: ResNet, shape: int) -> str:
    """Return the blocks that have a shape, ``l = 1, 3, 5``."""
    if not net.shapes.of_block:
        return rf"l = 1, \dots, {_depth(net)}"
    return f"l = {_listed([str(k + 1) for k, s in enumerate(net.shapes.of_block) if s == shape])}"


def _listed(items: list[str]) -> str:
    """Return a list, its middle left out if it is long."""
    shown = items if len(items) <= LISTED else [*items[: LISTED - 2], r"\dots", items[-1]]
    return ", ".join(shown)


def matrix_names(net: ResNet, shape: int = 0) -> tuple[str, ...]:
    """Return the letters of the weight matrices of a branch, in data-flow order."""
    count = sum(step.contracts for step in net.shapes.steps[shape])
    if net.shapes.of_block:
        return tuple(f"W_{{{shape + 1}{i + 1 if count > 1 else ''}}}" for i in range(count))
    if count <= 2:
        return ("W", "V")[:count]
    return tuple(f"W_{{{i + 1}}}" for i in range(count))


def _linears(net: ResNet, shape: int) -> list[tuple[str, str, Any]]:
    """Return names of weights and biases of a branch, and their operations."""
    names = matrix_names(net, shape)
    several = len(names) > 1 or bool(net.shapes.of_block)
    ops = [step.op for step in net.shapes.steps[shape] if step.contracts]
    # The bias beside W_{1} is b_{1}, that beside V is b_{V}.
    letters = [name.partition("_")[2].strip("{}") or name for name in names]
    biases = [f"b_{{{letter}}}" if several else "b" for letter in letters]
    return list(zip(names, biases, ops, strict=True))


def _layer(net: ResNet, shape: int) -> str:
    layer = _sum(net, shape)
    for step in net.post:
        layer = rf"{_head(step)}\left( {layer} \right)"
    return layer


def _sum(net: ResNet, shape: int) -> str:
    """Return the stream and what a branch adds to it."""
    body = "h^{l-1}"
    linears = iter(_linears(net, shape))
    for step in net.shapes.steps[shape]:
        if not step.contracts:
            body = rf"{_head(step)}({body})"
            continue
        name, bias, linear = next(linears)
        called = "(" in body[:5] or body.startswith(r"\operatorname")
        inner = rf"\left( {body} \right)" if "+" in body and not called else body
        times = " * " if linear.over == "positions" else " "
        body = rf"{name}^{{l}}{times}{inner}" + (
            "" if linear.bias_variance == 0 else f" + {bias}^{{l}}"
        )
    scale = r"\rho_{l}" if isinstance(net.scale, tuple) else FormulaPrinter().text(net.scale)
    stream = "h^{l-1}" if net.skip == 1 else rf"{FormulaPrinter().text(net.skip)} \, h^{{l-1}}"
    if net.skip == 0:
        stream = ""
    if scale == "1":
        return rf"{stream} + {body}" if stream else body
    several_terms = "+" in scale or "+" in body
    inner = rf"\left[ {body} \right]" if several_terms else body
    return rf"{stream} + {scale} \, {inner}" if stream else rf"{scale} \, {inner}"


def _weight_law(net: ResNet) -> Iterable[Equation]:
    ends = ((r"\mathrm{in}", net.read_in), (r"\mathrm{out}", net.read_out))
    for shape in range(len(net.shapes.steps)):
        for name, bias, linear in _linears(net, shape):
            yield from convolution(f"{name}^{{l}}", linear)
            yield _normal(f"{name}^{{l}}", f"{bias}^{{l}}", linear)
    for place, end in ends:
        if end is not None:
            yield _normal(f"W_{{{place}}}", f"b_{{{place}}}", end)


def _value(value: Value) -> str:
    """Return a parameter; of one value per block the list, with the layer as its index."""
    printer = FormulaPrinter()
    if isinstance(value, tuple):
        return rf"\left({_listed([printer.text(v) for v in value])}\right)_{{l}}"
    return printer.text(value)


def _normal(weight: str, bias: str, linear: Any) -> Equation:
    w, b = _value(linear.weight_variance), _value(linear.bias_variance)
    if linear.over == "positions":
        weight, w = indexed(weight, "o"), f"{w} v_{{o}}"
    law = rf"\mathcal{{N}}\!\left(0, {w} / N_{{\mathrm{{in}}}}\right)"
    if b != "0":
        law += rf", \qquad {indexed(bias, 'i')} \sim \mathcal{{N}}\!\left(0, {b}\right)"
    return Equation(rf"{indexed(weight, 'ij')} \sim", (law,))
