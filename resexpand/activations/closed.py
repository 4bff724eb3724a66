"""The classes of expressions whose Gaussian averages are closed, asked in turn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import NamedTuple

import sympy as sp

from resexpand.activations import exponential_sum, stepwise
from resexpand.activations.activation_law import Average, PairAverage
from resexpand.activations.exponential_sum import terms_of
from resexpand.activations.rounding import lost_below
from resexpand.activations.stepwise_parts import parts_of

LONGEST = 120
"""Operations in an expression beyond which no closed form is looked for."""


class ClosedAverages(NamedTuple):
    """The averages that an `ActivationLaw` states."""

    pair: PairAverage
    variance: Average
    mean: Average
    limited: bool = False


def closed_averages(expression: sp.Expr, breaks: Sequence[sp.Expr]) -> ClosedAverages | None:
    """Return the closed averages of an activation, None where it is of no such class.

    Parameters
    ----------
    expression : sympy.Expr
        Function of `X`, real and finite.
    breaks : sequence of sympy.Expr
        Points at which it may switch, sorted.
    """
    if expression.count_ops() > LONGEST:
        return None
    if breaks or expression.has(sp.erf, sp.erfc):
        parts = parts_of(expression, breaks)
        if parts is None:
            return None
        # Terms that cancel in the function cancel in its averages, where they are not expanded.
        if expression.has(sp.erf, sp.erfc) and lost_below(expression):
            return None
        return _of_class(stepwise, parts)._replace(limited=stepwise.is_limited(parts))
    terms = terms_of(expression)
    return None if terms is None else _of_class(exponential_sum, terms)


def _of_class(home: ModuleType, parts: tuple[object, ...]) -> ClosedAverages:
    pair, variance, mean = (
        partial(function, parts) for function in (home.pair_average, home.variance, home.mean)
    )
    return ClosedAverages(pair, variance, mean)
