r"""Lines: how wide a formula is on paper, and where a long one is broken.

Widths are estimated from the LaTeX text in units of the font size, a few per cent on the wide side:
what is promised is that a line fits, not that it fits exactly. A sum breaks before the sign of a
term; a product whose last factor is a sum breaks inside that sum.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import sympy as sp

from resexpand.export.latex.order import base_and_exponent, is_negative, ordered_factors
from resexpand.export.latex.printer import FormulaPrinter
from resexpand.gaussian.expectation import GaussianExpectation
from resexpand.references import Citation

PAGE = 43.0
"""Width of a displayed formula in the documents, in units of the font size."""

WIDTHS = {"page": PAGE, "text": 33.0, "column": 17.5}
"""Widths by name, with room for a number: these documents, one column of 5.5 inches, and a column
of a page that has two."""

LEAST = 9.0
"""Width to which lines within brackets are broken at least."""

_ROOM: ContextVar[float] = ContextVar("_ROOM", default=PAGE)


def page() -> float:
    """Return the width for which formulas are being broken."""
    return _ROOM.get()


@contextmanager
def lines_of(room: float) -> Iterator[None]:
    """Break formulas for a width."""
    before = _ROOM.set(room)
    try:
        yield
    finally:
        _ROOM.reset(before)


_TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|[{}^_&]|.", re.DOTALL)
_WIDE = {"+": 1.35, "-": 1.35, "=": 1.4, r"\int": 1.0, r"\quad": 1.0, r"\qquad": 2.0, r"\prod": 1.1}
_FUNCTIONS = "arcsin arccos arctan ln sin cos tan sinh cosh tanh"
_NAMES = {rf"\{function}" for function in _FUNCTIONS.split()}
_COMMANDS = "left right mathrm operatorname text displaystyle begin end partial_ limits"
_SILENT = {rf"\{command}" for command in _COMMANDS.split()} | set("{} &")
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
    room = max(room, LEAST)
    whole = printer.text(expression)
    if width(whole) <= room:
        return (whole,)
    expression = _opened(expression)
    if isinstance(expression, sp.Add):
        return packed(_pieces(printer, expression, room), room)
    return _broken_product(printer, expression, room) or _broken_factors(printer, expression, room)


def _opened(expression: sp.Expr) -> sp.Expr:
    """Return an average of a sum as the sum of averages, which can be broken."""
    if not isinstance(expression, GaussianExpectation):
        return expression
    terms = sp.Add.make_args(expression.integrand)
    coefficients = (term.as_independent(*expression.variables, as_Add=False) for term in terms)
    around = (expression.variables, expression.covariance)
    return sp.Add(*(c * GaussianExpectation(rest, *around) for c, rest in coefficients))


def _broken_factors(printer: FormulaPrinter, expression: sp.Expr, room: float) -> tuple[str, ...]:
    """Break a product in front of factors; the last resort, where no sum can be broken."""
    _, factors = expression.as_coeff_mul()
    wide = [f for f in factors if _is_wide(printer, f, room)]
    front = expression / sp.Mul(*wide)
    above, below, behind = printer.split_fraction(front)
    pieces: list[str] = []
    if front != 1 and width(printer.text(front)) > room and len(behind if below else above) > 1:
        outside = behind if below else above
        rest = front / sp.Mul(*outside)
        parts = ([rest] if rest != 1 else []) + ordered_factors(outside, printer.text)
        pieces += [f"({printer.text(p)})" if p.is_Add else printer.text(p) for p in parts]
    elif front != 1:
        pieces.append(printer.text(front))
    for factor in ordered_factors(wide, printer.text):
        pieces += _powered(printer, factor, room)
    if len(pieces) < 2:
        return (printer.text(expression),)
    marked = [pieces[0]]
    for piece in pieces[1:]:
        inner = piece.startswith(("+", "-", r"\cdot"))
        marked.append(piece if inner else rf"\cdot {piece}")
    return packed(marked, room)


def _is_wide(printer: FormulaPrinter, factor: sp.Expr, room: float) -> bool:
    return (
        isinstance(base_and_exponent(factor)[0], sp.Add) and width(printer.text(factor)) > room / 3
    )


def _powered(printer: FormulaPrinter, factor: sp.Expr, room: float) -> list[str]:
    """Return a power of a sum, its bracket broken where it is too wide for a line."""
    base, exponent = base_and_exponent(factor)
    whole = f"({printer.text(base)})" if exponent == 1 else printer.text(factor)
    if width(whole) <= room - 1:
        return [whole]
    first, *rest = packed(_pieces(printer, base, room - 3), room - 3)
    power = "" if exponent == 1 else f"^{{{exponent}}}"
    lines = [rf"\biggl[ {first}", *rest]
    return [*lines[:-1], rf"{lines[-1]} \biggr]{power}"]


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
