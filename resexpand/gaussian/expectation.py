r"""Gaussian averages as formal objects that know Price's theorem.

``GaussianExpectation(g, (x_1, ..., x_d), (K_11, K_12, ..., K_dd), n)`` stands for

    D^n < g(x) >,   x ~ N(0, K),

where ``D^n`` is the derivative of the average with respect to the covariance entries (upper
triangle, row by row), taken ``n_ab`` times each. By Price's theorem every such derivative is again
a Gaussian average,

    d<g>/dK_aa = 1/2 <d^2 g/dx_a^2>,    d<g>/dK_ab = <d^2 g / dx_a dx_b>   (a != b),

and `GaussianExpectation.integrand` carries it out. Keeping the multi-index instead of the
differentiated integrand loses nothing where the integrand is not smooth: the derivative of a closed
form stays valid when ``phi''`` is a delta function.

Activations enter as `Nonlinearity`, a formal function with a derivative order, so that one
derivation serves every activation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from itertools import combinations_with_replacement
from typing import Any

import mpmath
import sympy as sp
from sympy.core.function import ArgumentIndexError

from resexpand.errors import UnsupportedError
from resexpand.gaussian.integral import average, grid_average, mp_function, pair_average

NEARLY_DOUBLE = 90
"""Bits up to which SymPy asks where a double is wanted, with what it carries along."""


class Nonlinearity(sp.Function):
    """The ``order``-th derivative of an activation at ``x``: ``Nonlinearity(label, order, x)``.

    ``label`` is a symbol that names the activation (``phi``); which function it is, is decided
    only when a formula is closed.
    """

    nargs = 3
    is_commutative = True
    is_extended_real = True

    @classmethod
    def eval(cls, label: sp.Expr, order: sp.Expr, x: sp.Expr) -> None:
        """Never evaluates: the function is formal."""
        return

    def fdiff(self, argindex: int = 3) -> sp.Expr:
        """Differentiate with respect to the argument: the order rises by one."""
        if argindex != 3:
            raise ArgumentIndexError(self, argindex)
        label, order, x = self.args
        return Nonlinearity(label, order + 1, x)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        label, order, x = self.args
        primes = "'" * int(order) if order <= 3 else f"^{{({order})}}"
        head = rf"{printer.doprint(label)}{primes}"
        if exp is not None:
            return rf"{head}\left({printer.doprint(x)}\right)^{{{exp}}}"
        return rf"{head}\left({printer.doprint(x)}\right)"

    def _sympystr(self, printer: Any) -> str:
        label, order, x = self.args
        return f"{printer.doprint(label)}{chr(39) * int(order)}({printer.doprint(x)})"


def integration_variables(dimension: int) -> tuple[sp.Symbol, ...]:
    """Return the canonical bound variables of a Gaussian average (``x`` or ``x_1, x_2, ...``)."""
    if dimension == 1:
        return (sp.Symbol("x", real=True),)
    return tuple(sp.Symbol(f"x_{i + 1}", real=True) for i in range(dimension))


class GaussianExpectation(sp.Expr):
    """A derivative, with respect to the covariance, of a centred Gaussian average.

    Parameters
    ----------
    integrand : sympy.Expr
        Function of the bound variables.
    variables : sequence of sympy.Symbol
        The ``d`` bound variables.
    covariance : sequence of sympy.Expr
        Upper triangle of the ``d x d`` covariance, row by row: ``d (d + 1) / 2`` entries.
    orders : sequence of int, optional
        How often the average is differentiated with respect to each entry; zero by default.

    Raises
    ------
    ValueError
        If the number of entries does not fit the number of variables.

    References
    ----------
    Price (1958), the theorem on derivatives of Gaussian averages.
    """

    is_commutative = True
    is_extended_real = True

    def __new__(
        cls,
        integrand: sp.Expr,
        variables: Iterable[sp.Symbol],
        covariance: Iterable[sp.Expr],
        orders: Iterable[int] | None = None,
    ) -> GaussianExpectation:
        """Build the node; nothing is evaluated."""
        xs = sp.Tuple(*variables)
        cov = sp.Tuple(*covariance)
        if len(cov) != len(xs) * (len(xs) + 1) // 2:
            raise ValueError(f"{len(xs)} variables need {len(xs) * (len(xs) + 1) // 2} entries")
        ns = sp.Tuple(*(orders if orders is not None else [0] * len(cov)))
        if len(ns) != len(cov):
            raise ValueError("one derivative order per covariance entry is needed")
        node: GaussianExpectation = super().__new__(
            cls, sp.sympify(integrand, strict=True), xs, cov, ns
        )
        return node

    @property
    def base(self) -> sp.Expr:
        """The integrand before any differentiation."""
        return self.args[0]

    @property
    def variables(self) -> tuple[sp.Symbol, ...]:
        """The bound variables."""
        return tuple(self.args[1])

    @property
    def covariance(self) -> tuple[sp.Expr, ...]:
        """Upper triangle of the covariance, row by row."""
        return tuple(self.args[2])

    @property
    def orders(self) -> tuple[int, ...]:
        """How often the average is differentiated with respect to each covariance entry."""
        return tuple(int(n) for n in self.args[3])

    @property
    def integrand(self) -> sp.Expr:
        """The function that is averaged, after Price's theorem has been applied."""
        result = self.base
        pairs = combinations_with_replacement(self.variables, 2)
        for (a, b), order in zip(pairs, self.orders, strict=True):
            factor = sp.Rational(1, 2) if a == b else sp.Integer(1)
            for _ in range(order):
                result = factor * sp.diff(result, a, b)
        return sp.expand(result)

    @property
    def free_symbols(self) -> set[sp.Basic]:
        """Symbols the value depends on; the bound variables are not among them."""
        symbols: set[sp.Basic] = set(self.base.free_symbols)
        symbols -= set(self.variables) | _labels(self.base)
        return symbols.union(*(entry.free_symbols for entry in self.covariance))

    @property
    def bound_symbols(self) -> list[sp.Symbol]:
        """The bound variables (SymPy's name for them)."""
        return list(self.variables)

    def with_covariance(self, covariance: Sequence[sp.Expr]) -> GaussianExpectation:
        """Return the same average at another covariance."""
        return GaussianExpectation(self.base, self.variables, covariance, self.orders)

    @property
    def is_number(self) -> bool:
        """Whether it has a value: without free symbols, and with an explicit integrand."""
        return not (self.free_symbols or self.base.has(Nonlinearity))

    def _eval_evalf(self, prec: int) -> sp.Expr | None:
        """Integrate an explicit average; of two variables only where it is smooth."""
        integrand, variables = self.integrand, self.variables
        if not self.is_number or len(variables) > 2 or integrand.has(sp.DiracDelta, sp.Derivative):
            return None
        # Where an integrand switches is known on the floor of the activations.
        find = import_module("resexpand.activations.singularities").branch_points
        special = find(integrand, variables[0]) if len(variables) == 1 else ()
        if len(variables) == 2 and any(e.args[0].has(*variables) for e in _switches(integrand)):
            return None
        if len(variables) == 2 and prec <= NEARLY_DOUBLE:
            value = grid_average(integrand, variables, self.covariance)
            if value is not None:
                return sp.Float(value)
        with mpmath.workprec(prec):
            at = [entry._to_mpmath(prec) for entry in self.covariance]
            function = mp_function(integrand, *variables)
            points = [point._to_mpmath(prec) for point in special]
            one = len(variables) == 1
            value = average(function, at[0], points) if one else pair_average(function, at)
            return sp.Float(value, precision=prec)

    def _eval_derivative(self, symbol: sp.Symbol) -> sp.Expr:
        total = sp.Integer(0)
        for i, entry in enumerate(self.covariance):
            slope = entry.diff(symbol)
            if slope != 0:
                raised = list(self.orders)
                raised[i] += 1
                price = GaussianExpectation(self.base, self.variables, self.covariance, raised)
                total += slope * price
        if symbol in self.base.free_symbols and symbol not in self.variables:
            total += GaussianExpectation(
                self.base.diff(symbol), self.variables, self.covariance, self.orders
            )
        return total

    def _eval_subs(self, old: sp.Basic, new: sp.Basic) -> sp.Basic | None:
        if old in self.variables:
            return self
        covariance = [entry.subs(old, new) for entry in self.covariance]
        return GaussianExpectation(
            self.base.subs(old, new), self.variables, covariance, self.orders
        )

    def _refused(self, printer: Any) -> str:
        """Refuse to be written as code: SymPy's lambdify has no name for an average."""
        raise UnsupportedError(
            f"code of the average {self}",
            "it is formal, and SymPy does not know its activation",
            "use Formula.lambdify(...), Formula.evalf(...), or evaluate(); Formula.closed() is "
            "plain SymPy where a closed form is known",
        )

    _numpycode = _mpmathcode = _pythoncode = _refused

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        body = printer.doprint(self.integrand)
        cov = self.covariance
        labels = [printer.doprint(entry) for entry in (cov if len(set(cov)) > 1 else cov[:1])]
        text = rf"\left\langle {body} \right\rangle_{{{', '.join(labels)}}}"
        return text if exp is None else rf"{text}^{{{exp}}}"

    def _sympystr(self, printer: Any) -> str:
        entries = ", ".join(printer.doprint(entry) for entry in self.covariance)
        return f"<{printer.doprint(self.integrand)}>_[{entries}]"


