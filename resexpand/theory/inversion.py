"""Closed solutions of conditions in which the kernel enters through one function.

Conditions for an optimal scale are rational in ``K`` and one transcendental function of it, an
exponential or an arcsine. If a factor of the condition depends on ``K`` only through that function,
it is solved for the function and the function is inverted; powers of one exponential may enter up
to the second degree. Anything else is left to root finding.
"""

from __future__ import annotations

import sympy as sp

from resexpand.activations.arcsine import elementary, of_polynomials

MOST_FUNCTIONS = 6
"""Exponentials and arcsines of the unknown beyond which no closed solution is looked for."""

MOST_OPERATIONS = 200
"""Length beyond which none is: those that are found have some ten, and a common denominator of long
conditions takes minutes."""

MOST_POWER = 20
"""Power of a common exponential beyond which none is."""


def solve_for(condition: sp.Expr, unknown: sp.Symbol) -> sp.Expr | None:
    """Return the positive solution of ``condition = 0``, or None if it is not found.

    Parameters
    ----------
    condition : sympy.Expr
        Expression in `unknown`; may hold `Area` and `ArcCorrelation` nodes.
    unknown : sympy.Symbol
        The symbol to solve for.
    """
    if not of_polynomials(condition):
        return None
    written = elementary(condition)
    transcendental = [f for f in written.atoms(sp.exp, sp.asin) if f.has(unknown)]
    arcsines = [f for f in transcendental if isinstance(f, sp.asin)]
    # A sum of several kinds has no closed zero; factoring it would take minutes to find that out.
    if not transcendental or len(arcsines) > 1 or len(transcendental) > MOST_FUNCTIONS:
        return None
    powers, bases = _powers(written, unknown)
    if written.count_ops() > MOST_OPERATIONS or _is_high(powers):
        return None
    numerator = sp.fraction(sp.together(written.xreplace(powers)))[0]
    try:
        factors = sp.factor_list(sp.expand(numerator))[1]
    except sp.PolynomialError:  # roots and exponentials whose exponents are quotients
        return None
    for factor, _ in factors:
        solution = _solve_factor(factor.xreplace(bases), unknown)
        if solution is not None:
            return solution
    return None


def _powers(
    expression: sp.Expr, unknown: sp.Symbol
) -> tuple[dict[sp.Expr, sp.Pow], dict[sp.Expr, sp.Expr]]:
    """Return exponentials as powers of common ones, which are symbols, and what these stand for.

    SymPy takes ``exp(4.61 K)`` for the power 461 of ``exp(K / 100)`` and stores all powers below.
    """
    rates: dict[sp.Expr, dict[sp.Expr, sp.Rational]] = {}
    for exponential in expression.atoms(sp.exp):
        rate, rest = exponential.args[0].as_coeff_Mul(rational=True)
        if rest.has(unknown):
            rates.setdefault(rest, {})[exponential] = rate
    powers: dict[sp.Expr, sp.Pow] = {}
    bases = {}
    for rest, own in rates.items():
        common, base = sp.gcd_list([abs(rate) for rate in own.values()]), sp.Dummy(positive=True)
        bases[base] = sp.exp(common * rest)
        powers |= {e: sp.Pow(base, rate / common, evaluate=False) for e, rate in own.items()}
    return powers, bases


def _is_high(powers: dict[sp.Expr, sp.Pow]) -> bool:
    """Whether polynomials in the common exponentials are too long to be looked through."""
    return any(abs(power.exp) > MOST_POWER for power in powers.values())


def _solve_factor(factor: sp.Expr, unknown: sp.Symbol) -> sp.Expr | None:
    exponentials = [f for f in factor.atoms(sp.exp) if f.has(unknown)]
    arcsines = [f for f in factor.atoms(sp.asin) if f.has(unknown)]
    if exponentials and not arcsines:
        return _positive(_logarithms(factor, exponentials, unknown))
    if len(arcsines) == 1 and not exponentials:
        return _positive(_inverse_sine(factor, arcsines[0], unknown))
    return None


def _inverse_sine(factor: sp.Expr, arcsine: sp.Expr, unknown: sp.Symbol) -> list[sp.Expr]:
    value = sp.Dummy("value")
    reduced = factor.xreplace({arcsine: value})
    if reduced.has(unknown) or sp.degree(reduced, value) != 1:
        return []
    (solved,) = sp.solve(reduced, value)
    roots: list[sp.Expr] = sp.solve(sp.Eq(arcsine.args[0], sp.sin(solved)), unknown)
    return roots


def _logarithms(factor: sp.Expr, exponentials: list[sp.Expr], unknown: sp.Symbol) -> list[sp.Expr]:
    """Solve a polynomial of degree one or two in ``exp(rate * unknown)``."""
    rates = [f.args[0].coeff(unknown) for f in exponentials]
    if any(
        sp.expand(f.args[0] - r * unknown) != 0 for f, r in zip(exponentials, rates, strict=True)
    ):
        return []
    rate = min(rates, key=abs)
    powers = [r / rate for r in rates]
    if not all(power.is_Integer and power > 0 for power in powers):
        return []
    value = sp.Dummy("value", positive=True)
    replaced = {f: value**power for f, power in zip(exponentials, powers, strict=True)}
    reduced = sp.expand(factor.xreplace(replaced))
    if reduced.has(unknown) or sp.degree(reduced, value) > 2:
        return []
    return [sp.log(solved) / rate for solved in sp.solve(reduced, value)]


def _positive(roots: list[sp.Expr]) -> sp.Expr | None:
    """Return the only root that is positive at unit weight variance and without biases."""
    found = []
    for root in roots:
        plain = {s: sp.Integer(1) if s.is_positive else sp.Integer(0) for s in root.free_symbols}
        number = root.xreplace(plain).evalf()
        if number.is_real and number > 0:
            found.append(sp.simplify(root))
    return found[0] if len(found) == 1 else None


def integral_of(
    integrand: sp.Expr, variable: sp.Symbol, low: sp.Expr, high: sp.Expr
) -> sp.Expr | None:
    """Return a definite integral in closed form, or None.

    Only integrands rational in exponentials are tried, and an antiderivative is believed only if
    its derivative is the integrand.
    """
    functions = integrand.atoms(sp.Function) - integrand.atoms(sp.exp)
    roots = [p.base for p in integrand.atoms(sp.Pow) if not p.exp.is_Integer]
    # SymPy searches for minutes where roots of the variable are among them.
    if any(f.has(variable) for f in (*functions, *roots)) or integrand.has(sp.Integral):
        return None
    if _is_high(_powers(integrand, variable)[0]):
        return None
    antiderivative = sp.integrate(integrand, variable)
    if antiderivative.has(sp.Integral) or sp.simplify(antiderivative.diff(variable) - integrand):
        return None
    real = antiderivative.replace(sp.log, lambda u: sp.log(sp.expand(-u if _is_negative(u) else u)))
    return real.subs(variable, high) - real.subs(variable, low)


def _is_negative(expression: sp.Expr) -> bool:
    """Whether an expression is negative where all symbols are one: a logarithm takes its size."""
    number = expression.xreplace(dict.fromkeys(expression.free_symbols, sp.Integer(1))).evalf()
    return bool(number.is_negative)
