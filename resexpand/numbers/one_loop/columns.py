r"""Columns of a network: an input and its tangents, each with features of its own.

A tangent ``v = J v_0`` of an input ``h`` is one more column. Given the past, the rows of ``W
[phi(h) | phi'(h) v | ...]`` are independent normals whose covariance is the Gram matrix of these
features (biases enter the input alone); so the order 1/N of inputs holds for all columns as it
stands, with the variables ``C_pq = sigma^2 < Phi_p Phi_q >`` for all pairs of columns.

Every average is one of a polynomial in the tangents times atoms of the input
(`resexpand.numbers.one_loop.atoms`). Stein's identity takes the tangents out one by one,

    < v A > = sum_h Cov(v, h) < dA/dh > + sum_w Cov(v, w) < dA/dw >,

and Price's theorem makes a derivative by the entry ``pq`` of a covariance one by both columns.

The expansion asks no more of an operation than what `Columns` gives a site: means of the products
of features, their derivatives by all entries that are read (`Site.response`, ``(p, p)``, and
`Site.curvature`, ``(p, p, p)``), and `Site.cumulants`, their covariances at two layers with the
slopes by the later entries. None of these has to be sparse. So an operation that couples columns at
one neuron, such as a normalisation over a batch, ``Phi_p = phi(z_p(u_1 ... u_D))``, enters by these
three arrays of its own; averages over neurons are variables of their own (`Site.averages`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from resexpand.numbers.one_loop.atoms import Atoms, Laws, Means, atoms
from resexpand.numbers.one_loop.four_point import Cumulants
from resexpand.numbers.one_loop.tables import entry_pairs

Array = NDArray[np.float64]


MOST = 2
"""Tangents in an entry, on average over two of them, up to which their covariance is computed."""


@dataclass(frozen=True)
class Term:
    """``factor A^{(order)}(h) prod_v v``: an atom of the input times tangents.

    Attributes
    ----------
    factor : float
        A number.
    atom : str
        ``"f"`` or ``"g"``.
    order : int
        Derivative of the atom.
    tangents : tuple of int
        Columns, each as often as it is a factor.
    """

    factor: float
    atom: str
    order: int
    tangents: tuple[int, ...] = ()

    def by(self, column: int) -> list[Term]:
        """Return the terms of the derivative by a column, 0 the input."""
        if column == 0:
            return [Term(self.factor, self.atom, self.order + 1, self.tangents)]
        count = self.tangents.count(column)
        if not count:
            return []
        left = list(self.tangents)
        left.remove(column)
        return [Term(self.factor * count, self.atom, self.order, tuple(left))]


def derived(terms: Iterable[Term], entry: tuple[int, int]) -> list[Term]:
    """Return the derivative of an average of terms by an entry of the covariance (Price)."""
    p, q = entry
    twice = [second for term in terms for first in term.by(p) for second in first.by(q)]
    half = 0.5 if p == q else 1.0
    return [Term(half * t.factor, t.atom, t.order, t.tangents) for t in twice]


def mean_of(known: Means, terms: Iterable[Term], reads: Array) -> Array:
    """Return the average of terms at covariances ``(n, D, D)`` of the columns."""

    def of(atom: str, order: int, tangents: tuple[int, ...]) -> Array:
        if not tangents:
            return known.mean((atom, order), reads[:, 0, 0])
        v, *rest = tangents
        total = np.zeros(reads.shape[0])
        if reads[:, v, 0].any():
            total += reads[:, v, 0] * of(atom, order + 1, tuple(rest))
        for n, w in enumerate(rest):
            total += reads[:, v, w] * of(atom, order, (*rest[:n], *rest[n + 1 :]))
        return total

    total = np.zeros(reads.shape[0])
    for term in terms:
        total += term.factor * of(term.atom, term.order, term.tangents)
    return total


@dataclass(frozen=True)
class Joint:
    """Averages at pairs of layers, by Stein's identity.

    Attributes
    ----------
    known : Atoms
        Averages of the atoms.
    parts : tuple of ndarray, (n, D, D) each
        Covariances of the columns at the later layer, at the earlier one, and between them.
    """

    known: Atoms
    parts: tuple[Array, Array, Array]

    def covariance(self, late: Sequence[Term], early: Sequence[Term]) -> Array:
        """Return the covariance of terms at the later layer with terms at the earlier one."""
        total = np.zeros(self.parts[0].shape[0])
        for a, b in product(late, early):
            legs = [*((0, v) for v in a.tangents), *((1, v) for v in b.tangents)]
            found = self._taken((a.atom, a.order), (b.atom, b.order), tuple(legs), linked=False)
            if found is not None:
                total += a.factor * b.factor * found
        return total

    def _between(self, first: tuple[int, int], second: tuple[int, int]) -> Array:
        """Return the covariance of two columns, each a side and its number."""
        if first[0] == second[0]:
            return self.parts[first[0]][:, first[1], second[1]]
        (_, p), (_, q) = sorted((first, second))
        return self.parts[2][:, p, q]

    def _taken(
        self,
        late: tuple[str, int],
        early: tuple[str, int],
        legs: tuple[tuple[int, int], ...],
        *,
        linked: bool,
    ) -> Array | None:
        """Take the tangents out; None is zero.

        Terms that link both layers are averages of products; of the others the product of two
        averages is subtracted, which leaves the covariance of the atoms.
        """
        if not legs:
            found = self.known.covariance(late, early)
            if not linked:
                return found
            means = [
                self.known.mean(key, self.parts[side][:, 0, 0], side)
                for side, key in enumerate((late, early))
            ]
            return np.asarray(found + means[0] * means[1])
        v, rest = legs[0], legs[1:]
        moved = [
            ((late[0], late[1] + 1), early, rest, (0, 0)),
            (late, (early[0], early[1] + 1), rest, (1, 0)),
            *((late, early, rest[:n] + rest[n + 1 :], w) for n, w in enumerate(rest)),
        ]
        total: Array | None = None
        for one, other, left, w in moved:
            size = self._between(v, w)
            if not size.any():
                continue
            part = self._taken(one, other, left, linked=linked or v[0] != w[0])
            if part is not None:
                total = size * part if total is None else total + size * part
        return total


@dataclass(frozen=True)
class Columns:
    """One input and its tangents.

    Attributes
    ----------
    count : int
        Number of columns; the first is the input.
    degree : int
        Entries with up to so many tangents are followed: 2 for all.
    trained : bool
        Whether the tangents move all parameters, too: ``w' = w + rho (W phi'(h) w + W' phi(h) +
        b')`` with independent copies ``W', b'``, so that ``C_ww`` holds ``C_hh`` as well.
    bent : bool
        Whether the last column is the tangent of the first tangent along the second, ``x`` with
        the feature ``phi''(h) v v' + phi'(h) x``. It counts as two tangents, and covariances alone
        are computed.
    """

    count: int
    degree: int = 2
    trained: bool = False
    bent: bool = False

    @property
    def moved(self) -> int:
        """Number of columns but for a tangent of a tangent."""
        return self.count - self.bent

    def feature(self, p: int, q: int) -> list[Term]:
        """Return the product of the features of two columns, ``phi(h)`` and ``phi'(h) v``."""
        tangents = tuple(c for c in (p, q) if c)
        if not tangents:
            return [Term(1, "f", 0)]
        if len(tangents) == 1:
            # phi phi' = f'/2.
            first = [Term(0.5, "f", 1, tangents)]
            if tangents[0] < self.moved:
                return first
            # phi phi'' = f''/2 - g.
            return [Term(0.5, "f", 2, (1, 2)), Term(-1, "g", 0, (1, 2)), *first]
        if min(tangents) >= self.moved:
            return []
        if max(tangents) >= self.moved:
            # phi'(h) v times the feature of x; both hold what the copies make of phi(h) and
            # phi'(h) v: phi phi' = f'/2.
            v, x = tangents
            copies = [Term(0.5, "f", 1, (3 - v,))] if self.trained else []
            return [Term(0.5, "g", 1, (v, 1, 2)), Term(1, "g", 0, (v, x)), *copies]
        own = [Term(1, "f", 0)] if self.trained and p == q else []
        return [Term(1, "g", 0, tangents), *own]

    @property
    def followed(self) -> list[tuple[int, tuple[int, int]]]:
        """Numbers and columns of the entries that are followed."""
        numbered = enumerate(entry_pairs(self.count))
        return [(n, e) for n, e in numbered if self.order(e) <= self.degree]

    def order(self, entry: tuple[int, int]) -> int:
        """Return the number of tangents among two columns."""
        return sum((column > 0) + (column >= self.moved) for column in entry)

    def cumulants(
        self, laws: Laws, late: Array, early: Array, cross: Array, *, one_layer: bool
    ) -> Cumulants:
        """Return covariances and slopes of the features at pairs of layers.

        An entry moves those with as many tangents or more, so that no other slopes are needed.
        """
        size = len(entry_pairs(self.count))
        known = atoms(laws, *(part[:, 0, 0] for part in (late, early, cross)))
        joint = Joint(known, (late, early, cross))
        covariance = np.zeros((late.shape[0], size, size))
        slope = np.zeros((late.shape[0], size, size, size))
        for (a, own), (k, other) in product(self.followed, self.followed):
            if self.order(own) + self.order(other) > 2 * MOST:
                continue
            covariance[:, a, k] = joint.covariance(self.feature(*own), self.feature(*other))
            if one_layer or self.bent:
                continue
            for q, entry in self.followed:
                moved = derived(self.feature(*own), entry)
                if moved and self.order(other) <= self.order(entry):
                    slope[:, a, q, k] = joint.covariance(moved, self.feature(*other))
        return Cumulants(covariance, slope, known.error)

    def means(self, known: Means, reads: Array) -> Array:
        """Return averages of features ``(n, p)`` at covariances ``(n, D, D)`` of the columns."""
        entries = entry_pairs(self.count)
        return np.stack([mean_of(known, self.feature(*entry), reads) for entry in entries], axis=-1)

    def slopes(self, known: Means, reads: Array) -> tuple[Array, Array]:
        """Return their derivatives by what is read, ``(n, p, p)`` and ``(n, p, p, p)``."""
        size = len(entry_pairs(self.count))
        first = np.zeros((reads.shape[0], size, size))
        second = np.zeros((*first.shape, size))
        for (a, own), (q, entry) in product(self.followed, self.followed):
            moved = derived(self.feature(*own), entry)
            first[:, a, q] = mean_of(known, moved, reads)
            for r, other in () if self.bent else self.followed:
                second[:, a, q, r] = mean_of(known, derived(moved, other), reads)
        return first, second
