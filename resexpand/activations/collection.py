"""Closed averages as sums of functions with rational coefficients, each function once.

Differentiation leaves one function in many terms whose coefficients cancel, and quotients that are
0/0 at coinciding inputs. Every function becomes a generator of a polynomial over the rational
functions of the covariance; powers of `Area` and of square roots are reduced to the first.
"""

from __future__ import annotations

import sympy as sp

from resexpand.activations.arcsine import ArcCorrelation, Area
from resexpand.activations.hyperbolic import ExpCosh
from resexpand.activations.in_range import InRange
from resexpand.activations.orthant import PairFunction

FUNCTIONS = (sp.erfc, sp.erf, sp.exp, ArcCorrelation, PairFunction)
HALF = sp.Rational(1, 2)


def normal_form(expression: sp.Expr) -> sp.Expr:
    """Return a closed average in a form that has its limit at coinciding inputs."""
    if limits := expression.atoms(InRange):
        inside = expression.xreplace(dict.fromkeys(limits, sp.Integer(1)))
        return normal_form(inside) * sp.Mul(*sorted(limits, key=sp.default_sort_key))
    if expression.has(PairFunction) or not expression.has(sp.exp, ExpCosh):
        return collected(expression)
    # Gaussian factors hold areas in even powers alone, which have their limits already.
    return expression


def collected(expression: sp.Expr) -> sp.Expr:
    """Return a sum with one factored coefficient in front of every product of functions."""
    names: dict[sp.Expr, sp.Dummy] = {}
    named = _named(expression, names)
    if not names:
        return sp.factor(named)
    nodes = list(names)
    by_key: dict[sp.Expr, sp.Expr] = {}
    for powers, coefficient in sp.Poly(named, *names.values()).terms():
        key, factor = sp.Integer(1), coefficient
        for node, power in zip(nodes, powers, strict=True):
            kept, square = (power, 1) if isinstance(node, FUNCTIONS) else _reduced(node, power)
            key, factor = key * node**kept, factor * square
        by_key[key] = by_key.get(key, sp.Integer(0)) + factor
    return sp.Add(*(_term(key, value) for key, value in by_key.items()))


def _named(expression: sp.Expr, names: dict[sp.Expr, sp.Dummy]) -> sp.Expr:
    """Return an expression with a dummy for every function; of areas and roots, the reciprocal."""
    if isinstance(expression, FUNCTIONS):
        return names.setdefault(expression, sp.Dummy())
    base, exponent = expression.as_base_exp()
    if isinstance(base, Area):
        determinant = base.determinant ** max(exponent, 0)
        return names.setdefault(1 / base, sp.Dummy()) ** abs(exponent) * determinant
    if exponent.is_Rational and exponent.q == 2 and not base.is_number:
        root = names.setdefault(1 / sp.sqrt(base), sp.Dummy())
        return root * base ** (exponent + HALF)
    if not expression.args or expression.is_number:
        return expression
    return expression.func(*(_named(part, names) for part in expression.args))


def _reduced(reciprocal: sp.Expr, power: int) -> tuple[int, sp.Expr]:
    """Return what is left of a power of a reciprocal root, and the rational factor."""
    base = reciprocal.as_base_exp()[0]
    square = base.determinant if isinstance(base, Area) else base
    return power % 2, square ** -(power // 2)


def _term(key: sp.Expr, coefficient: sp.Expr) -> sp.Expr:
    simple = sp.factor(coefficient)
    areas = [f.base for f in sp.Mul.make_args(key) if f.is_Pow and isinstance(f.base, Area)]
    if not areas or simple == 0:
        return simple * key
    determinant = areas[0].determinant
    symbols = sorted(determinant.free_symbols, key=sp.default_sort_key)
    if len(symbols) < 2:
        return simple * key
    # Terms with the determinant stand in front of its root, the others are divided by it.
    above, below = sp.fraction(simple)
    whole, rest = sp.div(above, determinant, *symbols)
    return sp.factor(whole / below) * (key * areas[0] ** 2) + sp.factor(rest / below) * key
