"""Truncated power series in several variables, with SymPy expressions as coefficients.

A series keeps the monomials whose degree is at most `order` in *each* variable (a box, not a
triangle): products drop what leaves the box, and nothing inside it is ever approximated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import sympy as sp

Exponents = tuple[int, ...]
Shorten = Callable[["Truncated"], "Truncated"]


@dataclass(frozen=True)
class Truncated:
    """A power series up to a degree in each of its variables.

    Attributes
    ----------
    variables : int
        Number of variables.
    order : int
        Largest degree that is kept, in each variable.
    coefficients : mapping
        Exponents to coefficient; what is not listed is zero.

    Examples
    --------
    >>> import sympy as sp
    >>> a, b = sp.symbols("a b")
    >>> series = Truncated(2, 2, {(0, 1): a, (1, 0): b})
    >>> (series * series).coefficients
    {(0, 2): a**2, (1, 1): 2*a*b, (2, 0): b**2}
    """

    variables: int
    order: int
    coefficients: Mapping[Exponents, sp.Expr]

    def of(self, coefficients: Mapping[Exponents, sp.Expr]) -> Truncated:
        """Return the series of other coefficients in the same variables, to the same order."""
        kept = {e: c for e, c in coefficients.items() if c != 0}
        return Truncated(self.variables, self.order, kept)

    @property
    def zero(self) -> Exponents:
        """Exponents of the constant term."""
        return (0,) * self.variables

    def __getitem__(self, exponents: Exponents) -> sp.Expr:
        return self.coefficients.get(exponents, sp.Integer(0))

    def __add__(self, other: Truncated) -> Truncated:
        exponents = sorted(self.coefficients.keys() | other.coefficients.keys())
        return self.of({e: self[e] + other[e] for e in exponents})

    def __mul__(self, other: Truncated) -> Truncated:
        found: dict[Exponents, list[sp.Expr]] = {}
        pairs = product(self.coefficients.items(), other.coefficients.items())
        for (left, a), (right, b) in pairs:
            exponents = tuple(i + j for i, j in zip(left, right, strict=True))
            if max(exponents) <= self.order:
                found.setdefault(exponents, []).append(sp.expand(a * b))
        sums = {e: sp.Add(*found[e]) for e in sorted(found)}
        return self.of(sums)

    def scaled(self, factor: sp.Expr) -> Truncated:
        """Return the series times a number or an expression without its variables."""
        return self.mapped(lambda c: factor * c)

    def mapped(self, function: Callable[[sp.Expr], sp.Expr]) -> Truncated:
        """Return the series of the coefficients a function makes of these."""
        return self.of({e: function(c) for e, c in self.coefficients.items()})

    def without_constant(self) -> Truncated:
        """Return the series less its constant term."""
        return self.of({e: c for e, c in self.coefficients.items() if any(e)})

    def powers(self, shortened: Shorten | None = None) -> Iterator[Truncated]:
        """Yield the powers 0, 1, 2, ... until one vanishes; the constant term has to be zero.

        Parameters
        ----------
        shortened : callable, optional
            Makes the next power shorter before it is multiplied on, by naming its coefficients.

        Raises
        ------
        ValueError
            If there is a constant term: its powers never leave the box.
        """
        if self.zero in self.coefficients:
            raise ValueError("the powers of a series with a constant term do not end")
        power = self.of({self.zero: sp.Integer(1)})
        while power.coefficients:
            yield power
            power = power * self
            if shortened:
                power = shortened(power)
