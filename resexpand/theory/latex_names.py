r"""Names as LaTeX that compiles: of symbols and of functions, whatever characters they hold.

A name of letters, digits and underscores is written as SymPy writes it (``alpha_1`` becomes
``\alpha_{1}``; ``eps`` is ``\varepsilon``), and so is one in LaTeX's own notation (``\rho_{max}``,
``K^{0}``). In any other name every character stands for itself: ``a%b`` becomes ``\mathrm{a\%b}``.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.printing.latex import LatexPrinter

GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"),
    *("lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi"),
    *("omega", "varepsilon", "vartheta", "varpi", "varrho", "varsigma", "varphi", "ell", "hbar"),
    *("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega"),
)
"""Letters that LaTeX has commands for."""

SHORT = re.compile(r"\Aeps(?=_|\Z)")
"""Usual short names of letters: of a small number, the letter that is not a set's."""

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*_?\Z", re.ASCII)
_INDEX = r"([A-Za-z0-9]|\{[A-Za-z0-9, *+-]*\})"
_LATEX = re.compile(
    rf"([A-Za-z][A-Za-z0-9]*|\\({'|'.join(GREEK)}))(_{_INDEX})?(\^{_INDEX})?\Z", re.ASCII
)
# Packages beyond amsmath that SymPy's modifiers of names (``xscr``) and rare letters need.
_EXTRA = re.compile(
    r"\\(mathscr|mathfrak|varkappa|beth|gimel|daleth|mho|eth|hslash|boldsymbol|bm)\b"
)
_MARKS = {c: rf"\{c}" for c in "%#&$_{}"} | {
    "\\": r"\backslash ",
    "~": r"\sim ",
    "^": r"\wedge ",
    " ": r"\ ",
    "-": "{-}",
    "*": "{*}",
    "+": "{+}",
    "=": "{=}",
    "<": "{<}",
    ">": "{>}",
    "'": "{'}",
    '"': "{''}",
}
_ACCENTS = {
    "\u0300": "grave",
    "\u0301": "acute",
    "\u0302": "hat",
    "\u0303": "tilde",
    "\u0304": "bar",
    "\u0306": "breve",
    "\u0307": "dot",
    "\u0308": "ddot",
    "\u030a": "mathring",
    "\u030c": "check",
}


@lru_cache(maxsize=4096)
def name_latex(name: str) -> str:
    r"""Return how a name is written, as LaTeX that compiles with `amsmath` alone.

    Examples
    --------
    >>> print(name_latex("alpha_1"), name_latex("a%b"), name_latex("ρ"))
    \alpha_{1} \mathrm{a\%b} \rho
    """
    name = SHORT.sub("varepsilon", name)
    if _PLAIN.match(name):
        text = str(sp.latex(sp.Symbol(name)))
        if not _EXTRA.search(text):
            return text
    elif _LATEX.match(name):
        return name
    written = "".join(map(_character, name))
    return written.strip() if written.strip()[1:] in GREEK else rf"\mathrm{{{written}}}"


def function_latex(name: str) -> str:
    """Return how a function is written: a letter with its index, or its name set upright."""
    letter, _, index = name.partition("_")
    if len(letter) == 1 and _PLAIN.match(name):
        return f"{letter}_{{{index.replace('_', ',')}}}" if index else letter
    written = "".join(map(_character, name))
    return rf"\operatorname{{{written}}}"


class NamesPrinter(LatexPrinter):
    """SymPy's printer with safe names.

    Parameters
    ----------
    names : mapping of Symbol to str
        Spelling of symbols that depends on where they stand.
    """

    def __init__(self, names: dict[sp.Symbol, str] | None = None) -> None:
        super().__init__()
        self.names = names or {}

    def _print_Symbol(self, expr: sp.Symbol, style: str = "plain") -> str:
        return self.names.get(expr) or name_latex(expr.name)

    def _print_Function(self, expr: sp.Function, exp: str | None = None) -> str:
        if not isinstance(expr, AppliedUndef) and type(expr).__module__.startswith("sympy."):
            return str(super()._print_Function(expr, exp))
        arguments = ", ".join(map(self.doprint, expr.args))
        head = function_latex(type(expr).__name__) + (f"^{{{exp}}}" if exp else "")
        return rf"{head}{{\left({arguments} \right)}}"


def _character(character: str) -> str:
    """Return one character as it is written in mathematics."""
    if character in _MARKS:
        return _MARKS[character]
    if " " < character <= "~":
        return character
    words = unicodedata.name(character, "").split()
    if words[:1] == ["GREEK"] and "LETTER" in words:
        greek = words[words.index("LETTER") + 1].lower().replace("lamda", "lambda")
        greek = greek.capitalize() if "CAPITAL" in words else greek
        if greek in GREEK:
            return rf"\{greek} "
    plain = unicodedata.normalize("NFKD", character)
    if len(plain) == 2 and plain[0].isascii() and plain[0].isalpha() and plain[1] in _ACCENTS:
        return rf"\{_ACCENTS[plain[1]]}{{{plain[0]}}}"
    if plain != character and plain.isascii() and plain.isalnum():
        return plain
    return rf"\langle U{{+}}{ord(character):04X}\rangle "
