"""Taking an integrand apart into what depends on one of its variables alone."""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp


def map_parts(
    expression: sp.Expr,
    variables: frozenset[sp.Symbol],
    change: Callable[[sp.Expr, sp.Symbol], sp.Expr],
) -> sp.Expr:
    """Replace every largest part of an expression that holds one of the variables alone.

    Parameters
    ----------
    expression : sympy.Expr
        A function of the variables.
    variables : frozenset of sympy.Symbol
        Its variables; other symbols count as constants.
    change : callable
        Takes a part and its variable and returns what stands for it.
    """
    own = expression.free_symbols & variables
    if not own:
        return expression
    if len(own) == 1:
        return change(expression, next(iter(own)))
    if not isinstance(expression, sp.Add | sp.Mul):
        return expression.func(*(map_parts(part, variables, change) for part in expression.args))
    groups: dict[frozenset[sp.Symbol], list[sp.Expr]] = {}
    mixed: list[sp.Expr] = []
    for part in expression.args:
        among = frozenset(part.free_symbols & variables)
        if len(among) > 1:
            mixed.append(part)
        else:
            groups.setdefault(among, []).append(part)
    whole = [expression.func(*parts) for parts in groups.values()] + mixed
    return expression.func(*(map_parts(part, variables, change) for part in whole))
