r"""The order in which terms and factors are written.

SymPy orders terms for the machine; here they stand as in a paper, and the order is a function of
the expression alone, not of how SymPy stores it. **Terms** of a sum ascend in

    numbers first · power of rho · bias after weights · degree in K* · highest derivative of phi ·
    degree in all symbols · the LaTeX text,

where beside averages a parameter alone counts as a bias, whatever its name,
so that one reads ``1 + rho^2 ...``, ``K + rho^2 C``, ``sigma_w^2 <phi^2> + sigma_b^2`` and
``<phi'^2 + phi phi''>``. A sum begins with its first positive term, if it has one. **Factors** of a
product follow

    numbers · rho · weight and bias variances · other parameters · kernels · functions · averages ·
    sums in parentheses · responses chi,

and by their text among equals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import sympy as sp

from resexpand.gaussian.expectation import GaussianExpectation, Nonlinearity
from resexpand.theory.notation import VARIANCE

Text = Callable[[sp.Expr], str]

# The responses of the theory; a hyperparameter may be called delta, or chi.
_RESPONSE = re.compile(r"(d?ln_)?chi_.*|ln_chi\Z|dK_drho\Z")
_KERNEL_STEMS = ("K", "C", "m")


def ordered_terms(expression: sp.Add, text: Text) -> list[sp.Expr]:
    """Return the terms of a sum in reading order.

    Parameters
    ----------
    expression : sympy.Add
        The sum.
    text : callable
        Prints a term; decides between terms that are otherwise equal.
    """
    averaged = expression.has(GaussianExpectation)
    terms = sorted(
        expression.args, key=lambda term: (*_term_key(term, averaged), text(abs_term(term)))
    )
    leading = next((i for i, term in enumerate(terms) if not is_negative(term)), 0)
    return [terms[leading], *terms[:leading], *terms[leading + 1 :]]


def ordered_factors(factors: Iterable[sp.Expr], text: Text) -> list[sp.Expr]:
    """Return the factors of a product in reading order."""
    return sorted(factors, key=lambda factor: (factor_rank(factor), text(factor)))


def is_negative(term: sp.Expr) -> bool:
    """Whether a term is written with a minus sign in front."""
    return bool(term.as_coeff_Mul()[0].is_extended_negative)


def abs_term(term: sp.Expr) -> sp.Expr:
    """Return a term without the minus sign in front of it."""
    return -term if is_negative(term) else term


def _term_key(term: sp.Expr, averaged: bool) -> tuple[int, float, bool, float, int, float]:
    powers = dict(map(base_and_exponent, sp.Mul.make_args(term)))
    symbols = {b: e for b, e in powers.items() if isinstance(b, sp.Symbol) and e.is_Rational}
    return (
        0 if term.is_number else 1,
        float(sum(e for b, e in symbols.items() if _is_scale(b))),
        any(map(_is_bias, symbols)) or (averaged and _is_parameter(powers)),
        float(sum(e for b, e in symbols.items() if b.name == "K_star")),
        max((int(f.args[1]) for b in powers for f in _bare(b)), default=0),
        float(sum(symbols.values())),
    )


def _bare(base: sp.Expr) -> set[Nonlinearity]:
    """Return the activations a factor is made of, outside of averages."""
    return set() if base.has(GaussianExpectation) else base.atoms(Nonlinearity)


def base_and_exponent(factor: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """Split a power; an exponential counts as a function, not as a power of e."""
    if isinstance(factor, sp.exp) or not isinstance(factor, sp.Pow):
        return factor, sp.Integer(1)
    base, exponent = factor.args
    return base, exponent


def factor_rank(factor: sp.Expr) -> int:
    """Return the place of a factor among the kinds of factors."""
    base = base_and_exponent(factor)[0]
    if base.is_number:
        return 0
    if isinstance(base, sp.Symbol):
        return _symbol_rank(base)
    if isinstance(base, Nonlinearity):
        return 20 + int(base.args[1])
    if isinstance(base, GaussianExpectation):
        return 40
    return 50 if isinstance(base, sp.Add) else 30


def _symbol_rank(symbol: sp.Symbol) -> int:
    if _is_scale(symbol):
        return 1
    if VARIANCE.match(symbol.name):
        return 3 if _is_bias(symbol) else 2
    if _RESPONSE.match(symbol.name):
        return 60
    if symbol.name == "K_star":
        return 6
    head = symbol.name.split("_")[0].rstrip("0123456789")
    return 5 if head in _KERNEL_STEMS else 4


def _is_parameter(bases: Iterable[sp.Expr]) -> bool:
    """Whether a product is made of parameters of unknown names, and perhaps a number."""
    ranks = {factor_rank(base) for base in bases}
    return 4 in ranks and ranks <= {0, 4}


def _is_scale(symbol: sp.Symbol) -> bool:
    return bool(symbol.name.split("_")[0] == "rho")


def _is_bias(symbol: sp.Symbol) -> bool:
    variance = VARIANCE.match(symbol.name)
    return bool(variance and variance["of"] == "b")
