r"""Means of products of jets, layer by layer: the coefficients of ``1/N`` and ``1/N^2``.

The mean of a product given where both paths are, ``E[P | u, v]``, is a function of two Gaussian
variables, kept by its coefficients in orthonormal Hermite polynomials ``h_m(u/sqrt(K)) h_n(v/
sqrt(K))``. One layer multiplies it by derivatives of f, matrices of averages ``<h_m F h_n>``, and
averages over where the paths were,

    E[He_k(xi) He_n(z) | z'] = sum_j binom(n, j) binom(k, j) j! c^(n-j) (-c)^j s^k
                               He_(n-j)(z') He_(k-j)(z'),     c^2 = K/K',  s^2 = 1 - c^2.

Nothing is sampled, and the cost grows linearly with depth. The number of polynomials is the only
approximation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, reduce
from math import comb, factorial

import numpy as np
from numpy.polynomial.hermite_e import hermegauss, hermeval
from numpy.typing import NDArray

from resexpand.numbers.two_loop.jets import Factor, Polynomial, Product, closure, kept

Array = NDArray[np.float64]

STEP = 0.08
"""Distance of the points of averages, in deviations and in units of the activation."""


SMALL = 1e-150


@dataclass
class Layer:
    """What a layer does.

    Attributes
    ----------
    weight, scale : float
        ``sigma^2/C_0`` and ``rho^2 C_0``.
    mean : ndarray, shape (5,)
        V and its derivatives by K.
    features : ndarray, shape (4, n)
        ``f - V`` and derivatives of f at the points of averages.
    values : ndarray, shape (m, n)
        Hermite functions there: polynomials times the root of the weights.
    """

    weight: float
    scale: float
    mean: Array
    features: Array
    values: Array
    _matrices: dict[tuple[int, ...], Array] = field(default_factory=dict)

    def matrix(self, orders: tuple[int, ...]) -> Array:
        """Return ``<h_m F h_n>`` of a product of derivatives of f."""
        if orders not in self._matrices:
            product = np.prod(self.features[list(orders)], axis=0)
            product[np.abs(product) < SMALL] = 0.0
            self._matrices[orders] = (self.values * product) @ self.values.T
        return self._matrices[orders]

    def number(self, factor: Factor) -> float:
        """Return what does not depend on the paths."""
        found = self.weight ** factor.numbers[0] * self.scale ** (factor.numbers[1] / 2)
        return float(found * np.prod(self.mean[list(factor.means)]))


def points(count: int, variance: float) -> tuple[Array, Array]:
    """Return points of averages in deviations, and Hermite functions up to a number there."""
    end = 2 * np.sqrt(count) + 4.0
    step = STEP * min(1.0, 1 / np.sqrt(variance))
    z = np.arange(-np.ceil(end / step), np.ceil(end / step) + 1) * step
    found = np.empty((count, z.size))
    found[0] = np.exp(-z * z / 4) * np.sqrt(step / np.sqrt(2 * np.pi))
    for n in range(1, count):
        before = np.sqrt(n - 1) * found[n - 2] if n > 1 else 0.0
        found[n] = (z * found[n - 1] - before) / np.sqrt(n)
    return z, found


def layer_of(
    f: Callable[[Array], Array], count: int, read: float, weight: float, bias: float, scale: float
) -> tuple[Layer, float]:
    """Return what a layer does, and ``C_0``.

    Parameters
    ----------
    f : callable
        The square of the activation and three derivatives as rows.
    count : int
        Number of polynomials.
    read, weight, bias, scale : float
        K of the stream, ``sigma^2``, ``b^2``, ``rho^2``.
    """
    z, values = points(count, read)
    features = f(np.sqrt(read) * z)
    # Price: a derivative by K is one half of the second by the argument, a Hermite polynomial.
    orders = np.arange(5)
    sizes = np.sqrt([float(factorial(2 * k)) for k in orders]) / (2 * read) ** orders
    mean = sizes * ((values[2 * orders] * values[0]) @ features[0])
    features[0] -= mean[0]
    gram = weight * mean[0] + bias
    return Layer(weight / gram, scale * gram, mean, features, values), float(gram)


@cache
def largest_power() -> int:
    """Return the largest power of a normal of one path."""
    polynomials = closure().values()
    return max(power for known in polynomials for _, factor in known for power in factor.normals)


def moves(count: int, cosine: float) -> list[Array]:
    """Return the matrices of ``g -> E[xi^k g(z) | z']`` on coefficients, k up to the largest."""
    sine, most = np.sqrt(max(1 - cosine**2, 0.0)), largest_power()
    nodes, weights = hermegauss(count + most)
    known = np.empty((count, nodes.size))
    known[0] = np.sqrt(weights / weights.sum())
    for n in range(1, count):
        before = np.sqrt(n - 1) * known[n - 2] if n > 1 else 0.0
        known[n] = (nodes * known[n - 1] - before) / np.sqrt(n)
    hermite = []
    for k in range(most + 1):
        images = np.zeros_like(known)
        for j in range(k + 1):
            orders = np.arange(j, count)
            # Of orthonormal polynomials, He_n = sqrt(n!) h_n, and binom(n, j) j! = n!/(n - j)!.
            falling = np.prod([orders - m for m in range(j)], axis=0) * np.ones(orders.size)
            factor = comb(k, j) * cosine ** (orders - j) * (-cosine) ** j * sine**k
            polynomial = hermeval(nodes, [0] * (k - j) + [1])
            images[orders] += (factor * np.sqrt(falling))[:, None] * known[orders - j] * polynomial
        hermite.append(known @ images.T)
    powers = []
    for k in range(most + 1):
        parts = (
            factorial(k) / (2**m * factorial(m) * factorial(k - 2 * m)) * hermite[k - 2 * m]
            for m in range(k // 2 + 1)
        )
        powers.append(reduce(np.add, parts))
    return powers


class Means:
    """Means of the products of jets at a layer, given both paths; zero at first."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.known: dict[Product, Array] = {(): np.ones((1, 1))}

    def of(self, jets: Product) -> Array:
        """Return the coefficients of a product; axes that are short end in zeros."""
        chosen = kept(jets)
        found = self.known.get(chosen, np.zeros((1, 1)))
        return found if chosen == jets else found.T

    def average(self, polynomial: Polynomial, layer: Layer) -> float:
        """Return the mean of a polynomial without normals."""
        return float(self._sums(polynomial, layer)[0, 0][0, 0])

    def step(self, layer: Layer, cosine: float) -> None:
        """Go on to the next layer; ``cosine**2`` is the ratio of K here and there."""
        by_power = moves(self.count, cosine)
        new: dict[Product, Array] = {(): np.ones((1, 1))}
        for jets, polynomial in closure().items():
            total = np.zeros((1, 1))
            for (first, second), values in self._sums(polynomial, layer).items():
                moved = _on_rows(by_power[first], values, trivial=first == 0)
                moved = _on_rows(by_power[second], moved.T, trivial=second == 0).T
                total = _plus(total, moved)
            # Numbers below the normal range cost a hundred times as much, and change nothing.
            new[jets] = np.where(np.abs(total) < SMALL, 0.0, total)
        self.known = new

    def _sums(self, polynomial: Polynomial, layer: Layer) -> dict[tuple[int, int], Array]:
        """Return the sums of what goes with each power of the normals."""
        sums: dict[tuple[int, int], Array] = {}
        for (jets, factor), number in polynomial.items():
            term = float(number) * layer.number(factor) * self.of(jets)
            if factor.at_u:
                term = layer.matrix(factor.at_u)[:, : term.shape[0]] @ term
            if factor.at_v:
                term = term @ layer.matrix(factor.at_v)[: term.shape[1]]
            known = sums.get(factor.normals)
            sums[factor.normals] = term if known is None else _plus(known, term)
        return sums


def _on_rows(matrix: Array, values: Array, *, trivial: bool) -> Array:
    """Apply a matrix to the first axis; a constant stays one if there are no normals."""
    size = values.shape[0]
    return values if trivial and size == 1 else np.asarray(matrix[:, :size] @ values)


def _plus(a: Array, b: Array) -> Array:
    """Add arrays of coefficients, of which short axes end in zeros."""
    shape = tuple(max(pair) for pair in zip(a.shape, b.shape, strict=True))
    found = np.zeros(shape)
    found[: a.shape[0], : a.shape[1]] = a
    found[: b.shape[0], : b.shape[1]] += b
    return found
