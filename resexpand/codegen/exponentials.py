r"""Quotients and logarithms of exponentials in forms that never are the quotient of two infinities.

``exp(u)/(1 + exp(u))^2`` is inf/inf in double precision for ``u > 710``, and ``log(1 + exp(u))``
infinite. With ``e = exp(-|u|)``, which never exceeds one, every exponential of a multiple of ``u``
is a power of ``e`` on either side of ``u = 0``, and powers of ``1/e`` are cleared out of quotients
and logarithms:

    exp(u)/(1 + exp(u))^2 = e/(1 + e)^2,     log(1 + exp(u)) = u + log(1 + e)    for u > 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import sympy as sp

from resexpand.codegen.separation import map_parts

MOST_OPERATIONS = 2000
"""Longer expressions are left as they are."""

MOST_FAMILIES = 2
"""Independent exponents; each doubles the number of branches."""

_WAVES = {
    sp.cosh: lambda u: (sp.exp(u) + sp.exp(-u)) / 2,
    sp.sinh: lambda u: (sp.exp(u) - sp.exp(-u)) / 2,
}


def stable_exponentials(expression: sp.Expr, variables: Sequence[sp.Symbol]) -> sp.Expr:
    """Return the same function of some variables, without overflow in quotients and logarithms."""
    return map_parts(expression, frozenset(variables), lambda part, _: _stable(part))


def _stable(expression: sp.Expr) -> sp.Expr:
    if not any(_divides_by_growth(node) for node in expression.atoms(sp.Pow, sp.log)):
        return expression
    for head, exponentials in _WAVES.items():
        expression = expression.replace(head, exponentials)
    families = _families(expression)
    if len(families) > 1:
        expression = expression.replace(sp.exp, _without_constant)
        families = _families(expression)
    if len(families) > MOST_FAMILIES or sp.count_ops(expression) > MOST_OPERATIONS:
        return expression
    for exponent, multiples in families.items():
        expression = _two_sided(expression, exponent, multiples)
    return expression


def _divides_by_growth(node: sp.Expr) -> bool:
    if isinstance(node, sp.Pow) and not node.exp.is_negative:
        return False
    return any(e.free_symbols for e in node.args[0].atoms(sp.exp, sp.cosh, sp.sinh))


def _without_constant(exponent: sp.Expr) -> sp.Expr:
    constant, rest = exponent.as_coeff_Add()
    return sp.exp(constant) * sp.exp(rest)


def _families(expression: sp.Expr) -> dict[sp.Expr, set[sp.Rational]]:
    """Return exponents up to a rational factor, and the factors with which each occurs."""
    families: dict[sp.Expr, set[sp.Rational]] = {}
    for node in sorted(expression.atoms(sp.exp), key=sp.default_sort_key):
        if node.free_symbols:
            multiple, exponent = _normal(node.args[0])
            families.setdefault(exponent, set()).add(multiple)
    return families


def _normal(exponent: sp.Expr) -> tuple[sp.Rational, sp.Expr]:
    multiple, rest = exponent.primitive()
    if isinstance(rest, sp.Mul):
        factor, rest = rest.as_coeff_Mul(rational=True)
        multiple *= factor
    if rest.could_extract_minus_sign():
        return -multiple, -rest
    return multiple, rest


def _two_sided(expression: sp.Expr, exponent: sp.Expr, multiples: set[sp.Rational]) -> sp.Expr:
    unit = reduce(sp.gcd, [abs(m) for m in multiples])
    e = sp.Dummy("e", positive=True)
    size = sp.Abs(unit * exponent)

    def side(sign: int) -> sp.Expr:
        def power(argument: sp.Expr) -> sp.Expr:
            multiple, rest = _normal(argument)
            if rest != exponent:
                return sp.exp(argument)
            return e ** (-sign * multiple / unit)

        inside = expression.replace(sp.exp, power)
        cleared = inside.replace(sp.log, lambda a: _split_logarithm(a, e, size))
        return sp.together(cleared, deep=True).xreplace({e: sp.exp(-size)})

    return sp.Piecewise((side(-1), exponent <= 0), (side(1), True))


def _split_logarithm(argument: sp.Expr, e: sp.Symbol, size: sp.Expr) -> sp.Expr:
    """Return a logarithm with the powers of ``e`` in front, ``log e = -size``."""
    if not argument.has(e):
        return sp.log(argument)
    above, below = sp.fraction(sp.together(argument))
    powers, parts = sp.S.Zero, []
    for part, sign in ((above, 1), (below, -1)):
        rest = []
        for factor in sp.Mul.make_args(sp.factor_terms(part)):
            base, exponent = factor.as_base_exp()
            if base == e:
                powers += sign * exponent
            else:
                rest.append(factor)
        parts.append(sp.Mul(*rest))
    if parts[1].is_positive:
        return sp.log(parts[0]) - sp.log(parts[1]) - powers * size
    return sp.log(parts[0] / parts[1]) - powers * size
