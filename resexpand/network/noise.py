"""Noise of a map as data: its values, their probabilities, and how columns share it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import sympy as sp

Outcomes: TypeAlias = tuple[tuple[sp.Expr, sp.Expr], ...]
"""Values of a random number and their probabilities, which add up to one."""


def bernoulli(probability: sp.Expr) -> Outcomes:
    """Return the law of a number that is 1 with a probability and 0 otherwise."""
    return (sp.Integer(1), probability), (sp.Integer(0), 1 - probability)


@dataclass(frozen=True)
class Noise:
    """A random number that a map draws afresh in every block of every network.

    Attributes
    ----------
    symbol : sympy.Symbol
        Symbol in the expression of the map.
    outcomes : tuple of (sympy.Expr, sympy.Expr)
        Its values and their probabilities, made of the parameters.
    over : {"neurons", "block"}
        Whether every neuron has its own, or all neurons of the block one.
    shared : bool
        Whether the columns of all inputs share it. Otherwise every input has its own: neurons one
        at every position, a block one for all of them. Derivatives of a column always share that
        of the column.
    """

    symbol: sp.Symbol
    outcomes: Outcomes
    over: Literal["neurons", "block"] = "neurons"
    shared: bool = False
    vanishes: ClassVar[bool] = True  # in evaluation

    def mean(self) -> sp.Expr:
        """Return its expectation."""
        return sp.Add(*(value * probability for value, probability in self.outcomes))

    def quantile(self, uniform: sp.Expr) -> sp.Expr:
        """Return it as a function of a number that is uniform between 0 and 1."""
        below, cases = sp.Integer(0), []
        for value, probability in self.outcomes[:-1]:
            below += probability
            cases.append((value, uniform < below))
        return sp.Piecewise(*cases, (self.outcomes[-1][0], True))
