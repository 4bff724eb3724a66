"""A straight-line program of series coefficients, and the products it is made of.

A series is the tuple of its coefficients ``u_0 ... u_k`` in one expansion parameter. Each is a
number, or a symbol that an assignment of the program defines; a coefficient that is exactly zero
costs nothing. The products are those of Cauchy,

    (u v)_k = sum_{i+j=k} u_i v_j,
    v w = u   <=>   w_k = (u_k - sum_{j=1}^k v_j w_{k-j}) / v_0,

and the recurrences of functions (`resexpand.series.recurrences`) are sums of the same kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import TypeVar, cast

import sympy as sp

Series = tuple[sp.Expr, ...]
Built = TypeVar("Built")


class Program:
    """Assignments in order; equal right sides are assigned once.

    Parameters
    ----------
    order : int
        Highest coefficient k; every series has ``k + 1`` of them.
    taken : iterable of str
        Names that no assigned symbol may have.
    """

    def __init__(self, order: int, taken: Iterable[str] = ()) -> None:
        self.order = order
        self.assignments: list[tuple[sp.Symbol, sp.Expr]] = []
        self._known: dict[sp.Expr, sp.Symbol] = {}
        self._built: dict[object, object] = {}
        avoid = set(taken)
        self._names = (name for i in count() if (name := f"jet_{i}") not in avoid)

    def let(self, value: sp.Expr) -> sp.Expr:
        """Return a symbol that stands for a value, or the value where it is an atom or constant."""
        if value.is_Atom or not value.free_symbols:
            return value
        if value not in self._known:
            symbol = sp.Symbol(next(self._names), real=True)
            self._known[value] = symbol
            self.assignments.append((symbol, value))
        return self._known[value]

    def once(self, key: object, build: Callable[[], Built]) -> Built:
        """Return what was built under this key, building it the first time."""
        if key not in self._built:
            self._built[key] = build()
        return cast(Built, self._built[key])

    def constant(self, value: sp.Expr) -> Series:
        """Return the series of a constant."""
        return (value, *(sp.S.Zero,) * self.order)

    def scaled(self, factor: sp.Expr, u: Series) -> Series:
        """Return a constant times a series."""
        if factor == 1:
            return u
        return tuple(self.let(sp.Mul(factor, c)) for c in u)

    def sum(self, terms: Iterable[Series]) -> Series:
        """Return the sum of some series."""
        return tuple(self.let(sp.Add(*column)) for column in zip(*terms, strict=True))

    def product(self, u: Series, v: Series) -> Series:
        """Return the product of two series."""
        return self.once(("product", u, v), lambda: self._product(u, v))

    def _product(self, u: Series, v: Series) -> Series:
        if u == v:
            return tuple(self._square(u, k) for k in range(self.order + 1))
        return tuple(
            self.let(sp.Add(*(u[i] * v[k - i] for i in range(k + 1))))
            for k in range(self.order + 1)
        )

    def _square(self, u: Series, k: int) -> sp.Expr:
        """Return one coefficient of u u, each mixed product computed once."""
        mixed = self.let(sp.Add(*(u[i] * u[k - i] for i in range((k + 1) // 2))))
        middle = u[k // 2] ** 2 if k % 2 == 0 else sp.S.Zero
        return self.let(2 * mixed + middle)

    def quotient(self, u: Series, v: Series) -> Series:
        """Return u / v; a pole where ``v_0 = 0``."""
        inverse = self.let(1 / v[0])
        w: list[sp.Expr] = []
        for k in range(self.order + 1):
            known = sp.Add(*(v[j] * w[k - j] for j in range(1, k + 1)))
            w.append(self.let(self.let(u[k] - known) * inverse) if k else self.let(u[0] / v[0]))
        return tuple(w)

    def whole_power(self, u: Series, exponent: int) -> Series:
        """Return a power with a positive whole exponent, by squaring."""
        if exponent == 1:
            return u
        half = self.whole_power(u, exponent // 2)
        squared = self.product(half, half)
        return self.product(squared, u) if exponent % 2 else squared

    def slopes(self, u: Series) -> Series:
        """Return ``j u_j``: the coefficients of ``lambda du/dlambda``."""
        return tuple(self.let(j * c) for j, c in enumerate(u))

    def integrated(self, k: int, slopes: Series, weight: Iterable[sp.Expr]) -> sp.Expr:
        """Return the coefficient k of y where ``y' = weight u'``: the one step of all recurrences.

        ``k y_k = sum_{j=1}^k (j u_j) weight_{k-j}``.
        """
        known = list(weight)
        total = sp.Add(*(slopes[j] * known[k - j] for j in range(1, k + 1)))
        return self.let(self.let(total) / k)
