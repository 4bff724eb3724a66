r"""How products of Taylor coefficients of a layer follow from those of the layer before.

The Gram entry C of a layer is a functional of the empirical measure of N independent neurons. Mixed
into the law of the neurons with the weights t and s, two paths ``omega, omega'`` give

    C(t, s) = b^2 + sigma^2 [(1 - t - s) V(K) + t f(u) + s f(v)],
    K' = K + rho^2 C,    u' = u + rho xi sqrt(C),    v' = v + rho eta sqrt(C),

u and v the streams of the paths, and to order ``1/N^2``

    E C = C_0 + [t^2] E C / N + ([t^3] + [t^2 s^2] / 2) E C / N^2.

Coefficients of ``t^i s^j`` of K, u, v are *jets*. A product of jets of the next layer is a
polynomial in those of this one, whose coefficients hold derivatives of f at u and v, powers of the
normals ``xi, eta``, derivatives of V, and ``q = sigma^2/C_0``, ``d = rho sqrt(C_0)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, reduce
from itertools import product
from math import factorial

Jet = tuple[str, int, int]
"""``"K"``, ``"u"`` or ``"v"``, and the powers of t and s."""

Product = tuple[Jet, ...]
"""Jets in order, each as often as it is a factor."""

ALONE, BOTH = (3, 0), (2, 2)
"""Largest powers of t and s: of one path, and of two."""


@dataclass(frozen=True)
class Factor:
    """A monomial but for its jets.

    Attributes
    ----------
    normals : tuple of int
        Powers of ``xi`` and ``eta``.
    at_u, at_v : tuple of int
        Orders of derivatives of ``f - V`` at u and v, each as often as it is a factor.
    means : tuple of int
        Orders of derivatives of V.
    numbers : tuple of int
        Powers of ``q`` and ``d``.
    """

    normals: tuple[int, int] = (0, 0)
    at_u: tuple[int, ...] = ()
    at_v: tuple[int, ...] = ()
    means: tuple[int, ...] = ()
    numbers: tuple[int, int] = (0, 0)

    def times(self, other: Factor) -> Factor:
        """Return the product."""
        return Factor(
            _sum(self.normals, other.normals),
            _sorted(self.at_u + other.at_u),
            _sorted(self.at_v + other.at_v),
            _sorted(self.means + other.means),
            _sum(self.numbers, other.numbers),
        )


Polynomial = dict[tuple[Product, Factor], Fraction]
ONE: Polynomial = {((), Factor()): Fraction(1)}


def _sum(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return a[0] + b[0], a[1] + b[1]


def _sorted(entries: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(entries))


def degree(jets: Product) -> tuple[int, int]:
    """Return the powers of t and s of a product."""
    return sum(i for _, i, _ in jets), sum(j for _, _, j in jets)


def swapped(jets: Product) -> Product:
    """Return the product with both paths exchanged."""
    other = {"K": "K", "u": "v", "v": "u"}
    return tuple(sorted((other[kind], j, i) for kind, i, j in jets))


def _times(first: Polynomial, second: Polynomial) -> Polynomial:
    found: Polynomial = {}
    for (a, one), x in first.items():
        for (b, other), y in second.items():
            key = tuple(sorted(a + b)), one.times(other)
            found[key] = found.get(key, Fraction(0)) + x * y
    return found


def _scaled(polynomial: Polynomial, number: Fraction | int, factor: Factor) -> Polynomial:
    return {(jets, old.times(factor)): number * x for (jets, old), x in polynomial.items()}


def _added(parts: Iterator[Polynomial] | list[Polynomial]) -> Polynomial:
    found: Polynomial = {}
    for part in parts:
        for key, x in part.items():
            found[key] = found.get(key, Fraction(0)) + x
    return {key: x for key, x in found.items() if x}


@cache
def _powers(at: tuple[int, int]) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Return all ordered ways to write powers of t and s as sums of others that are not zero."""
    if at == (0, 0):
        return ((),)
    found = []
    for first in product(range(at[0] + 1), range(at[1] + 1)):
        if first != (0, 0):
            rest = (at[0] - first[0], at[1] - first[1])
            found += [(first, *more) for more in _powers(rest)]
    return tuple(found)


def _composed(kind: str, at: tuple[int, int]) -> Polynomial:
    """Return the coefficient of ``t^i s^j`` of ``V(K) - V``, ``f(u) - V`` or ``f(v) - V``."""
    if min(at) < 0:
        return {}
    parts: list[Polynomial] = []
    for powers in _powers(at):
        order = len(powers)
        if kind == "K":
            if not order:
                continue
            factor = Factor(means=(order,))
        else:
            factor = Factor(at_u=(order,)) if kind == "u" else Factor(at_v=(order,))
        jets = tuple(sorted((kind, i, j) for i, j in powers))
        parts.append({(jets, factor): Fraction(1, factorial(order))})
    return _added(parts)


@cache
def gram(i: int, j: int) -> Polynomial:
    """Return the coefficient of ``t^i s^j`` of ``C/C_0``."""
    q = Factor(numbers=(1, 0))
    parts = [_composed("K", (i, j))]
    for lower in ((i - 1, j), (i, j - 1)):
        parts.append(_scaled(_composed("K", lower), -1, Factor()))
    parts += [_composed("u", (i - 1, j)), _composed("v", (i, j - 1))]
    return _scaled(_added(parts), 1, q)


@cache
def _root(i: int, j: int) -> Polynomial:
    """Return the coefficient of ``t^i s^j`` of ``sqrt(C/C_0)``."""
    parts = []
    for powers in _powers((i, j)):
        binomial = reduce(
            lambda x, k: x * (Fraction(1, 2) - k) / (k + 1), range(len(powers)), Fraction(1)
        )
        parts.append(_scaled(reduce(_times, (gram(*p) for p in powers), ONE), binomial, Factor()))
    return _added(parts)


@cache
def renewed(jet: Jet) -> Polynomial:
    """Return a jet of the next layer."""
    kind, i, j = jet
    old: Polynomial = {((jet,), Factor()): Fraction(1)}
    if kind == "K":
        return _added([old, _scaled(gram(i, j), 1, Factor(numbers=(0, 2)))])
    normals = (1, 0) if kind == "u" else (0, 1)
    return _added([old, _scaled(_root(i, j), 1, Factor(normals=normals, numbers=(0, 1)))])


def wanted() -> tuple[Polynomial, Polynomial, Polynomial]:
    """Return the coefficients of ``C/C_0`` whose means are wanted.

    That of ``1/N``, and those of ``1/N^2`` with one path and with two.
    """
    return gram(2, 0), gram(3, 0), gram(2, 2)


@cache
def closure() -> dict[Product, Polynomial]:
    """Return every product that is needed as a polynomial in those of the layer before.

    Of two products that differ by an exchange of the paths one is kept (`kept`).
    """
    found: dict[Product, Polynomial] = {}
    left = {kept(jets) for polynomial in wanted() for jets, _ in polynomial}
    while left:
        jets = left.pop()
        if not jets:
            continue
        found[jets] = reduce(_times, map(renewed, jets), ONE)
        left |= {kept(other) for other, _ in found[jets]} - set(found)
    return found


def kept(jets: Product) -> Product:
    """Return which of a product and its exchange is kept: the one of the larger power of t."""
    other = swapped(jets)
    return max((jets, other), key=lambda p: (degree(p), p))
