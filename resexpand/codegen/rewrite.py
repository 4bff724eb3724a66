"""From closed formulas to what is computed: numerically sound forms and quadrature calls.

`Area` and `ArcCorrelation` become a guarded square root and an arctangent, which keeps full
accuracy at coinciding inputs, where the arcsine of a rounded correlation would lose half the
digits. Averages without closed form become calls of generated quadrature functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.activations.arcsine import ArcCorrelation, Area
from resexpand.activations.singularities import breakpoints
from resexpand.gaussian.expectation import GaussianExpectation, Nonlinearity
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
        jumping = {label: law for label, law in self.laws if 0 in law.jumps}
        closed = close(_with_value_at_zero(expression, jumping), self.laws)
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
