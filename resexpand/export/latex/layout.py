r"""Lines: how wide a formula is on paper, and where a long one is broken.

Widths are estimated from the LaTeX text in units of the font size, a few per cent on the wide side:
what is promised is that a line fits, not that it fits exactly. A sum breaks before the sign of a
term; a product whose last factor is a sum breaks inside that sum.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp

from resexpand.export.latex.order import is_negative
from resexpand.export.latex.printer import FormulaPrinter
from resexpand.references import Citation

PAGE = 43.0
"""Width of a displayed formula in the documents, in units of the font size."""

_TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|[{}^_&]|.", re.DOTALL)
_WIDE = {"+": 1.35, "-": 1.35, "=": 1.4, r"\int": 1.0, r"\quad": 1.0, r"\qquad": 2.0, r"\prod": 1.1}
_NAMES = {r"\arcsin", r"\arccos", r"\arctan", r"\ln", r"\sin", r"\cos", r"\tan", r"\sinh"} | {
    r"\cosh",
    r"\tanh",
}
_SILENT = {r"\left", r"\right", r"\mathrm", r"\operatorname", r"\text", r"\displaystyle"} | {
    r"\begin",
    r"\end",
    r"\partial_",
    r"\limits",
    "{",
    "}",
    " ",
    "&",
}
_SCRIPT = 0.72


@dataclass(frozen=True)
class Equation:
    """One displayed equation.

    Attributes
    ----------
    left : str
        Left side as LaTeX; empty for an expression that stands alone.
    lines : tuple of str
        Right side, broken into lines.
    remark : str
        LaTeX behind it: the layers for which it holds.
    citations : tuple of Citation
        Where it stands.
    """

    left: str
    lines: tuple[str, ...]
    remark: str = ""
    citations: tuple[Citation, ...] = ()


def width(text: str) -> float:
    r"""Estimate the width of a formula in units of the font size.

    Examples
    --------
    >>> width(r"\frac{a}{b + c}") < width("a + b + c")
    True
    """
    return _Measure(_TOKEN.findall(text)).sequence()


class _Measure:
    """Reads tokens from left to right and adds up widths."""

    def __init__(self, tokens: Sequence[str]):
        self.tokens, self.position = tokens, 0

    def sequence(self) -> float:
        """Measure up to the closing brace or the end; rows of a matrix count as one another."""
        total = widest = 0.0
        while self.position < len(self.tokens) and self.tokens[self.position] != "}":
            if self.tokens[self.position] == r"\\":
                widest, total = max(widest, total), 0.0
                self.position += 1
                continue
            total += self.scripts() if self.tokens[self.position] in "^_" else self.atom()
        return max(total, widest)

    def scripts(self) -> float:
        """Measure an upper and a lower index, which stand above each other."""
        widths = [0.0]
        while self.position < len(self.tokens) and self.tokens[self.position] in ("^", "_"):
            self.position += 1
            widths.append(_SCRIPT * self.atom())
        return max(widths)

    def atom(self) -> float:
        """Measure a group, a command with its arguments, or one character."""
        token = self.tokens[self.position]
        self.position += 1
        if token == "{":
            inner = self.sequence()
            self.position += 1
            return inner
        if token == r"\frac":
            return max(self.atom(), self.atom()) + 0.3
        if token == r"\sqrt":
            return self.atom() + 1.0
        if token in (r"\begin", r"\end"):
            self.atom()  # the name of the environment
            return 0.2
        return _glyph(token)


def _glyph(token: str) -> float:
    """Return the width of a character or of a command without arguments."""
    if token in _NAMES:
        return 0.5 * (len(token) - 1) + 0.2
    return 0.0 if token in _SILENT else _WIDE.get(token, 0.6)


def broken(printer: FormulaPrinter, expression: sp.Expr, room: float) -> tuple[str, ...]:
    """Print an expression on as many lines as it needs.

    Parameters
    ----------
    printer : FormulaPrinter
        Prints the parts.
    expression : sympy.Expr
        The expression to print.
    room : float
        Width of a line, in units of the font size.

    Returns
    -------
    tuple of str
        One text per line; all but the first begin with a sign, or lie within brackets.
    """
    whole = printer.text(expression)
    if width(whole) <= room:
        return (whole,)
    if isinstance(expression, sp.Add):
        return packed(_pieces(printer, expression, room), room)
    return _broken_product(printer, expression, room) or (whole,)


def _pieces(printer: FormulaPrinter, expression: sp.Add, room: float) -> list[str]:
    """Return the terms of a sum with their signs, those too wide for a line broken themselves."""
    pieces: list[str] = []
    for term in printer.ordered(expression):
        sign = "- " if is_negative(term) else "+ " if pieces else ""
        first, *rest = broken(printer, -term if is_negative(term) else term, room - 2)
        pieces += [sign + first, *rest]
    return pieces


def packed(pieces: Sequence[str], room: float) -> tuple[str, ...]:
    """Fill lines with pieces."""
    lines = [pieces[0]]
    for piece in pieces[1:]:
        joined = f"{lines[-1]} {piece}"
        if width(joined) <= room:
            lines[-1] = joined
        else:
            lines.append(piece)
    return tuple(lines)


def _broken_product(
    printer: FormulaPrinter, expression: sp.Expr, room: float
) -> tuple[str, ...] | None:
    """Break a product inside its widest sum, whose brackets then span the lines."""
    above, below, behind = printer.split_fraction(expression)
    sums = [f for f in (behind if below else above) if isinstance(f, sp.Add)]
    if not sums:
        return None
    widest = max(sums, key=lambda factor: (width(printer.text(factor)), printer.text(factor)))
    outside = expression / widest
    head = "" if outside == 1 else printer.text(outside)
    first, *rest = packed(_pieces(printer, widest, room - width(head) - 2), room - width(head) - 2)
    lines = [f"{head} \\biggl[ {first}".strip(), *(rf"\quad {line}" for line in rest)]
    return (*lines[:-1], rf"{lines[-1]} \biggr]")
