r"""Whether two sides are equal, decided by what they are.

symbolic expressions    identical after averages are put in normal form and SymPy simplifies
exact numbers, mpmath   45 of the 50 digits that are carried
a float on either side  12 digits, what is left of a double after a computation
a text such as "0.3888" half a unit of the last digit written
a SymPy interval        membership
True and False, words   as they are

An expression without symbols is a number, also with averages that have no closed form: they are
integrated. Beside a number, an expression with symbols is an error that names them.
"""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import sympy as sp

from resexpand.gaussian.expectation import GaussianExpectation

DIGITS = 50
"""Decimal digits carried in numerical checks."""

EXACT_TOLERANCE = mpmath.mpf(10) ** -45
FLOAT_TOLERANCE = mpmath.mpf(10) ** -12


def compare_sides(left: Any, right: Any) -> tuple[bool, str, str]:
    """Compare two sides by what they are.

    Returns
    -------
    tuple of (bool, str, str)
        Whether they agree, how they were compared, and what came out.
    """
    plain = _compare_plain(left, right)
    if plain is not None:
        return plain
    left, right = (sp.Integer(s) if isinstance(s, int) else s for s in (left, right))
    if not (isinstance(left, sp.Basic) and isinstance(right, sp.Basic)):
        return False, "numbers", _why_no_number(left if isinstance(left, sp.Basic) else right)
    difference = normal_form(left) - normal_form(right)
    same = sp.expand(difference) == 0 or sp.simplify(_factored_roots(difference)) == 0
    sides = "the two sides are identical" if same else f"{left} differs from {right}"
    return bool(same), "symbolic identity", sides


def _compare_plain(left: Any, right: Any) -> tuple[bool, str, str] | None:
    """Compare statements, words and numbers; None for expressions."""
    if isinstance(left, bool | np.bool_) and isinstance(right, bool):
        return bool(left) is right, "statement", f"it is {left}"
    if _is_word(left) and _is_word(right):
        return left == right, "statement", f"it {left}"
    if isinstance(right, sp.Interval):
        return _compare_interval(left, right)
    if _is_number(left) and _is_number(right):
        return _compare_numbers(left, right)
    return None


def _compare_interval(left: Any, right: sp.Interval) -> tuple[bool, str, str]:
    if not _is_number(left):
        return False, "interval", f"{left} is not a number"
    inside = bool(right.contains(sp.Float(str(_number(left)), DIGITS)))
    where = "lies" if inside else "does not lie"
    ends = f"[{_short(right.start)}, {_short(right.end)}]"
    return inside, "interval", f"{_short(left)} {where} in {ends}"


def _compare_numbers(left: Any, right: Any) -> tuple[bool, str, str]:
    with mpmath.workdps(DIGITS):
        a, b = _number(left), _number(right)
        how, tolerance = _tolerance(left, right, max(abs(a), abs(b)))
        holds = bool(mpmath.isfinite(a) and mpmath.isfinite(b) and abs(a - b) <= tolerance)
        sign = "=" if holds else "is not"
        shown = right if isinstance(right, str) else _short(right)
        # Rounding noise around zero is not worth printing.
        found = "0" if holds and abs(a) <= tolerance else _short(left)
        return holds, how, f"{found} {sign} {shown}"


def _tolerance(left: Any, right: Any, size: mpmath.mpf) -> tuple[str, mpmath.mpf]:
    texts = [side for side in (left, right) if isinstance(side, str)]
    if texts:
        decimals = min(len(text.partition(".")[2]) for text in texts)
        return f"to {decimals} decimals", mpmath.mpf(10) ** -decimals / 2
    if any(isinstance(side, float) for side in (left, right)):
        return "12 digits of double precision", FLOAT_TOLERANCE * size
    return "45 of 50 digits", EXACT_TOLERANCE * max(size, mpmath.mpf(1))


def _is_number(side: Any) -> bool:
    return isinstance(side, str | int | float | mpmath.mpf) or bool(
        getattr(side, "is_number", False)
    )


def _is_word(side: Any) -> bool:
    return isinstance(side, str) and side.isalpha()


def _why_no_number(side: Any) -> str:
    """Say what keeps an expression from being a number."""
    names = sorted(symbol.name for symbol in getattr(side, "free_symbols", ()))
    if names:
        return f"{side} has no value without {', '.join(names)}, and the other side is a number"
    return f"{side} holds averages of activations that are formal, close() makes them explicit"


def _number(side: Any) -> mpmath.mpf:
    if isinstance(side, sp.Basic):
        value = side.evalf(DIGITS + 5)
        # A complex or undefined value is comparable to nothing.
        return mpmath.mpf(str(value)) if value.is_Float or value.is_Rational else mpmath.nan
    return mpmath.mpf(side)


def _short(side: Any) -> str:
    with mpmath.workdps(DIGITS):
        number = _number(side)
        return str(int(number)) if mpmath.isint(number) else str(mpmath.nstr(number, 8))


def normal_form(expression: sp.Expr) -> sp.Expr:
    """Expand formal averages: Price's theorem carried out, sums of averages of products."""
    nodes = sorted(expression.atoms(GaussianExpectation), key=sp.default_sort_key)
    return sp.expand(expression.xreplace({node: _linear(node) for node in nodes}))


def _factored_roots(expression: sp.Expr) -> sp.Expr:
    """Factor what stands below roots, so that squares leave them."""
    return expression.replace(
        lambda e: isinstance(e, sp.Pow) and e.exp.is_Rational and not e.exp.is_Integer,
        lambda e: sp.factor(e.base) ** e.exp,
    )


def _linear(node: GaussianExpectation) -> sp.Expr:
    total = sp.Integer(0)
    for term in sp.Add.make_args(node.integrand):
        coefficient, product = term.as_independent(*node.variables, as_Add=False)
        total += coefficient * GaussianExpectation(product, node.variables, node.covariance)
    return total
