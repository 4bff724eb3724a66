"""Where a user's activation expression is not smooth: its kinks and its jumps on the real line.

Non-smoothness enters through ``Abs``, ``Max``, ``Min``, ``sign``, ``Heaviside`` and ``Piecewise``.
Each switches where some argument vanishes; a switch is a jump if the left and right limits of the
whole expression differ there, a kink if only a derivative does.
"""

from __future__ import annotations

from itertools import combinations

import sympy as sp
from sympy.core.relational import Relational

from resexpand.activations.activation_law import X
from resexpand.errors import UnsupportedError

SWITCHES = (sp.Abs, sp.sign, sp.Heaviside, sp.Max, sp.Min, sp.Piecewise)


def find_singularities(
    expression: sp.Expr,
) -> tuple[tuple[sp.Expr, ...], tuple[sp.Expr, ...]]:
    """Return the kinks and the jumps of an expression in `X`, each sorted.

    Raises
    ------
    UnsupportedError
        If a switching argument is not a polynomial in ``x``, so that the points cannot be found.
    """
    points = breakpoints(expression, X)
    kinks: list[sp.Expr] = []
    jumps: list[sp.Expr] = []
    for point in points:
        if _steps(expression, point):
            jumps.append(point)
        elif any(_steps(sp.diff(expression, X, n), point) for n in (1, 2, 3)):
            kinks.append(point)
    return tuple(kinks), tuple(jumps)


def breakpoints(expression: sp.Expr, variable: sp.Symbol) -> tuple[sp.Expr, ...]:
    """Return the points of one variable at which an expression switches, sorted.

    Raises
    ------
    UnsupportedError
        If a switching argument is not a polynomial in the variable.
    """
    arguments = [b for arg in _switching_arguments(expression) for b in _branches(arg)]
    return tuple(sorted({p for arg in arguments for p in _real_roots(arg, variable)}))


def _branches(expression: sp.Expr) -> list[sp.Expr]:
    """Return what an expression may be once every switch inside it has taken one side."""
    node = next(iter(sorted(expression.atoms(*SWITCHES), key=sp.default_sort_key)), None)
    if node is None:
        return [expression]
    if isinstance(node, sp.Max | sp.Min):
        sides = list(node.args)
    elif isinstance(node, sp.Piecewise):
        sides = [value for value, _ in node.args]
    elif isinstance(node, sp.Abs):
        sides = [node.args[0], -node.args[0]]
    else:
        sides = [sp.Integer(-1), sp.Integer(0), sp.Integer(1)]
    return [b for side in sides for b in _branches(expression.xreplace({node: side}))]


def _switching_arguments(expression: sp.Expr) -> list[sp.Expr]:
    arguments: list[sp.Expr] = []
    for node in expression.atoms(*SWITCHES):
        if isinstance(node, sp.Max | sp.Min):
            arguments += [a - b for a, b in combinations(node.args, 2)]
        elif isinstance(node, sp.Piecewise):
            arguments += [r.lhs - r.rhs for r in node.atoms(Relational)]
        else:
            arguments.append(node.args[0])
    return arguments


def _real_roots(argument: sp.Expr, variable: sp.Symbol) -> list[sp.Expr]:
    if not argument.has(variable):
        return []
    if not argument.is_polynomial(variable):
        raise UnsupportedError(
            "the kinks of an activation",
            f"the switching argument {argument} is not a polynomial in {variable}",
            "rewrite the expression so that Abs, Max, sign and Piecewise switch on polynomials",
        )
    return list(dict.fromkeys(sp.real_roots(sp.Poly(argument, variable))))


def _steps(expression: sp.Expr, point: sp.Expr) -> bool:
    smooth = expression.replace(sp.DiracDelta, lambda *args: sp.Integer(0))
    scale = sp.Rational(1, 10**12)
    left, right = (smooth.subs(X, point + shift).evalf(30) for shift in (-scale, scale))
    return bool(abs(left - right) > 1e-6 * (1 + abs(left)))
