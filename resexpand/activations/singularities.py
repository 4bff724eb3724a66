"""Where a user's activation expression is not smooth: its kinks and its jumps on the real line.

A function of elementary functions can only fail to be smooth where ``Abs``, ``Max``, ``Min``,
``sign``, ``Heaviside`` or ``Piecewise`` switches, where a root or a logarithm takes the argument
zero, or where an arcsine or arccosine takes the argument one or minus one. Each of these is the
zero of some argument (`resexpand.activations.zeros`); it is a jump if the left and right limits of
the whole expression differ there, a kink if only a derivative does.
"""

from __future__ import annotations

from itertools import combinations

import sympy as sp
from sympy.core.relational import Relational

from resexpand.activations.activation_law import X, pointwise
from resexpand.activations.zeros import real_zeros

SWITCHES = (sp.Abs, sp.sign, sp.Heaviside, sp.Max, sp.Min, sp.Piecewise)

ORDERS = (1, 2, 3)
"""Derivatives that tell a kink."""


def find_singularities(
    expression: sp.Expr,
) -> tuple[tuple[sp.Expr, ...], tuple[sp.Expr, ...]]:
    """Return the kinks and the jumps of an expression in `X`, each sorted."""
    points = branch_points(expression, X)
    kinks: list[sp.Expr] = []
    jumps: list[sp.Expr] = []
    derivatives = [pointwise(sp.diff(expression, X, n)) for n in ORDERS] if points else []
    for point in points:
        if _steps(expression, point):
            jumps.append(point)
        elif any(_steps(derivative, point) for derivative in derivatives):
            kinks.append(point)
    return tuple(kinks), tuple(jumps)


def may_branch(expression: sp.Expr) -> bool:
    """Whether anything in an expression switches or has a branch point."""
    roots = (not power.exp.is_Integer for power in expression.atoms(sp.Pow))
    return expression.has(*SWITCHES, sp.log, sp.asin, sp.acos) or any(roots)


def breakpoints(expression: sp.Expr, variable: sp.Symbol) -> tuple[sp.Expr, ...]:
    """Return the points of one variable at which an expression switches, sorted.

    Exact where the switching argument is a polynomial, or where the zero is a rational number, a
    rational multiple of pi or the logarithm of one; else to 30 digits.
    """
    return _zeros(_switching_arguments(expression), variable)


def branch_points(expression: sp.Expr, variable: sp.Symbol) -> tuple[sp.Expr, ...]:
    """Return the points at which an expression switches or a function in it has a branch point."""
    arguments = _switching_arguments(expression)
    for node in expression.atoms(sp.Pow, sp.log, sp.asin, sp.acos):
        argument = node.args[0]
        if isinstance(node, sp.asin | sp.acos):
            arguments += [argument - 1, argument + 1]
        elif isinstance(node, sp.log) or not node.exp.is_Integer:
            arguments.append(argument)
    return _zeros(arguments, variable)


def _zeros(arguments: list[sp.Expr], variable: sp.Symbol) -> tuple[sp.Expr, ...]:
    found = {
        p for a in dict.fromkeys(arguments) if a.has(variable) for p in real_zeros(a, variable)
    }
    return tuple(sorted(found, key=float))


def _switching_arguments(expression: sp.Expr) -> list[sp.Expr]:
    arguments: list[sp.Expr] = []
    for node in expression.atoms(*SWITCHES):
        if isinstance(node, sp.Max | sp.Min):
            arguments += [a - b for a, b in combinations(node.args, 2)]
        elif isinstance(node, sp.Piecewise):
            arguments += [r.lhs - r.rhs for r in node.atoms(Relational)]
        else:
            arguments.append(node.args[0])
    return sorted(arguments, key=sp.default_sort_key)


def _steps(expression: sp.Expr, point: sp.Expr) -> bool:
    scale = sp.Rational(1, 10**12)
    left, right = (expression.subs(X, point + shift).evalf(30) for shift in (-scale, scale))
    if not (left.is_number and right.is_number):
        return True
    return bool(abs(left - right) > 1e-6 * (1 + abs(left)))
