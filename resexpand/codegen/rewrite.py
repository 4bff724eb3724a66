"""From closed formulas to what is computed: numerically sound forms and quadrature calls.

Closed averages take the forms of `resexpand.codegen.sound`; averages without closed form become
calls of generated quadrature functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.activations.growth import growth_rate
from resexpand.activations.singularities import may_branch
from resexpand.codegen.exponentials import stable_exponentials
from resexpand.codegen.sound import sound, with_expm1
from resexpand.gaussian.expectation import (
    GaussianExpectation,
    Nonlinearity,
    integration_variables,
)
from resexpand.theory.closure import Laws, close


def _with_value_at_zero(expression: sp.Expr, jumping: Mapping[sp.Symbol, ActivationLaw]) -> sp.Expr:
    """Give averages of functions that jump at zero their value at variance zero.

    There the input is zero itself, while a closed form has the limit of small variances. A factor
    that is exactly one everywhere else does not change other numbers.
    """
    nodes = expression.atoms(GaussianExpectation) if jumping else ()
    changed = {}
    for node in nodes:
        labels = {f.args[0] for f in node.base.atoms(Nonlinearity)}
        if len(node.variables) > 1 or any(node.orders) or not labels <= jumping.keys():
            continue
        at_zero = {
            f: jumping[f.args[0]].expression.subs(X, 0) for f in node.base.atoms(Nonlinearity)
        }
        moved = sp.Min(1, node.covariance[0] * LARGE)
        changed[node] = moved * node + (1 - moved) * node.base.xreplace(at_zero)
    return expression.xreplace(changed)


LARGE = sp.Integer(2) ** 1000


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
    rates : tuple of sympy.Float
        For every variable the ``c`` of a growth like ``exp(c x^2)``; 0 for slower growth.
    diagonal : str or None
        Name of the average of two equal variables, which stands for this one where they are.
    """

    name: str
    integrand: sp.Expr
    variables: tuple[sp.Symbol, ...]
    parameters: tuple[sp.Symbol, ...]
    covariance: tuple[sp.Symbol, ...]
    rates: tuple[sp.Expr, ...]
    diagonal: str | None = None


@dataclass
class Lowering:
    """Turns formal expressions into computable ones and collects the quadratures they need."""

    laws: Laws
    quadratures: dict[tuple[sp.Basic, ...], Quadrature] = field(default_factory=dict)

    def lower(self, expression: sp.Expr) -> sp.Expr:
        """Return an expression of elementary functions and calls of quadratures."""
        jumping = {label: law for label, law in self.laws if 0 in law.jumps}
        closed = close(_with_value_at_zero(expression, jumping), self.laws)
        while nodes := closed.atoms(GaussianExpectation):
            closed = closed.xreplace({node: self._call(node) for node in nodes})
        return sound(closed)

    def _call(self, node: GaussianExpectation) -> sp.Expr:
        # A power of the covariance beside one of the argument would leave double precision.
        number, rest = node.base.as_coeff_Mul()
        factor, product = rest.as_independent(*node.variables, as_Add=False)
        if factor != 1 and not any(node.orders):
            node = GaussianExpectation(number * product, node.variables, node.covariance)
        else:
            factor = sp.S.One
        quadrature = self._quadrature(node)
        arguments = (*node.covariance, *quadrature.parameters)
        return factor * sp.Function(quadrature.name)(*arguments)

    def _quadrature(self, node: GaussianExpectation) -> Quadrature:
        names = [f"k{i}" for i in range(len(node.covariance))]
        placeholders = tuple(sp.Symbol(name, real=True) for name in names)
        # A covariance entry inside the integrand (a Hermite polynomial) is the argument itself.
        inside = dict(zip(node.covariance, placeholders, strict=True))
        integrand = node.base.xreplace({k: v for k, v in inside.items() if not k.is_number})
        key = (integrand, sp.Tuple(*node.variables))
        if key not in self.quadratures:
            diagonal = self._diagonal(integrand, node.variables, placeholders)
            own = {*node.variables, *placeholders}
            parameters = sorted(integrand.free_symbols - own, key=sp.default_sort_key)
            others = dict.fromkeys((*placeholders, *parameters), sp.S.One)
            rates = tuple(
                _rate(integrand.xreplace(others), node.variables, x) for x in node.variables
            )
            self.quadratures[key] = Quadrature(
                name=f"average_{len(self.quadratures)}",
                integrand=with_expm1(stable_exponentials(integrand, node.variables)),
                variables=node.variables,
                parameters=tuple(parameters),
                covariance=placeholders,
                rates=rates,
                diagonal=diagonal,
            )
        return self.quadratures[key]

    def _diagonal(
        self,
        integrand: sp.Expr,
        variables: tuple[sp.Symbol, ...],
        placeholders: tuple[sp.Symbol, ...],
    ) -> str | None:
        """Return the name of the average of an integrand at two equal variables, if it matters.

        A step tells two inputs apart that differ by rounding alone.
        """
        if len(variables) == 1 or integrand.free_symbols & set(placeholders):
            return None
        if not may_branch(integrand):
            return None
        (x,) = integration_variables(1)
        merged = integrand.xreplace(dict.fromkeys(variables, x))
        return self._quadrature(GaussianExpectation(merged, (x,), placeholders[:1])).name


def _rate(integrand: sp.Expr, variables: tuple[sp.Symbol, ...], variable: sp.Symbol) -> sp.Expr:
    """Return how fast an integrand grows in one variable, the others standing still."""
    still = {x: sp.Rational(3, 10) for x in variables if x != variable}
    return sp.Float(growth_rate(integrand.xreplace({**still, variable: X})))
