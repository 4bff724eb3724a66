r"""Recursions as sections: definitions, update, initial values, outputs, numbers, order.

Inside a recursion the state belongs to a layer: on the right of an update it is that of layer
``l-1``, in an output that of the layer it is read from. A propagator is written as the product it
is, ``\chi^{l,m} = \prod_{k=m+1}^{l} (...)_{K^{k-1}}``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import sympy as sp

from resexpand.export.latex.layout import Equation, broken, page, width
from resexpand.export.latex.printer import FormulaPrinter
from resexpand.export.latex.sections import Section, Text, law_equations, prose
from resexpand.export.latex.tidy import closed_form, formal
from resexpand.gaussian.expectation import GaussianExpectation
from resexpand.theory.notation import symbol_latex
from resexpand.theory.recursion import Output, Recursion

_ENTRIES = ("11", "12", "22")
_HEADS = {"slope": r"\partial_\rho \ln \eta", "growth": "B", "condition": "F", "remainder": "R"}


def recursion_section(recursion: Recursion, closed: bool) -> Section:
    """Return a recursion as text and equations.

    Parameters
    ----------
    recursion : Recursion
        The recursion to write.
    closed : bool
        Whether averages are written in closed form, where one is known.
    """
    writer = _Writer(recursion, closed)
    parts: list[Text | Equation] = []
    for words, equations in (
        ("With the constants", writer.constants()),
        ("the layers follow" if recursion.constants else "The layers follow", writer.layers()),
        ("from the initial values", writer.initial()),
        (_read_off(recursion), writer.outputs()),
        ("with", [*writer.laws(), *writer.bindings()]),
    ):
        if equations or words.endswith("."):  # a sentence stands without equations
            parts += [Text(words), *equations]
    title = recursion.title[0].upper() + recursion.title[1:]
    return Section(prose(title), tuple(parts), recursion.citations, recursion.neglects)


def recursion_equations(recursion: Recursion, closed: bool) -> tuple[Equation, ...]:
    """Return the equations of a recursion alone, to stand among others."""
    writer = _Writer(recursion, closed)
    return (*writer.constants(), *writer.layers(), *writer.initial(), *writer.outputs())


def recursion_bindings(recursion: Recursion) -> list[Equation]:
    """Return the numbers that the network gives to the hyperparameters of a recursion."""
    return _Writer(recursion, closed=False).bindings()


def _read_off(recursion: Recursion) -> str:
    """Return what introduces the outputs: those made of many numbers are explained."""
    explained = [
        f"the {output.name} ({prose(output.meaning)})"
        for output in recursion.outputs
        if output.shape and recursion.inputs == 1
    ]
    return f"What is read off: {', '.join(explained)}." if explained else "What is read off:"


class _Writer:
    """Writes the equations of one recursion."""

    def __init__(self, recursion: Recursion, closed: bool):
        self.recursion, self.closed = recursion, closed

    def constants(self) -> list[Equation]:
        """Return what is the same at all layers."""
        return [
            self._equation(symbol_latex(symbol.name), value, "0", "1")
            for symbol, value in self.recursion.constants
        ]

    def layers(self) -> list[Equation]:
        """Return a block: its intermediate quantities and the state behind it."""
        return [*self.definitions(), *self.updates()]

    def definitions(self) -> list[Equation]:
        """Return the intermediate quantities of a block."""
        last = self._depth() + (" + 1" if self._closes_with_own_block() else "")
        return [
            self._equation(symbol_latex(symbol.name, "l"), value, "l-1", "l", self._range(last))
            for symbol, value in self.recursion.definitions
        ]

    def updates(self) -> list[Equation]:
        """Return the state of a layer in terms of the one before."""
        pairs = zip(self.recursion.state, self.recursion.update, strict=True)
        return [
            self._equation(symbol_latex(s.name, "l"), u, "l-1", "l", self._range(self._depth()))
            for s, u in pairs
            if s != u
        ]

    def initial(self) -> list[Equation]:
        """Return the state at layer 0, unless it only gives a name."""
        pairs = zip(self.recursion.state, self.recursion.initial, strict=True)
        named = [(symbol_latex(s.name, "0"), FormulaPrinter().text(i)) for s, i in pairs]
        zeros = [left for left, right in named if right == "0"]
        if len(zeros) < 3:
            return [Equation(left, (right,)) for left, right in named if left != right]
        others = [Equation(left, (right,)) for left, right in named if right not in ("0", left)]
        # Aligned at the first sign of equality, like all the others.
        chains = [f"{row} = 0".split(" = ", 1) for row in _rows(zeros, " = ")]
        return [*others, *(Equation(left, (right,)) for left, right in chains)]

    def outputs(self) -> list[Equation]:
        """Return what is read off, beyond the state itself."""
        return [e for output in self.recursion.outputs for e in self._output(output)]

    def _output(self, output: Output) -> Iterable[Equation]:
        if output.kind == "propagator":
            yield from self._propagator(output)
        elif output.kind == "layer" and output.vector:
            yield from self._way_back(output)
        elif output.kind == "layer":
            last = f"{self._depth()}+1"
            labels = ("",) if len(output.at_end) == 1 else tuple(f"_{e}" for e in _ENTRIES)
            for label, value, end in zip(labels, output.entries, output.at_end, strict=True):
                name = f"{output.name}{label}"
                if not value.is_Symbol:
                    yield self._equation(
                        symbol_latex(name, "l"), value, "l-1", "l", self._range(self._depth())
                    )
                if output.at_end != output.entries:
                    yield self._equation(symbol_latex(name, last), end, self._depth(), last)
        elif output.vector:
            for index, entry in enumerate(output.entries):
                left = f"{self._head(output.name)}_{{{index}}}^{{l}}"
                yield self._equation(left, entry, "l", "l+1")
        elif output.kind == "final" and output.shape:
            for place, entry in zip(_ENTRIES, output.entries, strict=True):
                left = symbol_latex(f"{output.name}_{place}", self._depth())
                yield self._equation(left, entry, self._depth(), f"{self._depth()}+1")
        elif output.kind == "final":
            for entry in output.entries:
                left = f"{self._head(output.name)}^{{{self._depth()}}}"
                yield self._equation(left, entry, self._depth(), f"{self._depth()}+1")

    def _way_back(self, output: Output) -> Iterable[Equation]:
        """Write matrices of the blocks that act on a vector, from the last block to the first."""
        last = f"{self._depth()}+1"
        head, size = symbol_latex(output.name), math.isqrt(len(output.entries))
        ones = ", ".join("1" * size)
        start = rf"P^{{{self._depth()}}} = {head}^{{{last}}} ({ones})^{{\top}}"
        line = rf"{head}^{{l}} P^{{l}}, \quad {start}"
        yield Equation("P^{l-1}", (line,), citations=self.recursion.citations)
        for entries, at in ((output.entries, ("l-1", "l")), (output.at_end, (self._depth(), last))):
            for index, entry in enumerate(entries):
                place = f"{index // size + 1}{index % size + 1}"
                yield self._equation(f"{head}_{{{place}}}^{{{at[1]}}}", entry, *at)

    def _propagator(self, output: Output) -> Iterable[Equation]:
        if output.matrix is None:
            return
        head = self._head(output.name)
        if output.matrix.rows == 1:
            entry = f"{head}^{{l,m}}"
            if output.diagonal is not None:
                yield self._equation(f"{head}^{{m,m}}", output.diagonal, "m", "m+1")
                entry += rf" / {head}^{{m,m}}"
            yield self._product(entry, output.matrix[0, 0])
            return
        row, column = (int(index) + 1 for index in output.entries)
        product = rf"\left[ J^{{l}} J^{{l-1}} \cdots J^{{m+1}} \right]_{{{row}{column}}}"
        yield Equation(f"{head}^{{l,m}}", (product,), citations=self.recursion.citations)
        for i in range(output.matrix.rows):
            for j in range(output.matrix.cols):
                yield self._equation(f"J_{{{i + 1}{j + 1}}}^{{l}}", output.matrix[i, j], "l-1", "l")

    def _product(self, left: str, factor: sp.Expr) -> Equation:
        """Write an ordered product of numbers, its factor broken into lines if it is long."""
        printer = self._printer("k-1", "k")
        value = self._shown(factor)
        room = page() - width(left) - 7
        lines = broken(printer, value, room)
        sign = r"\prod_{k=m+1}^{l}"
        if len(lines) == 1:
            inner = rf"{sign} \left( {lines[0]} \right)"
            return Equation(left, (inner,), citations=self.recursion.citations)
        first, *middle, last = lines
        rest = [rf"\qquad {line}" for line in middle]
        broken_lines = (rf"{sign} \biggl( {first}", *rest, rf"\qquad {last} \biggr)")
        return Equation(left, broken_lines, citations=self.recursion.citations)

    def laws(self) -> list[Equation]:
        """Return the activations that formal averages are about."""
        return list(law_equations(self.recursion.laws))

    def bindings(self) -> list[Equation]:
        """Return the numbers that the network gives to hyperparameters."""
        given = {
            symbol_latex(symbol.name): FormulaPrinter().text(value)
            for symbol, value in self.recursion.bindings
            if symbol != value
        }
        for symbol, values in self.recursion.layer_bindings:
            for block, value in enumerate(values, start=1):
                left = rf"{symbol_latex(symbol.name)}_{{{block}}}"
                given[left] = FormulaPrinter().text(value)
        depth = self.recursion.net.depth
        if depth.is_number:
            given["L"] = str(depth)
        if not given:
            return []
        written = [f"{left} = {right}" for left, right in given.items()]
        rows = (row.split(" = ", 1) for row in _rows(written))
        return [Equation(left, (right,)) for left, right in rows]

    def _equation(
        self, left: str, value: sp.Expr, layer: str, block: str, remark: str = ""
    ) -> Equation:
        printer = self._printer(layer, block)
        room = page() - width(left) - 1.4
        lines = broken(printer, self._shown(value), room)
        return Equation(left, lines, remark, self.recursion.citations)

    def _shown(self, value: sp.Expr) -> sp.Expr:
        value = self._folded(value)
        return closed_form(value, self.recursion.laws) if self.closed else formal(value)

    def _folded(self, value: sp.Expr) -> sp.Expr:
        """Name the covariances of averages by the definitions they are, ``C_{(1)}^{l}``."""
        flat = {self.recursion.flat(v): s for s, v in self.recursion.definitions}
        nodes = value.atoms(GaussianExpectation)
        return value.xreplace(
            {n: n.with_covariance([flat.get(c, c) for c in n.covariance]) for n in nodes}
        )

    def _printer(self, layer: str, block: str) -> FormulaPrinter:
        """Return a printer for the state at a layer and the quantities of a block."""
        names = {s: symbol_latex(s.name, layer) for s in self.recursion.state}
        names |= {s: symbol_latex(s.name, block) for s, _ in self.recursion.definitions}
        for symbol, _ in self.recursion.layer_bindings:
            names[symbol] = f"{symbol_latex(symbol.name)}_{{{block}}}"
        return FormulaPrinter(names, self._pair_names(layer, block))

    def _pair_names(self, layer: str, block: str) -> dict[tuple[sp.Expr, ...], str]:
        """Return how the covariance of two inputs is written: as the matrix it is, ``K^{l-1}``."""
        names = {}
        pools = ((self.recursion.state, layer), ([s for s, _ in self.recursion.definitions], block))
        for symbols, at in pools:
            by_name = {s.name: s for s in symbols}
            for stem in dict.fromkeys(name[:-3] for name in by_name if name.endswith("_11")):
                entries = tuple(by_name.get(f"{stem}_{entry}") for entry in _ENTRIES)
                if None not in entries and not stem.startswith("chi"):
                    names[entries] = symbol_latex(stem, at)
        return names

    def _head(self, name: str) -> str:
        head = _HEADS.get(name) or symbol_latex(name)
        return head + ("_{12}" if self.recursion.inputs == 2 else "")

    def _depth(self) -> str:
        """Return the depth as a letter; its number stands among the numbers of the network."""
        depth = self.recursion.net.depth
        return "L" if depth.is_number else FormulaPrinter().text(depth)

    def _range(self, last: str) -> str:
        return rf"l = 1, \dots, {last}"

    def _closes_with_own_block(self) -> bool:
        return any(o.kind == "layer" and o.at_end == o.entries for o in self.recursion.outputs)


def _rows(pieces: list[str], between: str = r", \quad ") -> list[str]:
    """Join short statements into rows that fit the page."""
    rows = [pieces[0]]
    for piece in pieces[1:]:
        joined = f"{rows[-1]}{between}{piece}"
        if width(joined) <= page() - 2:
            rows[-1] = joined
        else:
            rows.append(piece)
    return rows
