"""Closed solutions of conditions in which the kernel enters through one function.

Conditions for an optimal scale are rational in ``K`` and one transcendental function of it, an
exponential or an arcsine. If a factor of the condition depends on ``K`` only through that function,
it is solved for the function and the function is inverted. Anything else is left to root finding.
"""

from __future__ import annotations

import sympy as sp

from resexpand.activations.arcsine import elementary


def solve_for(condition: sp.Expr, unknown: sp.Symbol) -> sp.Expr | None:
    """Return the positive solution of ``condition = 0``, or None if it is not found.

    Parameters
    ----------
    condition : sympy.Expr
        Expression in `unknown`; may hold `Area` and `ArcCorrelation` nodes.
    unknown : sympy.Symbol
        The symbol to solve for.
    """
    numerator = sp.fraction(sp.together(elementary(condition)))[0]
    for factor, _ in sp.factor_list(sp.expand(numerator))[1]:
        solution = _solve_factor(factor, unknown)
        if solution is not None:
            return solution
    return None


def _solve_factor(factor: sp.Expr, unknown: sp.Symbol) -> sp.Expr | None:
    functions = [f for f in factor.atoms(sp.exp, sp.asin) if f.has(unknown)]
    if len(functions) != 1:
        return None
    (function,) = functions
    value = sp.Dummy("value")
    reduced = factor.xreplace({function: value})
    if reduced.has(unknown) or sp.degree(reduced, value) != 1:
        return None
    (solved,) = sp.solve(reduced, value)
    inverse = sp.log(solved) if isinstance(function, sp.exp) else sp.sin(solved)
    roots = sp.solve(sp.Eq(function.args[0], inverse), unknown)
    return sp.simplify(roots[0]) if len(roots) == 1 else None
