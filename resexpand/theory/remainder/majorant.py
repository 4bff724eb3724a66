r"""Majorants of a block: bounds on its derivatives of every order, as a scalar function.

A majorant is one of two families, ``B_m = M m!/R^m`` (analytic) or ``B_m = M/R^m`` (entire), with
the first few ``B_m`` replaced by sharper numbers where they are known. In units of ``R`` for the
state and of ``R/M`` for time both families are free of parameters, with flows

    analytic   u' = 1/(1 - u)    u = 1 - sqrt(1 - q),  q = 2 M t/R,  a_j = C(2j, j)/(4^j (2j - 1))
    entire     u' = exp(u)       u = -log(1 - q),      q = M t/R,    a_j = 1/j

where ``u = sum_j a_j q^j`` converges for ``q < 1``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy as sp

from resexpand.conventions import exact
from resexpand.errors import HyperparameterError

M = sp.Symbol("M", positive=True)
"""Bound on the block itself."""

R = sp.Symbol("R", positive=True)
"""Radius: how far from the input the bounds hold together."""


@dataclass(frozen=True)
class Family:
    """One family of bounds, in units of ``R`` for the state and ``M`` for the block.

    Attributes
    ----------
    weight : callable
        ``m -> B_m R^m / (M m!)``, the Taylor coefficients of the function.
    function, flow : callable
        ``fhat(s)/M`` at ``u = s/R``, and ``u`` of the flow at the load ``q``.
    coefficient : callable
        ``j -> a_j``, the Taylor coefficients of the flow, which do not increase.
    pace : int
        ``q R / (M t)``.
    radius : int or None
        Where the function ends, in units of ``R``; None if it never does.
    """

    weight: Callable[[int], sp.Rational]
    function: Callable[[Any], Any]
    flow: Callable[[Any], Any]
    coefficient: Callable[[int], sp.Rational]
    pace: int
    radius: int | None


FAMILIES = {
    "analytic": Family(
        weight=lambda m: sp.Integer(1),
        function=lambda u: 1 / (1 - u),
        flow=lambda q: 1 - sp.sqrt(1 - q),
        coefficient=lambda j: sp.binomial(2 * j, j) / (sp.Integer(4) ** j * (2 * j - 1)),
        pace=2,
        radius=1,
    ),
    "entire": Family(
        weight=lambda m: 1 / sp.factorial(m),
        function=sp.exp,
        flow=lambda q: -sp.log(1 - q),
        coefficient=lambda j: sp.Rational(1, j),
        pace=1,
        radius=None,
    ),
}


@dataclass(frozen=True)
class Majorant:
    """Bounds on the derivatives of the blocks at the input of the network.

    Made by `Majorant.analytic`, `Majorant.entire`, or for concrete weights by `majorant_of`.

    Attributes
    ----------
    kind : {"analytic", "entire"}
        Family that bounds the derivatives of high order.
    M, R : sympy.Expr
        Its parameters: ``B_m = M m!/R^m`` or ``M/R^m``. `M` has the units of a block, `R` those of
        its argument.
    bounds : tuple of sympy.Expr
        Sharper ``B_0, B_1, ...`` that replace the first ones of the family.
    note : str
        Where the numbers come from.
    """

    kind: str
    M: sp.Expr
    R: sp.Expr
    bounds: tuple[sp.Expr, ...] = ()
    note: str = ""

    @classmethod
    def analytic(cls, M: Any = M, R: Any = R, *, bounds: Any = ()) -> Majorant:
        """Return the majorant of ``|D^m f(x)| <= M m! / R^m``.

        In one dimension it holds by Cauchy's estimates with ``M = sup |f|`` over the complex disc
        of radius `R` around ``x``. In several, the norm is that of a multilinear map.

        Parameters
        ----------
        M, R : number or sympy.Expr, optional
            Positive; the symbols ``M`` and ``R`` by default.
        bounds : sequence of number or sympy.Expr, optional
            Bounds of the derivatives of order 0, 1, ... that are used instead where they are given.

        Raises
        ------
        HyperparameterError
            If a parameter is not positive, or a bound negative.

        Examples
        --------
        >>> Majorant.analytic(1, 2).derivative_bound(3)
        3/4
        """
        return cls("analytic", *_parameters(M, R), _checked(bounds))

    @classmethod
    def entire(cls, M: Any = M, R: Any = R, *, bounds: Any = ()) -> Majorant:
        """Return the majorant of ``|D^m f(x)| <= M / R^m``; arguments as for `analytic`.

        Examples
        --------
        >>> Majorant.entire(1, 2, bounds=[0, 1]).derivative_bound(0)
        0
        """
        return cls("entire", *_parameters(M, R), _checked(bounds))

    @property
    def family(self) -> Family:
        """The family in units of its own parameters."""
        return FAMILIES[self.kind]

    @property
    def is_number(self) -> bool:
        """Whether no symbol is left."""
        return not self.free_symbols

    @property
    def free_symbols(self) -> set[sp.Symbol]:
        """Symbols of the parameters and bounds."""
        return set().union(*(value.free_symbols for value in (self.M, self.R, *self.bounds)))

    def derivative_bound(self, m: int) -> sp.Expr:
        """Return ``B_m``, which bounds the norm of the ``m``-th derivative at the input."""
        return self.bounds[m] if m < len(self.bounds) else self.of_family(m)

    def of_family(self, m: int) -> sp.Expr:
        """Return the bound of the ``m``-th derivative that the family alone gives."""
        return self.M * self.family.weight(m) * sp.factorial(m) / self.R**m

    def function(self, s: Any) -> sp.Expr:
        """Return ``fhat(s) = sum_m B_m s^m/m!`` in closed form."""
        corrections = (
            (bound - self.of_family(m)) * s**m / sp.factorial(m)
            for m, bound in enumerate(self.bounds)
        )
        return self.M * self.family.function(s / self.R) + sp.Add(*corrections)

    def envelope(self) -> Majorant:
        """Return a majorant of the family alone that bounds this one: `M` raised as needed."""
        needed = [
            bound / (self.of_family(m) / self.M) for m, bound in enumerate(self.bounds) if bound
        ]
        if not self.bounds:
            return self
        rest = self.M if self.M.is_zero is not True else sp.Integer(0)
        return Majorant(self.kind, sp.Max(rest, *needed), self.R, (), self.note)

    def load(self, time: sp.Expr) -> sp.Expr:
        """Return ``q``, the argument of the flow of the envelope at ``t = sum |lambda_i|``."""
        envelope = self.envelope()
        return self.family.pace * envelope.M * time / self.R

    def __str__(self) -> str:
        law = "M m!/R^m" if self.kind == "analytic" else "M/R^m"
        shown = [*map(str, self.bounds[:2]), *["..."] * (len(self.bounds) > 2)]
        first = f", first bounds {', '.join(shown)}" if shown else ""
        return f"|D^m f| <= {law} with M = {self.M}, R = {self.R}{first}"


def _parameters(big: Any, radius: Any) -> tuple[sp.Expr, sp.Expr]:
    return positive(big, "M"), positive(radius, "R")


def positive(value: Any, name: str) -> sp.Expr:
    """Return a positive number or a symbol as an exact expression.

    Raises
    ------
    HyperparameterError
        If it is neither, or not positive.
    """
    found = real(value, name)
    if found.is_positive is False or found.is_zero:
        raise HyperparameterError(f"{name} = {value}", "it is not positive", f"give {name} > 0")
    return found


def real(value: Any, name: str) -> sp.Expr:
    """Return a finite real number or a symbol as an exact expression.

    Raises
    ------
    HyperparameterError
        If it is neither.
    """
    try:
        found = exact(value, indexed=True)
    except (TypeError, ValueError) as error:
        raise HyperparameterError(
            f"{name} = {value!r}", str(error), "give a number or a SymPy symbol"
        ) from None
    if found.is_number and not (found.is_real and found.is_finite):
        raise HyperparameterError(
            f"{name} = {value}", "it is no finite real number", "give one, or a symbol"
        )
    return found


def _checked(bounds: Any) -> tuple[sp.Expr, ...]:
    if isinstance(bounds, str) or not hasattr(bounds, "__iter__"):
        raise HyperparameterError(
            f"bounds = {bounds!r}", "it is no list", "give bounds of the orders 0, 1, 2, ..."
        )
    found = tuple(real(value, f"bounds[{m}]") for m, value in enumerate(bounds))
    for m, bound in enumerate(found):
        if bound.is_negative:
            raise HyperparameterError(
                f"bounds[{m}] = {bound}", "a norm is never negative", "give a bound >= 0"
            )
    return found