def merged(expression: sp.Expr, place: int = 0) -> sp.Expr:
    """Return an expression whose averages of pairs are of one input, with the variance there."""
    (x,), pair = integration_variables(1), integration_variables(2)
    at = dict.fromkeys(pair, x)
    averages = {
        node: GaussianExpectation(
            node.integrand.subs(at, simultaneous=True), (x,), (node.covariance[place],)
        )
        for node in expression.atoms(GaussianExpectation)
        if len(node.variables) == 2
    }
    return expression.xreplace(averages)


def _switches(expression: sp.Expr) -> set[sp.Basic]:
    kinds = (sp.Abs, sp.sign, sp.Heaviside, sp.Max, sp.Min, sp.Piecewise)
    found: set[sp.Basic] = expression.atoms(*kinds)
    return found


def _labels(expression: sp.Expr) -> set[sp.Basic]:
    return {node.args[0] for node in expression.atoms(Nonlinearity)}


def second_moment(label: sp.Symbol, variance: sp.Expr) -> GaussianExpectation:
    """Return ``<phi(x)^2>`` for ``x ~ N(0, variance)``."""
    (x,) = integration_variables(1)
    return GaussianExpectation(Nonlinearity(label, 0, x) ** 2, (x,), (variance,))


def pair_moment(label: sp.Symbol, covariance: Sequence[sp.Expr]) -> GaussianExpectation:
    """Return ``<phi(x_1) phi(x_2)>`` for the covariance entries 11, 12 and 22."""
    x1, x2 = integration_variables(2)
    product = Nonlinearity(label, 0, x1) * Nonlinearity(label, 0, x2)
    return GaussianExpectation(product, (x1, x2), covariance)


def slope_moment(label: sp.Symbol, variance: sp.Expr) -> GaussianExpectation:
    """Return ``<phi'(x)^2>`` for ``x ~ N(0, variance)``."""
    (x,) = integration_variables(1)
    return GaussianExpectation(Nonlinearity(label, 1, x) ** 2, (x,), (variance,))


def mean_value(label: sp.Symbol, variance: sp.Expr) -> GaussianExpectation:
    """Return ``<phi(x)>`` for ``x ~ N(0, variance)``."""
    (x,) = integration_variables(1)
    return GaussianExpectation(Nonlinearity(label, 0, x), (x,), (variance,))
