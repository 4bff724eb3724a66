"""From closed formulas to what is computed: numerically sound forms and quadrature calls.

Closed averages take the forms of `resexpand.codegen.sound`; averages without closed form become
calls of generated quadrature functions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp

from resexpand.activations.singularities import breakpoints
from resexpand.codegen.sound import sound
from resexpand.gaussian.expectation import GaussianExpectation
from resexpand.theory.closure import Laws, close


@dataclass(frozen=True)
class Quadrature:
    """One Gaussian average to be computed numerically.

    Attributes
    ----------
    name : str
        Name of the generated function.
    integrand : sympy.Expr
        Function of `variables` and `parameters`.
    variables : tuple of sympy.Symbol
        One or two integration variables.
    parameters : tuple of sympy.Symbol
        Other symbols of the integrand.
    covariance : tuple of sympy.Symbol
        Placeholders for the covariance entries, arguments of the generated function.
    breaks : tuple of tuple of sympy.Expr
        For every variable the points where the integrand is not smooth.
    """

    name: str
    integrand: sp.Expr
    variables: tuple[sp.Symbol, ...]
    parameters: tuple[sp.Symbol, ...]
    covariance: tuple[sp.Symbol, ...]
    breaks: tuple[tuple[sp.Expr, ...], ...]

    @property
    def is_smooth(self) -> bool:
        """Whether the integrand is smooth in every variable."""
        return not any(self.breaks)


@dataclass
class Lowering:
    """Turns formal expressions into computable ones and collects the quadratures they need."""

    laws: Laws
    quadratures: dict[tuple[sp.Basic, ...], Quadrature] = field(default_factory=dict)

    def lower(self, expression: sp.Expr) -> sp.Expr:
        """Return an expression of elementary functions and calls of quadratures."""
        closed = close(expression, self.laws)
        while nodes := closed.atoms(GaussianExpectation):
            closed = closed.xreplace({node: self._call(node) for node in nodes})
        return sound(closed)

    def _call(self, node: GaussianExpectation) -> sp.Expr:
        quadrature = self._quadrature(node)
        arguments = (*node.covariance, *quadrature.parameters)
        return sp.Function(quadrature.name)(*arguments)

    def _quadrature(self, node: GaussianExpectation) -> Quadrature:
        names = [f"k{i}" for i in range(len(node.covariance))]
        placeholders = tuple(sp.Symbol(name, real=True) for name in names)
        # A covariance entry inside the integrand (a Hermite polynomial) is the argument itself.
        inside = dict(zip(node.covariance, placeholders, strict=True))
        integrand = node.integrand.xreplace({k: v for k, v in inside.items() if not k.is_number})
        key = (integrand, sp.Tuple(*node.variables))
        if key not in self.quadratures:
            own = {*node.variables, *placeholders}
            parameters = sorted(integrand.free_symbols - own, key=sp.default_sort_key)
            self.quadratures[key] = Quadrature(
                name=f"average_{len(self.quadratures)}",
                integrand=integrand,
                variables=node.variables,
                parameters=tuple(parameters),
                covariance=placeholders,
                breaks=tuple(breakpoints(integrand, x) for x in node.variables),
            )
        return self.quadratures[key]
