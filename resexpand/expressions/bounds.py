"""Bounds on what an expression may become, checked before SymPy computes with it.

SymPy evaluates what it can as soon as an object is made: ``9**9**9`` would be computed to its
370 million digits, and ``Max(exp(exp(exp(100))), 1)`` would compare numbers that no memory holds.
So each constant part must be a real number that is zero or lies between 1/`MAX_MAGNITUDE` and
`MAX_MAGNITUDE` in magnitude, and a rational one may have `MAX_BITS` binary digits at most.
Functions that use their argument twice (silu, gelu) double it when they are nested, so the size of
the whole is bounded as well, and that of constant parts more tightly, for they get evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import sympy as sp

from resexpand.expressions.functions import Function

MAX_EXPONENT = 64
"""Magnitude of a constant exponent."""
MAX_BITS = 1024
"""Binary digits of numerator and denominator together."""
MAX_MAGNITUDE = 1e100
"""Largest constant part; its inverse is the smallest that is not zero."""


MAX_SIZE = 4000
"""Nodes of the SymPy expression, written out as a tree."""
MAX_CONSTANT_SIZE = 400
"""Nodes of a constant part."""


class Refusal(Exception):
    """Why an expression is not read, in words that continue "the expression ...: it ..."."""


def value(expression: sp.Expr) -> float | None:
    """Return the value of a constant to double precision, None for what depends on a symbol."""
    if expression.free_symbols:
        return None
    return float(expression.evalf(17))


def _bits(number: sp.Rational) -> int:
    return int(number.p).bit_length() + int(number.q).bit_length()


def _refuse_size() -> Refusal:
    return Refusal(f"a constant part of it is not between 1/{MAX_MAGNITUDE:g} and its inverse")


def checked(expression: sp.Expr) -> sp.Expr:
    """Return the expression if it is real and its constant value bounded; refuse it otherwise."""
    if expression.has(sp.nan, sp.zoo, sp.oo, -sp.oo, sp.I):
        raise Refusal("a part of it is infinite or not real")
    if expression.is_Rational and _bits(expression) > MAX_BITS:
        raise Refusal(f"a constant part of it has more than {MAX_BITS} binary digits")
    number = value(expression)
    if number and not 1 / MAX_MAGNITUDE <= abs(number) <= MAX_MAGNITUDE:
        raise _refuse_size()
    if number == 0 and not expression.is_zero:
        raise Refusal("a constant part of it is too small to tell from zero")
    return expression


def check_size(expression: sp.Expr, sizes: dict[sp.Basic, int]) -> None:
    """Refuse an expression of too many nodes; `sizes` remembers those of its parts."""
    limit = MAX_SIZE if expression.free_symbols else MAX_CONSTANT_SIZE
    if tree_size(expression, sizes) > limit:
        raise Refusal(f"a part of it unfolds to more than {limit} nodes")


def tree_size(expression: sp.Basic, sizes: dict[sp.Basic, int]) -> int:
    """Count the nodes of an expression as a tree; a shared part counts each time it occurs."""
    if expression not in sizes:
        sizes[expression] = 1 + sum(tree_size(part, sizes) for part in expression.args)
    return sizes[expression]


def check_quotient(divisor: sp.Expr) -> None:
    """Refuse a division by zero."""
    if value(divisor) == 0:
        raise Refusal("it divides by zero")


def check_power(base: sp.Expr, exponent: sp.Expr) -> None:
    """Refuse a power that is not real, or that would be expensive to compute or to write down."""
    power, number = value(exponent), value(base)
    if power is None:
        if number is None or number <= 0:
            raise Refusal(
                "an exponent depends on a variable while its base is no positive constant "
                "(write exp(b*log(a)) for a**b)"
            )
        return
    # (x**a)**b has the exponent a*b.
    inner = base.as_base_exp()[1] if number is None else sp.S.One
    growth = max(1.0, abs(float(inner))) if inner.is_Rational else 1.0
    if abs(power) * growth > MAX_EXPONENT:
        raise Refusal(f"an exponent exceeds {MAX_EXPONENT} in magnitude")
    if number is None:
        return
    if (number == 0 and power <= 0) or (number < 0 and not exponent.is_Integer):
        raise Refusal("a constant power in it is not a real number")
    if number and abs(power * math.log(abs(number))) > math.log(MAX_MAGNITUDE):
        raise _refuse_size()
    if base.is_Rational and _bits(base) * abs(power) > MAX_BITS:
        raise Refusal(f"a constant power in it has more than {MAX_BITS} binary digits")


def check_call(name: str, function: Function, arguments: Sequence[sp.Expr]) -> None:
    """Refuse a function of constants whose value is not real or is too large."""
    values = [number for number in map(value, arguments) if number is not None]
    if len(values) < len(arguments):
        return
    try:
        result = function.value(*values)
    except (ValueError, ArithmeticError):
        result = math.nan
    if not abs(result) <= MAX_MAGNITUDE:
        shown = ", ".join(f"{number:g}" for number in values)
        raise Refusal(f"{name}({shown}) in it is not a real number below {MAX_MAGNITUDE:g}")
