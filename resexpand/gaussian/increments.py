r"""Averages of functions of a Gaussian process with independent increments, at pairs of its times.

The stream of a residual network is such a process over the layers: ``z' = z + w``, ``w`` of
variance ``t = K' - K`` and independent of ``z``. On a lattice

    < A(z') B(z) > = sum_w conj(A_w) S_w exp(-w^2 t/2) / n,    S = transform of B times the density,

so that a pair of times costs one row of exponentials, and a derivative of ``A`` one factor ``-iw``.
Sums of analytic functions over a lattice converge faster than every power of its step; the stated
error is the difference of two lattices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.polynomial.hermite_e import hermeval
from numpy.typing import NDArray

Array = NDArray[np.float64]
Key = tuple[str, int]
"""A function by name, and which of its derivatives."""

Functions = Callable[[Array], Mapping[Key, Array]]
"""Functions and those of their derivatives that are known, as arrays like the argument."""

STEP, REACH = 0.55, 9.5
"""Step in units of the smallest deviation, and end of the lattice in units of the largest."""

LARGEST = 2**16
"""Points of a lattice at most."""


@dataclass(frozen=True)
class Lattice:
    """Points ``y`` with their frequencies, and functions on them.

    Attributes
    ----------
    points, frequencies : ndarray
        Arguments, and the frequencies of a real transform.
    known : mapping
        Values of the functions by key.
    """

    points: Array
    frequencies: Array
    known: Mapping[Key, Array]

    @classmethod
    def of(cls, functions: Functions, variances: Array, step: float, fineness: float) -> Lattice:
        """Return a lattice that resolves densities of these variances and a step of functions."""
        known = variances[(variances > 0) & np.isfinite(variances)]
        deviations = np.sqrt(known) if known.size else np.ones(1)
        end = REACH * (1 + (fineness - 1) / 4) * deviations.max()
        spacing = min(STEP * deviations.min(), step) / fineness
        count = int(min(2 * (end // spacing + 1), LARGEST))
        points = (np.arange(count) - count // 2) * (2 * end / count)
        frequencies = np.pi / end * np.arange(count // 2 + 1)
        return cls(points, frequencies, functions(points))

    def weights(self, variances: Array, order: int) -> Array:
        """Return rows of weights of sums that are averages of derivatives of what is summed.

        Of variance zero, where only order 0 is known, all weight is at the point zero. Averages of
        variances beyond double precision are NaN.
        """
        variances = np.where(np.isfinite(variances), variances, np.nan)
        deviation = np.sqrt(np.where(variances > 0, variances, np.nan))[:, None]
        z = self.points / deviation
        normal = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) / deviation
        if order:
            hermite = np.asarray(hermeval(z, [0] * order + [1]))
            return np.asarray(normal * hermite / deviation**order * self.step)
        zero = (self.points == 0).astype(float)
        return np.asarray(np.where(variances[:, None] == 0, zero, normal * self.step))

    @property
    def step(self) -> float:
        """Distance of neighbours."""
        return float(self.points[1] - self.points[0])

    def split(self, key: Key) -> tuple[Array, int]:
        """Return a function that is known, and how often it is to be differentiated."""
        name, order = key
        most = max(n for other, n in self.known if other == name)
        return self.known[name, min(order, most)], max(order - most, 0)


@dataclass(frozen=True)
class Increments:
    """Averages at pairs of times, rows of `later` and `earlier`.

    Attributes
    ----------
    lattice : Lattice
        Where sums run.
    later, earlier : ndarray, shape (n,)
        Variances; the later one is not smaller.
    """

    lattice: Lattice
    later: Array
    earlier: Array

    def mean(self, key: Key, variances: Array) -> Array:
        """Return ``< A >`` at some variances: derivatives are moved onto the density."""
        levels, places = np.unique(variances, return_inverse=True)
        values, order = self.lattice.split(key)
        means: Array = self.lattice.weights(levels, order) @ values
        return means[places]

    def covariance(self, late: Key, early: Key) -> Array:
        """Return ``Cov(A(z'), B(z))``.

        A derivative of ``B`` that is not known is moved onto the density and ``A``.
        """
        b, rest = self.lattice.split(early)
        total = np.zeros(self.later.shape)
        for moved in range(rest + 1):
            sign = (-1) ** moved * comb(rest, moved)
            total += sign * self._product((late[0], late[1] + moved), b, rest - moved, moved == 0)
        return total

    def _product(self, late: Key, b: Array, order: int, centred: bool) -> Array:
        """Return averages of ``A(z')``, ``B(z)`` and a Hermite polynomial of ``z``."""
        lattice = self.lattice
        a, steps = lattice.split(late)
        levels, places = np.unique(self.earlier, return_inverse=True)
        weighted = lattice.weights(levels, order) * b
        if centred:
            weighted -= weighted.sum(axis=1, keepdims=True) * lattice.weights(levels, 0)
        product = np.fft.rfft(weighted) * np.conj(np.fft.rfft(a))
        product *= (-1j * lattice.frequencies) ** steps
        double = np.full(lattice.frequencies.size, 2.0)
        double[[0, -1]] = 1.0
        profile = product.real * double / lattice.points.size
        products = np.empty(self.later.shape)
        half = lattice.frequencies**2 / 2
        for level, row in enumerate(profile):
            rows = np.flatnonzero(places == level)
            t = np.maximum(self.later[rows] - levels[level], 0.0)
            products[rows] = np.exp(-t[:, None] * half) @ row
        return products
