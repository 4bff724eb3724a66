"""From closed formulas to what is computed: numerically sound forms and quadrature calls.

`Area` and `ArcCorrelation` become a guarded square root and an arctangent, which keeps full
accuracy at coinciding inputs, where the arcsine of a rounded correlation would lose half the
digits. Averages without closed form become calls of generated quadrature functions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp

from resexpand.activations.activation_law import X
from resexpand.activations.arcsine import ArcCorrelation, Area
from resexpand.activations.growth import growth_rate
from resexpand.activations.singularities import may_branch
from resexpand.codegen.exponentials import stable_exponentials
from resexpand.gaussian.expectation import GaussianExpectation, integration_variables
from resexpand.theory.closure import Laws, close


def guarded_area(area: Area) -> sp.Expr:
    """Return the square root of the determinant, never of a number rounded below zero."""
    a, b, c = area.args
    if a == b and not sp.expand(area.determinant).has(c**2):
        return sp.sqrt(area.determinant)
    return sp.sqrt(sp.Max(0, a * b - c**2))


def stable(expression: sp.Expr) -> sp.Expr:
    """Replace `Area` and `ArcCorrelation` by forms that are accurate at coinciding inputs."""
    # `replace` goes from the leaves up: the arguments of a node may hold such nodes themselves.
    return expression.replace(lambda node: isinstance(node, Area | ArcCorrelation), _stable_node)


def _stable_node(node: Area | ArcCorrelation) -> sp.Expr:
    area = Area(*node.args)
    root = guarded_area(area) if isinstance(area, Area) else area
    if isinstance(node, Area):
        return root
    # Unevaluated: SymPy would turn it into an arctangent of a quotient, one division more.
    return sp.atan2(node.args[2], root, evaluate=False)


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
        closed = close(expression, self.laws)
        while nodes := closed.atoms(GaussianExpectation):
            closed = closed.xreplace({node: self._call(node) for node in nodes})
        return stable(closed)

    def _call(self, node: GaussianExpectation) -> sp.Expr:
        quadrature = self._quadrature(node)
        arguments = (*node.covariance, *quadrature.parameters)
        return sp.Function(quadrature.name)(*arguments)

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
                integrand=stable_exponentials(integrand, node.variables),
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
