"""Numbers and names as Python source text.

A real constant becomes the double nearest to its exact value, written such that it reads back to
the same double: a quotient of whole numbers stays legible (``(2.0/3.0)`` is rounded once), anything
else is evaluated far beyond double precision and printed by `repr`. Names are made of
ASCII letters, digits and underscores; Greek letters are spelled out.
"""

from __future__ import annotations

import keyword
import math
import re
import unicodedata
from collections.abc import Iterable

import sympy as sp

from resexpand.codegen.functions import unsupported

DIGITS = 40
EXACT_WHOLE = 2**53
# Names that generated modules use themselves.
RESERVED = re.compile(
    r"(fn_.*|share_.*|t\d+|.*_part\d+|math|np|nan|real|cuda|scalar|chunk|reduction|driver"
    r"|abs|min|max)\Z"
)


def constant(value: sp.Expr) -> str:
    """Return the text of the double nearest to a real number.

    Parameters
    ----------
    value : sympy.Expr
        An expression without free symbols, real and inside the range of doubles.

    Raises
    ------
    UnsupportedError
        If the number is not real, not finite, or too large for a double.
    """
    if isinstance(value, sp.Rational):
        return _rational(value)
    number = value.evalf(DIGITS)
    if not isinstance(number, sp.Float):
        if isinstance(number, sp.Rational):
            return _rational(number)
        raise unsupported(value, "a constant must be a real and finite number")
    return _finite(float(number), value)


def nearest_double(value: sp.Expr) -> float:
    """Return the double nearest to a rational number."""
    try:
        return int(value.p) / int(value.q)
    except OverflowError:
        return math.inf


def _rational(value: sp.Rational) -> str:
    p, q = int(value.p), int(value.q) if value.q else 0
    if q == 0:
        raise unsupported(value, "a constant must be a real and finite number")
    nearest = nearest_double(value)
    if q & (q - 1) == 0 or max(abs(p), q) > EXACT_WHOLE:
        return _finite(nearest, value)
    text = f"({float(abs(p))!r}/{float(q)!r})"
    return f"(-{text})" if p < 0 else text


def _finite(number: float, value: sp.Expr) -> str:
    if not math.isfinite(number):
        raise unsupported(value, "the constant lies outside the range of double precision")
    return repr(number) if number >= 0 else f"({number!r})"


def identifiers(symbols: Iterable[sp.Symbol], taken: Iterable[str] = ()) -> dict[sp.Symbol, str]:
    """Return a distinct Python name for every symbol, depending on names and order alone.

    ``K_{12}`` becomes ``K_12``, ``ρ`` becomes ``rho``, ``lambda`` becomes ``lambda_``; a name that
    is in use gets a number.
    """
    used, names = set(taken), {}
    for symbol in symbols:
        if symbol in names:
            continue
        base = _ascii(symbol.name)
        name, count = base, 1
        while name in used:
            count += 1
            name = f"{base}_{count}"
        used.add(name)
        names[symbol] = name
    return names


def comment(text: str) -> str:
    """Return a text as a comment of one line, whatever characters it holds."""
    return "# " + "".join(c if c.isprintable() else "?" for c in text)


def _ascii(text: str) -> str:
    """Return the nearest plain identifier, not yet distinct from others."""
    spelled = re.sub(r"[^A-Za-z0-9_]+", "_", "".join(map(_spelled, text))).strip("_")
    if spelled != text:
        spelled = re.sub(r"_+", "_", spelled)
    if not spelled or spelled[0].isdigit():
        spelled = f"v_{spelled}".rstrip("_")
    if keyword.iskeyword(spelled) or keyword.issoftkeyword(spelled) or RESERVED.match(spelled):
        spelled += "_"
    return spelled


def _spelled(character: str) -> str:
    """Return a Greek letter by its name, every other character unchanged."""
    words = unicodedata.name(character, "").split()
    if words[:1] != ["GREEK"] or "LETTER" not in words:
        return character
    name = words[-1].lower()
    return name.capitalize() if "CAPITAL" in words else name
