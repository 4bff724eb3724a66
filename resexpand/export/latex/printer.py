r"""The printer: SymPy expressions as LaTeX in the notation of the field.

It differs from SymPy's own printer, which it extends, in four ways: terms and factors stand in the
order of `resexpand.export.latex.order`; names follow `resexpand.theory.notation`; a fraction holds
numbers and symbols while averages, functions of the kernel and responses follow behind it; and an
average is written without its integration variable where nothing is lost, ``\langle \phi'^2
\rangle_{K}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.printing.latex import LatexPrinter

from resexpand.activations.arcsine import ArcCorrelation, Area
from resexpand.activations.orthant import Orthant
from resexpand.export.latex.order import (
    abs_term,
    base_and_exponent,
    factor_rank,
    is_negative,
    ordered_factors,
    ordered_terms,
)
from resexpand.gaussian.expectation import GaussianExpectation, Nonlinearity
from resexpand.theory.latex_names import function_latex
from resexpand.theory.notation import VARIANCE, symbol_latex, variance_latex

FUNCTIONS = {
    "asin": r"\arcsin",
    "acos": r"\arccos",
    "atan": r"\arctan",
    "log": r"\ln",
    **{name: rf"\{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
}
"""Functions that LaTeX knows; any other name of more than one letter is set upright."""

LONGEST, DECIMALS = 10**10, 6
"""Numerator and denominator beyond which a fraction is written as a decimal, and its digits."""

_HALF = sp.Rational(1, 2)
_TALL = (r"\frac", r"\sqrt", r"\left", r"\int", r"\begin")
_RANK_OF_FUNCTIONS, _RANK_OF_SUMS, _RANK_OF_RESPONSES = 20, 50, 60


class FormulaPrinter(LatexPrinter):
    """Prints expressions of the theory.

    Parameters
    ----------
    names : mapping of sympy.Symbol to str, optional
        Spelling of symbols that depends on where they stand, such as the layer of a kernel; all
        other symbols are written by `resexpand.theory.notation.symbol_latex`.
    pair_name : mapping of tuple to str, optional
        Spelling of the covariance of two inputs, by its entries 11, 12, 22.
    """

    # Hooks of the nodes serve SymPy's own printer; this one has a method for each.
    printmethod = "_formula_latex"

    def __init__(
        self,
        names: Mapping[sp.Symbol, str] | None = None,
        pair_names: Mapping[tuple[sp.Expr, ...], str] | None = None,
    ) -> None:
        super().__init__()
        self.names = dict(names or {})
        self.pair_names = dict(pair_names or {})
        self.drops_argument = False

    def text(self, expression: sp.Expr) -> str:
        """Return an expression as LaTeX without delimiters."""
        return str(self.doprint(expression))

    def _print_Symbol(self, expr: sp.Symbol, style: str = "plain") -> str:
        return self.names.get(expr) or symbol_latex(expr.name)

    def _print_Add(self, expr: sp.Add, order: object = None) -> str:
        return "".join(self.signed_terms(expr))

    def ordered(self, expression: sp.Add) -> list[sp.Expr]:
        """Return the terms of a sum in reading order."""
        return ordered_terms(expression, self.text)

    def signed_terms(self, expression: sp.Expr) -> list[str]:
        """Return the terms of a sum in reading order, each with the sign that joins it."""
        if not isinstance(expression, sp.Add):
            return [self.text(expression)]
        written = []
        for i, term in enumerate(self.ordered(expression)):
            sign = "- " if is_negative(term) else "" if i == 0 else "+ "
            written.append((" " if i else "") + sign + self.text(abs_term(term)))
        return written

    def _print_Integer(self, expr: sp.Integer) -> str:
        return str(int(expr))

    def _print_NumberSymbol(self, expr: sp.Expr) -> str:
        return {"pi": r"\pi", "E": "e"}.get(str(expr)) or str(sp.latex(expr))

    def _print_Float(self, expr: sp.Float) -> str:
        digits, _, power = f"{float(expr):.{DECIMALS}g}".partition("e")
        return rf"{digits} \cdot 10^{{{int(power)}}}" if power else digits

    def _print_Rational(self, expr: sp.Rational) -> str:
        sign = "- " if expr < 0 else ""
        if _is_long(expr):
            return sign + self.text(sp.Float(abs(expr)))
        return rf"{sign}\frac{{{abs(int(expr.p))}}}{{{int(expr.q)}}}"

    def _print_Mul(self, expr: sp.Mul) -> str:
        if is_negative(expr):
            return f"- {self.text(-expr)}"
        if not expr.is_commutative:
            return self._operators(expr)
        above, below, behind = self.split_fraction(expr)
        head = self._product(above) if above or not (below or behind) else ""
        if below:
            head = rf"\frac{{{head or '1'}}}{{{self._product(below)}}}"
        tail = self._product(behind, alone=not head) if behind else ""
        return f"{head} {tail}".strip()

    def _operators(self, expr: sp.Mul) -> str:
        """Print a product of operators in its own order, numbers and symbols in front."""
        front, operators = expr.args_cnc()
        parts = [self.text(sp.Mul(*front))] if front else []
        return " ".join(parts + [self._factor(operator, alone=False) for operator in operators])

    def split_fraction(self, expr: sp.Expr) -> tuple[list[sp.Expr], list[sp.Expr], list[sp.Expr]]:
        """Split a product into what stands above, below and behind the fraction bar."""
        coefficient, factors = expr.as_coeff_mul()
        above: list[sp.Expr] = []
        below: list[sp.Expr] = []
        behind: list[sp.Expr] = []
        for factor in factors:
            base, exponent = base_and_exponent(factor)
            inverse = exponent.is_Rational and exponent < 0
            (below if inverse else above).append(base**-exponent if inverse else factor)
        if coefficient.is_Rational and _is_long(coefficient):
            above.append(sp.Float(coefficient))
        elif coefficient.is_Rational:
            above += [sp.Integer(coefficient.p)] if abs(coefficient.p) != 1 else []
            below += [sp.Integer(coefficient.q)] if coefficient.q != 1 else []
        elif coefficient != 1:
            above.append(coefficient)
        if below:
            behind = [factor for factor in above if _stands_behind(factor, below)]
            if len(behind) == len(above) == 1 and not _is_plain(below) and _is_sum(behind[0]):
                behind = []
            above = [factor for factor in above if factor not in behind]
        return above, below, behind

    def _product(self, factors: Sequence[sp.Expr], alone: bool = True) -> str:
        """Print a product without fractions; roots of several factors share one sign."""
        rooted = [f for f in factors if base_and_exponent(f)[1] == _HALF and not _is_variance(f)]
        rest = [f for f in factors if f not in rooted or len(rooted) < 2]
        written = [(factor_rank(f), self._factor(f, alone and len(factors) == 1)) for f in rest]
        if len(rooted) > 1:
            bases = ordered_factors([f.args[0] for f in rooted], self.text)
            inside = " ".join(self._factor(base, alone=False) for base in bases)
            rank = max(factor_rank(f) for f in rooted)
            written.append((min(rank, _RANK_OF_FUNCTIONS), rf"\sqrt{{{inside}}}"))
        return " ".join(text for _, text in sorted(written)) or "1"

    def _factor(self, factor: sp.Expr, alone: bool) -> str:
        text = self.text(factor)
        return text if alone or not isinstance(factor, sp.Add) else _bracketed(text)

    def _print_Pow(self, expr: sp.Pow) -> str:
        base, exponent = expr.args
        if exponent.is_Rational and exponent < 0:
            return rf"\frac{{1}}{{{self.text(base**-exponent)}}}"
        if _is_variance(expr) and exponent.is_Rational:
            return variance_latex(base.name, _inline(2 * exponent))
        if exponent == _HALF:
            return rf"\sqrt{{{self.text(base)}}}"
        written = _inline(exponent) if exponent.is_Rational else self.text(exponent)
        return self._raised(base, written)

    def _raised(self, base: sp.Expr, written: str) -> str:
        """Print a power whose exponent is written already."""
        if isinstance(base, GaussianExpectation):
            return f"{self.text(base)}^{{{written}}}"
        if hasattr(base, self.printmethod):
            return str(getattr(base, self.printmethod)(self, exp=written))
        if isinstance(base, sp.Function) and not isinstance(base, sp.exp | Nonlinearity | Area):
            return self._print_Function(base, written)
        text = self.text(base)
        simple = isinstance(base, sp.Symbol | sp.NumberSymbol | sp.Integer | Nonlinearity)
        return f"{text if simple and '^' not in text else _bracketed(text)}^{{{written}}}"

    def _print_Function(self, expr: sp.Function, exp: str | None = None) -> str:
        head = _function_name(type(expr).__name__)
        arguments = ", ".join(self.text(argument) for argument in expr.args)
        return head + (f"^{{{exp}}}" if exp else "") + _bracketed(arguments)

    def _print_log(self, expr: sp.Expr, exp: str | None = None) -> str:
        if isinstance(expr.args[0], sp.Abs) and exp is None:
            return rf"\ln \left|{self.text(expr.args[0].args[0])}\right|"
        return self._print_Function(expr, exp)

    def _print_exp(self, expr: sp.Expr, exp: str | None = None) -> str:
        return f"e^{{{self.text(expr.args[0])}}}"

    def _print_Area(self, expr: Area) -> str:
        return self.text(expr.rewritten())

    def _print_ArcCorrelation(self, expr: ArcCorrelation) -> str:
        return self.text(expr.rewritten())

    def _print_Orthant(self, expr: Orthant) -> str:
        return expr.written(self.text)

    def _print_Integral(self, expr: sp.Integral) -> str:
        variable, *limits = expr.limits[0]
        bounds = "_{{{}}}^{{{}}}".format(*map(self.text, limits)) if len(limits) == 2 else ""
        d = f"d{self.text(variable)}"
        top, bottom = sp.fraction(expr.function)
        if top == 1 and bottom != 1:
            return rf"\int{bounds} \frac{{{d}}}{{{self.text(bottom)}}}"
        body = self.text(expr.function)
        return rf"\int{bounds} {_bracketed(body) if _is_sum(expr.function) else body} \, {d}"

    def _print_Derivative(self, expr: sp.Derivative) -> str:
        """Write the derivative of a formal function of one argument with a prime: ``B'(K)``."""
        function, (variable, order) = expr.args
        if not isinstance(function, AppliedUndef) or function.args != (variable,):
            return str(super()._print_Derivative(expr))
        head = _function_name(type(function).__name__)
        return f"{head}{chr(39) * int(order)}{_bracketed(self.text(variable))}"

    def _print_Nonlinearity(self, expr: Nonlinearity) -> str:
        label, order, x = expr.args
        primes = "'" * int(order) if order <= 3 else f"^{{({order})}}"
        return self.text(label) + primes + ("" if self.drops_argument else f"({self.text(x)})")

    def _print_GaussianExpectation(self, expr: GaussianExpectation) -> str:
        integrand = expr.integrand
        outside = integrand.replace(lambda e: isinstance(e, Nonlinearity), lambda e: sp.Integer(1))
        before = self.drops_argument
        self.drops_argument = len(expr.variables) == 1 and not outside.has(*expr.variables)
        body = self.text(integrand)
        self.drops_argument = before
        return rf"\left\langle {body} \right\rangle_{{{self._covariance(expr.covariance)}}}"

    def _covariance(self, entries: tuple[sp.Expr, ...]) -> str:
        if len(entries) == 1:
            return self.text(entries[0])
        if entries in self.pair_names:
            return str(self.pair_names[entries])
        a, b, c = map(self.text, entries)
        return rf"\left(\begin{{smallmatrix}} {a} & {b} \\ {b} & {c} \end{{smallmatrix}}\right)"


