r"""Formulas for a paper: labels, citations by key, and the notation of its author.

They act on finished sections, so that every kind of result takes part. Notation is replaced token
by token: in equations, and between dollar signs in words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import sympy as sp

from resexpand import conventions
from resexpand.errors import HyperparameterError
from resexpand.export.latex.layout import Equation
from resexpand.export.latex.sections import Section, Text
from resexpand.references import Citation
from resexpand.theory.notation import VARIANCE, symbol_latex, variance_latex

_WORDS = re.compile(r"(\\(?:operatorname|mathrm|text|emph)\{[^{}]*\})")
KNOWN = {
    value.name
    for value in (*vars(conventions).values(), *conventions.PAIR, *conventions.PAIR0)
    if isinstance(value, sp.Symbol)
} | {"C", "phi", "chi", "eta", "c", "K_star"}
"""Names of the symbols that the package itself writes."""

_SPECIAL = set("#%&~\n\r$")


def in_own_notation(sections: Iterable[Section], notation: Mapping[Any, str]) -> list[Section]:
    r"""Return sections in which symbols are written as an author writes them.

    Parameters
    ----------
    sections : iterable of Section
        In the notation of the package.
    notation : mapping of str or sympy.Symbol to str
        LaTeX by name of the symbol: ``{"rho": r"\beta", "K": "Q", "sigma_w2": r"\alpha"}``.

    Raises
    ------
    HyperparameterError
        If what is to be written is no LaTeX of a symbol, or there is no symbol of a name.
    """
    written = {_name(name): _checked(_name(name), latex) for name, latex in notation.items()}
    if not written:
        return list(sections)
    patterns = [(_pattern(name), name) for name in sorted(written, key=len, reverse=True)]
    met: set[str] = set()
    whole = re.compile("|".join(f"(?P<n{i}>{pattern})" for i, (pattern, _) in enumerate(patterns)))

    def one(match: re.Match[str]) -> str:
        group = str(match.lastgroup)
        while not re.fullmatch(r"n\d+", group):
            group = next(k for k, v in match.groupdict().items() if v and re.fullmatch(r"n\d+", k))
        name = patterns[int(group[1:])][1]
        met.add(name)
        follows = match.string[match.end() : match.end() + 1].isalpha()
        latex = _raised(written[name], match[0], name)
        return f"{latex} " if follows and latex[-1].isalpha() else latex

    def maths(text: str) -> str:
        parts = _WORDS.split(text)
        parts[::2] = [whole.sub(one, part) for part in parts[::2]]
        return "".join(parts)

    def words(text: str) -> str:
        parts = text.split("$")
        parts[1::2] = map(maths, parts[1::2])
        return "$".join(parts)

    def part(item: Text | Equation) -> Text | Equation:
        if isinstance(item, Text):
            return Text(words(item.latex))
        lines = tuple(map(maths, item.lines))
        return replace(item, left=maths(item.left), lines=lines, remark=maths(item.remark))

    done = [
        replace(
            s, title=words(s.title), parts=tuple(map(part, s.parts)), neglects=maths(s.neglects)
        )
        for s in sections
    ]
    # One notation serves all formulas of a paper: a symbol of the package need not be in each.
    unknown = sorted(written.keys() - met - KNOWN)
    if unknown:
        raise HyperparameterError(
            f"the notation of {', '.join(unknown)}",
            "no symbol of this name occurs",
            "give the names of symbols: those you chose, " + ", ".join(sorted(KNOWN)),
        )
    return done


def _name(name: Any) -> str:
    return name.name if isinstance(name, sp.Symbol) else str(name)


def _checked(name: str, latex: object) -> str:
    if not isinstance(latex, str) or not latex.strip() or _SPECIAL & set(latex):
        raise HyperparameterError(
            f"the notation {latex!r} of {name}",
            "it is no LaTeX of a symbol",
            r"write it as between dollar signs, such as '\beta' or 'q_{\mathrm{h}}'",
        )
    if latex.count("{") != latex.count("}"):
        raise HyperparameterError(
            f"the notation {latex!r} of {name}", "its braces do not match", "close every brace"
        )
    return latex


def _pattern(name: str) -> str:
    if VARIANCE.match(name):
        # A variance is written as a power of the deviation: sigma_w^{4} is its square.
        return re.escape(variance_latex(name, "1")) + r"(?:\^\{\d+(?:/\d+)?\})?"
    own = symbol_latex(name)
    front = r"(?<![A-Za-z\\])" if own[0].isalpha() else ""
    return front + re.escape(own) + (r"(?![A-Za-z])" if own[-1].isalpha() else "")


def _raised(latex: str, written: str, name: str) -> str:
    if not VARIANCE.match(name):
        return latex
    power = re.search(r"\^\{([\d/]+)\}\Z", written)
    half = sp.Rational(power[1]) / 2 if power else sp.Rational(1, 2)
    if half == 1:
        return latex
    base = latex if re.fullmatch(r"\\?[A-Za-z]+", latex) else f"({latex})"
    return rf"\sqrt{{{latex}}}" if half == sp.Rational(1, 2) else f"{base}^{{{half}}}"


def keys_of(citations: Iterable[Citation]) -> str:
    r"""Return places in papers as ``\cite`` commands, with the keys that `cite` prints."""
    places: dict[str, list[str]] = {}
    for citation in citations:
        places.setdefault(citation.reference.key, []).append(citation.locator)
    written = []
    for key, locators in places.items():
        where = ", ".join(filter(None, dict.fromkeys(locators)))
        written.append(rf"\cite[{where}]{{{key}}}" if where else rf"\cite{{{key}}}")
    return ", ".join(written)


def label(prefix: str | None, title: str, number: int) -> str:
    r"""Return ``\label{eq:kernel-2}``, empty without a prefix."""
    if prefix is None:
        return ""
    slug = re.sub(r"[^a-z0-9]+", "-", re.sub(r"\$|\\[A-Za-z]+", "", title).lower()).strip("-")
    return rf"\label{{{prefix}{slug or 'equation'}{f'-{number}' if number else ''}}}"
