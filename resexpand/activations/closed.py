"""The classes of expressions whose Gaussian averages are closed, asked in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import sympy as sp

from resexpand.activations import exponential_sum, stepwise
from resexpand.activations.exponential_sum import terms_of
from resexpand.activations.stepwise_parts import parts_of

LONGEST = 120
"""Operations in an expression beyond which no closed form is looked for."""


def closed_averages(
    expression: sp.Expr, breaks: Sequence[sp.Expr]
) -> dict[str, Callable[..., sp.Expr]]:
    """Return the closed averages of an activation as functions of the covariance, by name.

    Parameters
    ----------
    expression : sympy.Expr
        Function of one symbol, real and finite.
    breaks : sequence of sympy.Expr
        Points at which it may switch, sorted.

    Returns
    -------
    dict
        ``pair``, ``variance`` and ``mean``; empty where the expression is of no such class.
    """
    if expression.count_ops() > LONGEST:
        return {}
    stepped = bool(breaks) or expression.has(sp.erf, sp.erfc)
    home = stepwise if stepped else exponential_sum
    parts = parts_of(expression, breaks) if stepped else terms_of(expression)
    if parts is None:
        return {}
    return {
        "pair": partial(home.pair_average, parts),
        "variance": partial(home.variance, parts),
        "mean": partial(home.mean, parts),
    }