def _is_long(number: sp.Rational) -> bool:
    """Whether a fraction is that of a floating-point number with all its digits, or made of one."""
    return bool(min(abs(number.p), number.q) > LONGEST)


def _function_name(name: str) -> str:
    """Return the name of a function: ``f_1`` is a letter with an index, ``erf`` upright."""
    return FUNCTIONS.get(name) or function_latex(name)


def _bracketed(text: str) -> str:
    """Return a text in parentheses that are as high as it needs."""
    if any(mark in text for mark in _TALL):
        return rf"\left( {text} \right)"
    return f"({text})"


def _inline(number: sp.Rational) -> str:
    return f"{number.p}" if number.q == 1 else f"{number.p}/{number.q}"


def _is_sum(expression: sp.Expr) -> bool:
    return isinstance(base_and_exponent(expression)[0], sp.Add)


def _is_variance(factor: sp.Expr) -> bool:
    base = base_and_exponent(factor)[0]
    return isinstance(base, sp.Symbol) and bool(VARIANCE.match(base.name))


def _is_plain(factors: Sequence[sp.Expr]) -> bool:
    """Whether factors are numbers and symbols alone, so that they make a short denominator."""
    return all(factor_rank(factor) < _RANK_OF_FUNCTIONS for factor in factors)


def _stands_behind(factor: sp.Expr, below: Sequence[sp.Expr]) -> bool:
    """Whether a factor follows a fraction instead of standing in its numerator."""
    rank = factor_rank(factor)
    if rank >= _RANK_OF_RESPONSES or isinstance(factor, GaussianExpectation):
        return True
    if rank >= _RANK_OF_SUMS:
        return _is_plain(below) or factor.has(sp.Function, GaussianExpectation)
    return rank >= _RANK_OF_FUNCTIONS and _is_plain(below) and not factor.is_number
