"""The registry of activation functions: one entry per name, one file per family.

`activation_law` turns a name or an expression in ``x`` into an `ActivationLaw`.
"""

from __future__ import annotations

import copyreg
from dataclasses import replace
from functools import lru_cache
from typing import Any

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.activations.at_point import value_at
from resexpand.activations.closed import closed_averages
from resexpand.activations.complexity import check_complexity
from resexpand.activations.erf import ERF, ERF_UNIT
from resexpand.activations.gelu import GELU
from resexpand.activations.identity import IDENTITY
from resexpand.activations.relu import LEAKY_RELU, RELU
from resexpand.activations.sign import SIGN
from resexpand.activations.sine import SIN
from resexpand.activations.singularities import breakpoints, find_singularities
from resexpand.activations.smooth import SILU, TANH
from resexpand.errors import DescriptionError, ExpressionError

ACTIVATIONS: dict[str, ActivationLaw] = {
    law.name: law
    for law in (IDENTITY, ERF, ERF_UNIT, RELU, LEAKY_RELU, TANH, GELU, SILU, SIN, SIGN)
}
"""Registered activations by name."""


def _reduced(law: ActivationLaw) -> str | tuple[Any, ...]:
    """Send a law to another process by name or expression: its closed averages are functions."""
    if ACTIVATIONS.get(law.name) is law:
        return activation_law, (law.name,)
    if law.pair is not None:
        return activation_law, (law.expression,)
    return object.__reduce_ex__(law, 2)


copyreg.pickle(ActivationLaw, _reduced)

PROBES = (0, *(sign * sp.Rational(n, 7) for n in (1, 5, 9, 16, 40, 70) for sign in (-1, 1)))
"""Points at which an expression must be real and finite."""


def activation_law(function: str | sp.Expr) -> ActivationLaw:
    """Return what is known about an activation given by name or by expression.

    Parameters
    ----------
    function : str or sympy.Expr
        A registered name, or an expression in exactly one symbol.

    Raises
    ------
    DescriptionError
        If the name is not registered.
    ExpressionError
        If the expression has no symbol or more than one.
    """
    if isinstance(function, str):
        if function not in ACTIVATIONS:
            raise DescriptionError(
                f"activation {function!r}",
                "no activation of this name is registered",
                f"use one of {', '.join(ACTIVATIONS)}, or an expression in x "
                "(parse_expression() reads one from text)",
            )
        return ACTIVATIONS[function]
    symbols = sorted(function.free_symbols, key=sp.default_sort_key)
    if len(symbols) != 1:
        named = ", ".join(map(str, symbols)) or "none"
        raise ExpressionError(
            f"activation {function}",
            f"an activation has exactly one symbol, its argument; found {named}",
            "substitute numbers for the others",
        )
    _require_any_sign(function, symbols[0])
    expression = function.xreplace({symbols[0]: X})
    for law in ACTIVATIONS.values():
        if law.expression == expression:
            return law
    check_complexity(expression)
    _check_real(expression)
    return _derived(expression)


@lru_cache(maxsize=256)
def _derived(expression: sp.Expr) -> ActivationLaw:
    """Return the law of an expression, with closed averages where its class has them."""
    kinks, jumps = find_singularities(expression)
    closed = closed_averages(expression, breakpoints(expression, X))
    law = ActivationLaw(str(expression), expression, kinks=kinks, jumps=jumps)
    return law if closed is None else replace(law, **closed._asdict())


ASSUMED = ("positive", "negative", "nonnegative", "nonpositive", "zero", "integer", "imaginary")
"""Assumptions under which SymPy has simplified an expression to another function."""


def _require_any_sign(function: sp.Expr, symbol: sp.Symbol) -> None:
    """Refuse an argument that was assumed to be of one sign: Max(0, x) would already be x."""
    for name in ASSUMED:
        if getattr(symbol, f"is_{name}"):
            raise ExpressionError(
                f"activation {function}",
                f"its symbol {symbol} is assumed {name}, and a neuron takes every real value",
                f'use Symbol("{symbol.name}", real=True)',
            )


def _check_real(expression: sp.Expr) -> None:
    """Refuse a function that is not real and finite all over the line, as far as can be seen.

    Looked at are fixed points and the zeros of polynomial denominators; tangents and the like have
    poles everywhere. The quadrature finds the others, and says so.
    """
    for pole in _poles(expression):
        raise ExpressionError(
            f"activation {expression}",
            f"it has a pole at {pole}, and a neuron takes every real value",
            "use a function that is real and finite on the whole line",
        )
    for point in PROBES:
        value = value_at(expression, point)
        if not (value.is_real and value.is_finite) and not _is_removable(expression, point):
            raise ExpressionError(
                f"activation {expression}",
                f"it is {value} at x = {sp.Float(point, 4)}, and a neuron takes every real value",
                "use a function that is real and finite on the whole line",
            )


def _poles(expression: sp.Expr) -> list[str]:
    """Return the real poles that can be read off the expression."""
    for head in (sp.tan, sp.cot, sp.sec, sp.csc):
        if any(node.has(X) for node in expression.atoms(head)):
            return ["every period"]
    below = [p.base for p in expression.atoms(sp.Pow) if p.exp.is_negative and p.base.has(X)]
    polynomials = [b for b in below if b.is_polynomial(X)]
    roots = [root for b in polynomials for root in sp.real_roots(sp.Poly(b, X))]
    return [f"x = {root}" for root in roots if not _is_removable(expression, root)]


def _is_removable(expression: sp.Expr, point: sp.Expr) -> bool:
    """Whether a function has a limit at a point where its expression has no value."""
    near = [side * sp.Rational(1, 10**digits) for digits in (25, 40) for side in (-1, 1)]
    first, *others = (value_at(expression, point + shift) for shift in near)
    if not all(value.is_real and value.is_finite for value in (first, *others)):
        return False
    close = sp.Rational(1, 10**15) * (1 + abs(first))
    return all(abs(value - first) < close for value in others)
