"""Closed averages in forms that keep their digits and stay within the range of doubles.

- `ArcCorrelation` becomes an arctangent, which keeps full accuracy at coinciding inputs, where the
  arcsine of a rounded correlation would lose half the digits.
- `Area` has a function of its own, which neither cancels nor overflows. A constant on the diagonal
  alone is taken out, ``(s + A)(s + B) - C^2 = s (s + A + B) + (A B - C^2)``, since it would be lost
  beside large ``A`` and ``B``.
- Several divisions form a chain, ``(x / y) / z`` and not ``x / (y z)``, whose denominator would
  overflow at variances beyond 1e154 and vanish at small ones.
- A constant that exponentials cancel at small arguments goes into them, ``1 - exp(x) = -expm1(x)``.
"""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

from resexpand.activations.arcsine import ArcCorrelation, Area
from resexpand.activations.in_range import InRange
from resexpand.expressions.accurate import Expm1


class Hypotenuse(sp.Function):
    """``sqrt(x^2 + y^2)`` where the squares need not be numbers."""

    nargs = 2
    is_nonnegative = True


class Quotient(sp.Function):
    """``x / y``, an operation of its own in a chain of divisions."""

    nargs = 2
    is_extended_real = True


def sound(expression: sp.Expr) -> sp.Expr:
    """Return a closed expression in forms that are accurate wherever its value is finite."""
    # `replace` goes from the leaves up: the arguments of a node may hold such nodes themselves.
    replaced = _replaced(expression, (Area, ArcCorrelation, InRange), _node)
    return with_expm1(_replaced(replaced, (sp.Mul,), _chained))


def _replaced(
    expression: sp.Expr, kinds: tuple[type, ...], form: Callable[[sp.Expr], sp.Expr]
) -> sp.Expr:
    return expression.replace(lambda node: isinstance(node, kinds), form)


def _node(node: Area | ArcCorrelation | InRange) -> sp.Expr:
    if isinstance(node, InRange):
        return node.selection()
    area = Area(*node.args)
    root = _root(area) if isinstance(area, Area) else area
    if isinstance(node, Area):
        return root
    # Unevaluated: SymPy would turn it into an arctangent of a quotient, one division more.
    return sp.atan2(node.args[2], root, evaluate=False)


def _root(area: Area) -> sp.Expr:
    a, b, c = area.args
    if a == b and not area.determinant.has(c**2):
        return sp.sqrt(area.determinant)
    (shift, first), (other, second) = a.as_coeff_Add(), b.as_coeff_Add()
    alone = shift == other and c.as_coeff_Add()[0] == 0
    if alone and shift.is_positive and first.is_positive and second.is_positive:
        along = sp.sqrt(shift) * sp.sqrt(shift + first + second)
        return Hypotenuse(along, _without_factor(first, second, c))
    return area


def _without_factor(a: sp.Expr, b: sp.Expr, c: sp.Expr) -> sp.Expr:
    """Return an area whose entries are not rounded by a factor common to all three."""
    (factor, a0), (second, b0), (third, c0) = (
        e.as_independent(*e.free_symbols, as_Add=False) for e in (a, b, c)
    )
    return factor * Area(a0, b0, c0) if factor == second == third else Area(a, b, c)


def _chained(product: sp.Mul) -> sp.Expr:
    """Return a product with its divisions one after the other, if areas are among them."""
    above: list[sp.Expr] = []
    below: list[sp.Expr] = []
    for factor in product.args:
        base, exponent = factor.as_base_exp()
        if exponent.is_Integer and exponent < 0 and not base.is_number:
            below += [base] * int(-exponent)
        elif exponent.is_Rational and exponent < 0 and not base.is_number:
            below.append(sp.Pow(base, -exponent))
        elif exponent.is_Integer and not base.is_number:
            above += [base] * int(exponent)
        else:
            above.append(factor)
    numbers = [factor for factor in above if factor.is_number]
    others = [factor for factor in above if not factor.is_number]
    is_wide = len(others) > 1 or product.has(Area, Hypotenuse)
    if len(below) < 2 or not others or not is_wide:
        return product
    chain, *rest = sorted(others, key=sp.default_sort_key)
    for divisor in sorted(below, key=sp.default_sort_key):
        chain = Quotient(chain, divisor)
        chain *= rest.pop() if rest else 1
    return sp.Mul(*numbers, chain, *rest)


def with_expm1(expression: sp.Expr) -> sp.Expr:
    """Return an expression with constants taken into the exponentials that cancel them."""
    return _replaced(expression, (sp.Add,), _less_one) if expression.has(sp.exp) else expression


def _less_one(total: sp.Add) -> sp.Expr:
    """Return a sum with constants taken into the exponentials that cancel them.

    A constant is a number times any factor, an exponential the same factor times ``exp``.
    """
    groups: dict[sp.Expr, list[tuple[sp.Expr, sp.Expr]]] = {}
    for term in total.args:
        factors = sp.Mul.make_args(term)
        exponents = [f.args[0] for f in factors if isinstance(f, sp.exp)]
        number, rest = sp.Mul(*(f for f in factors if not isinstance(f, sp.exp))).as_coeff_Mul()
        groups.setdefault(rest, []).append((number, sp.Add(*exponents)))
    terms = []
    for factor, group in groups.items():
        cancels = any(u == 0 for _, u in group) and sp.Add(*(k for k, _ in group)) == 0
        form = Expm1 if cancels and len(group) > 1 else sp.exp
        terms += [k * factor * form(u) for k, u in group if u != 0 or form is sp.exp]
    return sp.Add(*terms)
