r"""Gaussian averages of an activation whose covariances are power series.

For ``(u, v) ~ N(0, C)`` and ``C = C_0 + delta``, Taylor's theorem in the covariance entries and
Price's theorem for the derivatives give

    <phi(u) phi(v)>_C = sum_{a,c,b}  delta_11^a delta_12^c delta_22^b / (a! c! b!)
                        d^a/dC_11^a d^c/dC_12^c d^b/dC_22^b <phi(u) phi(v)>  at C_0,

a finite sum for truncated series, because the deviations have no constant term. Where both
variables coincide at ``C_0`` the derivative is ``<phi^{(2a+c)} phi^{(2b+c)}> / 2^{a+b}``, an
average over one variable.

Source: Price (1958); two scales of one network, Dherin & Munn (2025).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import sympy as sp

from resexpand.gaussian.expectation import (
    GaussianExpectation,
    Nonlinearity,
    integration_variables,
)
from resexpand.series.truncated import Truncated

Triple = tuple[sp.Expr, sp.Expr, sp.Expr]
SeriesTriple = tuple[Truncated, Truncated, Truncated]
NAMED_FROM = 5
"""Order from which on the coefficients of powers get names of their own: below it the polynomials
are short enough to be read."""

Definitions = list[tuple[sp.Symbol, sp.Expr]]


@dataclass
class Averages:
    """Averages in the order in which they are met, each with a symbol of its own.

    Attributes
    ----------
    fixed : set of sympy.Symbol
        Hyperparameters and the kernel at layer 0: an average of these alone is a constant.
    constants, definitions : list of (sympy.Symbol, sympy.Expr)
        Averages that are the same at all layers, and what is made of the state of a layer.
    """

    fixed: set[sp.Symbol]
    constants: Definitions = field(default_factory=list)
    definitions: Definitions = field(default_factory=list)
    known: dict[sp.Expr, sp.Symbol] = field(default_factory=dict)

    def symbol(self, node: sp.Expr, name: str) -> sp.Symbol:
        """Return the symbol of an average, `name` with a number if it is taken."""
        if node not in self.known:
            taken = {s.name for s in self.known.values()}
            names = (name if i == 0 else f"{name}_at{i}" for i in count())
            self._define(sp.Symbol(next(n for n in names if n not in taken), real=True), node)
        return self.known[node]

    def pair(self, label: sp.Symbol, base: Triple, orders: tuple[int, int, int]) -> sp.Expr:
        """Return a derivative of ``<phi(u) phi(v)>`` with respect to the entries 11, 12, 22."""
        a, c, b = orders
        if base[0] != base[1] or base[1] != base[2]:
            node = GaussianExpectation(
                sp.Mul(*(Nonlinearity(label, 0, x) for x in integration_variables(2))),
                integration_variables(2),
                base,
                orders,
            )
            return self.symbol(node, f"slope{_index(label)}_{a}_{c}_{b}")
        (x,) = integration_variables(1)
        high, low = sorted((2 * a + c, 2 * b + c), reverse=True)
        product = Nonlinearity(label, low, x) * Nonlinearity(label, high, x)
        node = GaussianExpectation(product, (x,), (base[0],))
        return self.symbol(node, f"moment{_index(label)}_{low}_{high}") / 2 ** (a + b)

    def mean(self, label: sp.Symbol, base: sp.Expr, order: int) -> sp.Expr:
        """Return the derivative of the given order of ``<phi>`` with respect to the variance."""
        (x,) = integration_variables(1)
        node = GaussianExpectation(Nonlinearity(label, 2 * order, x), (x,), (base,))
        return self.symbol(node, f"mean{_index(label)}_{2 * order}") / sp.Integer(2) ** order

    def of_pair(self, label: sp.Symbol, base: Triple, deviations: SeriesTriple) -> Truncated:
        """Return ``<phi(u) phi(v)>`` as a series.

        Parameters
        ----------
        label : sympy.Symbol
            The activation.
        base : tuple of sympy.Expr
            Covariance entries 11, 12, 22 about which is expanded.
        deviations : tuple of Truncated
            Series added to them; no constant terms.
        """
        total = deviations[0].of({})
        for (a, c, b), monomial in self._monomials(deviations):
            weight = sp.factorial(a) * sp.factorial(c) * sp.factorial(b)
            total += monomial.scaled(self.pair(label, base, (a, c, b)) / weight)
        return total

    def square(self, label: sp.Symbol, base: sp.Expr, order: int) -> sp.Expr:
        """Return the derivative of the given order of ``<phi^2>`` with respect to the variance."""
        if order == 0:
            return self.pair(label, (base, base, base), (0, 0, 0))
        (x,) = integration_variables(1)
        node = GaussianExpectation(Nonlinearity(label, 0, x) ** 2, (x,), (base,), (order,))
        return self.symbol(node, f"square{_index(label)}_{order}")

    def of_square(self, label: sp.Symbol, base: sp.Expr, deviation: Truncated) -> Truncated:
        """Return ``<phi(u)^2>`` as a series, for the variance ``base + deviation``."""
        return self._of_one(deviation, lambda n: self.square(label, base, n))

    def of_mean(self, label: sp.Symbol, base: sp.Expr, deviation: Truncated) -> Truncated:
        """Return ``<phi(u)>`` as a series, for the variance ``base + deviation``."""
        return self._of_one(deviation, lambda n: self.mean(label, base, n))

    def of_function(self, function: sp.Expr, variable: sp.Symbol, series: Truncated) -> Truncated:
        """Return a function of one variable at the values of a series."""
        at = {variable: series[series.zero]}
        return self._of_one(
            series.without_constant(), lambda n: function.diff(variable, n).xreplace(at)
        )

    def _of_one(self, deviation: Truncated, derivative: Callable[[int], sp.Expr]) -> Truncated:
        total = deviation.of({})
        for n, power in enumerate(deviation.powers(self.shortened)):
            total += power.scaled(derivative(n) / sp.factorial(n))
        return total

    def shortened(self, series: Truncated) -> Truncated:
        """Return a series with names for its longer coefficients, if its order asks for it."""
        return self.renamed(series) if series.order + 1 >= NAMED_FROM else series

    def renamed(self, series: Truncated) -> Truncated:
        """Return a series with names for all coefficients that are sums or products."""
        return series.mapped(lambda c: c if c.is_Atom else self._name(c))

    def _name(self, value: sp.Expr) -> sp.Symbol:
        if value not in self.known:
            self._define(sp.Symbol(f"part_{len(self.known)}", real=True), value)
        return self.known[value]

    def _define(self, symbol: sp.Symbol, value: sp.Expr) -> None:
        self.known[value] = symbol
        is_constant = value.free_symbols <= self.fixed | {s for s, _ in self.constants}
        (self.constants if is_constant else self.definitions).append((symbol, value))

    def _monomials(
        self, deviations: SeriesTriple
    ) -> Iterator[tuple[tuple[int, int, int], Truncated]]:
        """Yield the exponents and values of all monomials of three series that stay in the box."""
        powers = [list(deviation.powers(self.shortened)) for deviation in deviations]
        for a, first in enumerate(powers[0]):
            for c, mixed in enumerate(powers[1]):
                both = first * mixed
                for b, last in enumerate(powers[2] if both.coefficients else ()):
                    monomial = both * last
                    if monomial.coefficients:
                        yield (a, c, b), monomial


def _index(label: sp.Symbol) -> str:
    """Return the number of an activation of the branch, empty for the first."""
    return str(label.name).removeprefix("phi").strip("_")
