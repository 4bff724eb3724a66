r"""Closed forms made readable: the same value, fewer fractions inside fractions.

A closed form comes from differentiation and substitution and looks like it,
``asin(pi K / (2 (pi K / 2 + 1)))``. `tidy` takes rational contents out of sums, factors
denominators, and turns ``sin(y - 1)`` into ``- sin(1 - y)``. It changes no value.
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw
from resexpand.activations.arcsine import elementary
from resexpand.gaussian.expectation import GaussianExpectation, Nonlinearity
from resexpand.theory.closure import Laws, closed_average


def closed_form(expression: sp.Expr, laws: Laws) -> sp.Expr:
    """Return an expression with its averages in closed form, tidied.

    Averages for which no closed form is known stay formal; which function they average is said
    beside the formula.

    Parameters
    ----------
    expression : sympy.Expr
        May hold averages over formal activations.
    laws : tuple
        The activation behind every label.

    Raises
    ------
    UnsupportedError
        If an average does not exist.
    """
    return formal(_closed(expression, dict(laws)))


def _closed(expression: sp.Expr, laws: Mapping[sp.Symbol, ActivationLaw]) -> sp.Expr:
    known = {}
    for node in expression.atoms(GaussianExpectation):
        # Activations in a chain: the covariance of an average holds averages itself.
        at = node.with_covariance([_closed(entry, laws) for entry in node.covariance])
        form = closed_average(at, laws) if node.base.has(Nonlinearity) else at
        integrals = form.atoms(GaussianExpectation)
        known[node] = at if any(not n.base.has(Nonlinearity) for n in integrals) else form
    return expression.xreplace(known)


def formal(expression: sp.Expr, laws: Laws = ()) -> sp.Expr:
    """Return an expression whose formal averages are written as simply as they can be.

    Price's theorem is carried out, numbers stand outside of the average, and of two averages that
    differ by the names of two variables of equal variance only one is used.

    Parameters
    ----------
    expression : sympy.Expr
        May hold averages over formal activations.
    laws : tuple, optional
        Not needed; for the same call as `closed_form`.
    """
    nodes = [n for n in expression.atoms(GaussianExpectation) if n.has(Nonlinearity)]
    return tidy(elementary(expression.xreplace({n: _simple_average(n) for n in nodes})))


def _simple_average(node: GaussianExpectation) -> sp.Expr:
    coefficient, integrand = node.integrand.as_coeff_Mul()
    if len(node.variables) == 2 and node.covariance[0] == node.covariance[2]:
        swap = dict(zip(node.variables, reversed(node.variables), strict=True))
        integrand = min(integrand, integrand.xreplace(swap), key=str)
    return coefficient * GaussianExpectation(integrand, node.variables, node.covariance)


def tidy(expression: sp.Expr) -> sp.Expr:
    """Return an equal expression that reads better."""
    if isinstance(expression, GaussianExpectation) or not expression.args:
        return expression
    rebuilt = expression.func(*map(tidy, expression.args))
    if isinstance(rebuilt, sp.Pow):
        return _tidy_power(rebuilt)
    if isinstance(rebuilt, sp.Mul):
        return _combined(rebuilt)
    if isinstance(rebuilt, sp.sin):
        return _positive_sine(rebuilt)
    return rebuilt


def _tidy_power(power: sp.Pow) -> sp.Expr:
    base, exponent = power.args
    if not isinstance(base, sp.Add) or not exponent.is_Rational:
        return power
    content, rest = base.primitive()
    if exponent.is_Integer and exponent < 0 and _is_polynomial(rest):
        rest = sp.factor(rest)
    return content**exponent * rest**exponent


def _combined(product: sp.Mul) -> sp.Expr:
    """Merge equal bases; a root of a number goes below the bar, where one is already."""
    coefficient, factors = product.as_coeff_mul()
    return sp.Mul(coefficient, *factors)


def _is_polynomial(expression: sp.Expr) -> bool:
    return bool(expression.is_polynomial(*expression.free_symbols))


def _positive_sine(sine: sp.Expr) -> sp.Expr:
    """Write ``sin(y - 1)`` as ``- sin(1 - y)``, with a sine that SymPy does not turn back."""
    constant = sine.args[0].as_coeff_Add()[0]
    if not constant.is_negative:
        return sine
    return -sp.Function("sin")(-sine.args[0])
