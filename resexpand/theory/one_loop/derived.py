"""Ingredients of the formulas of the order 1/N of one network."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from resexpand.conventions import K
from resexpand.gaussian.expectation import (
    GaussianExpectation,
    Nonlinearity,
    integration_variables,
)
from resexpand.references import Citation
from resexpand.theory.formula import Formula
from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.one_loop.process import LinearLayer, Process
from resexpand.theory.one_loop.quantities import quantity
from resexpand.theory.recursion import Recursion

LAYER, OTHER, EARLIER, ANOTHER = sp.symbols("l m k j", integer=True, positive=True)
"""Layers: of a quantity, of the other one, and those that are summed over."""


@dataclass(frozen=True)
class Derived:
    """Ingredients of the formulas of one network.

    Attributes
    ----------
    base : Recursion
        The kernel recursion of one input.
    process : Process
        The draws.
    citations : tuple of Citation
        Where the equations stand.
    """

    base: Recursion
    process: Process
    citations: tuple[Citation, ...]

    @property
    def several(self) -> bool:
        """Whether a block holds several draws."""
        return len(self.process.draws) > 1

    def place(self, draw: LinearLayer) -> int:
        """Return the index under which a draw is written, 0 if there is but one."""
        return draw.position if self.several else 0

    def scale(self, layer: sp.Expr) -> sp.Expr:
        """Return the residual scale of a block."""
        names = Hyperparameters(self.base.net, dict(self.base.bindings))
        return quantity("rho", layer) if self.base.layer_bindings else names.scale()

    def variances(self, draw: LinearLayer) -> tuple[sp.Expr, sp.Expr]:
        """Return weight and bias variance of a draw."""
        names = Hyperparameters(self.base.net, dict(self.base.bindings))
        return names.variances(draw.linear, f"_{draw.position}" if self.several else "")

    def reads(self, draw: LinearLayer, layer: sp.Expr) -> sp.Expr:
        """Return the variance of what a draw of a block reads."""
        if draw.reads_stream:
            return quantity("K", layer - 1)
        return quantity("C", layer, draw=draw.position - 1)

    def covariance(self, draw: LinearLayer) -> sp.Expr:
        """Return the mean-field covariance of a draw as a function of the symbol K."""
        _, value = self.base.definitions[draw.position - 1]
        argument = K if draw.reads_stream else self.base.definitions[draw.position - 2][0]
        return value.xreplace({argument: K})

    def at(self, draw: LinearLayer, expression: sp.Expr, layer: sp.Expr) -> sp.Expr:
        """Return a function of the symbol K at the variance that a draw reads."""
        return expression.xreplace({K: self.reads(draw, layer)})

    def formula(
        self, name: str, lhs: sp.Expr, rhs: sp.Expr, meaning: str, *, exact: bool = False
    ) -> Formula:
        """Return a formula of this network."""
        neglects = "" if exact else "O(1/N)"
        return Formula(name, lhs, rhs, meaning, neglects, self.citations, self.base.laws)


def draw_name(stem: str, made: Derived, draw: LinearLayer) -> str:
    """Return the name of a formula about one draw."""
    return f"{stem}_{draw.position}" if made.several else stem


def behind(made: Derived, draw: LinearLayer | None, layer: sp.Expr) -> sp.Expr:
    """Return the response of the rest of a block to a draw of it; to the stream for None."""
    position = draw.position if draw else 0
    later = [d for d in made.process.draws if d.position > position]
    return sp.Mul(*(quantity("T", layer, draw=made.place(d)) for d in later))


def _feature(draw: LinearLayer, variable: sp.Symbol) -> sp.Expr:
    """Return the square of what a draw acts on, as a function of the variable it reads."""
    return Nonlinearity(draw.label, 0, variable) ** 2


def two_point(draw: LinearLayer, late: sp.Expr, early: sp.Expr, joint: sp.Expr) -> sp.Expr:
    """Return the average of the features of a draw at two layers."""
    if draw.label is None:
        return late * early + 2 * joint**2
    x1, x2 = integration_variables(2)
    product = _feature(draw, x1) * _feature(draw, x2)
    return GaussianExpectation(product, (x1, x2), (late, joint, early))


def one_point(draw: LinearLayer, variance: sp.Expr, power: int = 1) -> sp.Expr:
    """Return the average of a power of the features of a draw."""
    if draw.label is None:
        return sp.factorial2(2 * power - 1) * variance**power
    (x,) = integration_variables(1)
    return GaussianExpectation(_feature(draw, x) ** power, (x,), (variance,))
