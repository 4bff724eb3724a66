r"""How second moments of exchangeable normalised batches change, by averages over the sphere.

A batch of B exchangeable Gaussian numbers of the variance a over the population is, centred,
``G u = sqrt(a) R t``: t uniform on the unit sphere in the plane orthogonal to (1, ..., 1), R a chi
variable of B - 1 degrees of freedom. With ``sigma^2 = a R^2/B + eps``, ``s^2 = a R^2/(B sigma^2)``,
``x = sqrt(B) s t`` and ``E = G dS G/a``,

    dM_ij = E psi_i psi_j (R^2 t^T E t - tr E)/2              the score of a Gaussian
    T'_ij = E psi'_i psi'_j [J T J]_ij,   J = (G - s^2 t t^T)/sigma.

Given two entries of t the others are exchangeable with a known sum and sum of squares, so that
every average is one over two entries. Batches beside each other are independent: there

    dM_ij = mu (dmu_i + dmu_j) + (E R psi_1 t_1)^2/(1 - 1/B)^2 E_ij,    T'_ij = j^2 [G T G]_ij,

with ``j = E psi'_1 [J]_11/(1 - 1/B)``. Without eps the length and the direction part: ``E R^2 = B -
1``, ``E R^-2 = 1/(B - 3)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, lgamma, sqrt

import numpy as np
from numpy.typing import NDArray

from resexpand.gaussian.sphere import NODES, entry_rule, pair_rule
from resexpand.numbers.batch_moments import Psi, radius_rule

Array = NDArray[np.float64]
Powers = dict[tuple[int, int], Array]


@dataclass(frozen=True)
class Lengths:
    """Lengths of a centred batch with weights, or their means where they are independent of t.

    Attributes
    ----------
    weights, radius, square : ndarray
        Of R and ``R^2``.
    shrink : ndarray
        ``s``.
    inverse, inverse_square : ndarray
        ``1/sigma`` and ``1/sigma^2``.
    """

    weights: Array
    radius: Array
    square: Array
    shrink: Array
    inverse: Array
    inverse_square: Array

    @classmethod
    def of(cls, spread: float, size: int, eps: float) -> Lengths:
        """Return the lengths of batches of B inputs of a variance over the population."""
        if eps:
            radius, weights = radius_rule(size)
            variance = spread * radius**2 / size + eps
            shrink = np.sqrt(spread * radius**2 / size / variance)
            return cls(weights, radius, radius**2, shrink, variance**-0.5, 1 / variance)
        freedom = size - 1
        mean = sqrt(2) * exp(lgamma(size / 2) - lgamma(freedom / 2))
        inverse = mean / (freedom - 1) if freedom > 1 else np.inf
        square = 1 / (freedom - 2) if freedom > 2 else np.inf
        numbers = (1.0, mean, freedom, 1.0, inverse * sqrt(size / spread), square * size / spread)
        return cls(*(np.array([number], dtype=float) for number in numbers))


def changed_on_sphere(
    psi: Psi, changes: Array, kernel: Array, size: int, eps: float, tangent: bool
) -> Array:
    """Return the changes behind an exchangeable batch, shape (m, B, B).

    Parameters
    ----------
    psi : Psi
    changes : ndarray, shape (m, B, B)
    kernel : ndarray, shape (B, B)
        Exchangeable within and between groups.
    size : int
        Inputs of a group, which share statistics.
    eps : float
    tangent : bool
        Whether changes are Gram matrices of tangents.
    """
    count = len(kernel)
    spread = float(kernel[0, 0] - kernel[0, 1])
    groups = np.arange(count) // size
    same = groups[:, None] == groups
    centring = np.eye(count) - same / size
    steps = centring @ changes @ centring
    lengths = Lengths.of(spread, size, eps)
    if tangent:
        return _tangents(psi, steps, lengths, same, size)
    return _responses(psi, steps / spread, lengths, same, size)


def _responses(psi: Psi, steps: Array, lengths: Lengths, same: Array, size: int) -> Array:
    quadratic = _Quadratic.of(steps, same, size)
    moments, means, linear = np.zeros_like(steps), 0.0, 0.0
    moved = np.zeros(steps.shape[:-1])
    listed = zip(lengths.weights, lengths.radius, lengths.square, lengths.shrink, strict=True)
    for weight, radius, square, shrink in listed:
        alone, both = _averages(psi, shrink, size)
        own = (square * quadratic.of_one(alone.squares) - quadratic.trace * alone.squares[0]) / 2
        pair = (square * quadratic.of_two(both) - quadratic.trace[..., None] * both[0, 0]) / 2
        _set_diagonal(pair, own)
        moments += weight * pair
        mean = (square * quadratic.of_one(alone.values) - quadratic.trace * alone.values[0]) / 2
        moved += weight * mean
        means += weight * alone.values[0]
        linear += weight * radius * alone.values[1] / (1 - 1 / size)
    apart = means * (moved[..., :, None] + moved[..., None, :]) + linear**2 * steps
    return np.where(same, moments, apart)


def _tangents(psi: Psi, steps: Array, lengths: Lengths, same: Array, size: int) -> Array:
    quadratic = _Quadratic.of(steps, same, size)
    own, other = quadratic.own, quadratic.other
    moments, linear = np.zeros_like(steps), 0.0
    listed = zip(
        lengths.weights, lengths.shrink, lengths.inverse, lengths.inverse_square, strict=True
    )
    for weight, shrink, inverse, square in listed:
        alone, both = _averages(psi, shrink, size, slope=True)
        # The average of t_i (T t)_j + t_j (T t)_i.
        first = (own + other) * both[1, 1] + 2 * steps * both[2, 0]
        if size > 2:
            first = first + (own + other + 2 * steps) * (both[2, 0] + both[1, 1]) / (size - 2)
        pair = steps * both[0, 0] - shrink**2 * first
        pair = pair + shrink**4 * quadratic.of_two(both[1:, 1:])
        diagonal = quadratic.diagonal
        alike = diagonal * (alone.squares[0] - 2 * shrink**2 * alone.squares[2] * size / (size - 1))
        alike = alike + shrink**4 * quadratic.of_one(alone.squares[2:])
        _set_diagonal(pair, alike)
        moments += weight * square * pair
        mean = (1 - 1 / size) * alone.values[0] - shrink**2 * alone.values[2]
        linear += weight * inverse * mean / (1 - 1 / size)
    return np.where(same, moments, linear**2 * steps)


def _set_diagonal(matrices: Array, values: Array) -> None:
    own = np.arange(matrices.shape[-1])
    matrices[..., own, own] = values


@dataclass(frozen=True)
class _Alone:
    """``E f t^k`` and ``E f^2 t^k`` of one entry."""

    values: Array
    squares: Array


def _averages(psi: Psi, shrink: float, size: int, slope: bool = False) -> tuple[_Alone, Array]:
    """Return the averages of one entry, and of two, ``E f_1 f_2 t_1^j t_2^k``."""
    f: Callable[[Array], Array] = psi.slope if slope else psi
    kinks, nodes = [k / shrink for k in psi.kinks], NODES["fine" if shrink == 1 else "coarse"]
    u, weights = entry_rule(size, kinks, nodes)
    values, powers = f(shrink * u), (u / sqrt(size)) ** np.arange(5)[:, None]
    alone = _Alone(powers @ (weights * values), powers @ (weights * values**2))
    first, second, of_pair = pair_rule(size, kinks, nodes)
    left, right = (
        (t / sqrt(size)) ** np.arange(4)[:, None] * f(shrink * t) for t in (first, second)
    )
    return alone, (left * of_pair) @ right.T


@dataclass(frozen=True)
class _Quadratic:
    """``t^T E t`` for centred E, given one entry or two entries of t."""

    own: Array
    other: Array
    step: Array
    trace: Array
    diagonal: Array
    size: int

    @classmethod
    def of(cls, steps: Array, same: Array, size: int) -> _Quadratic:
        diagonal = np.diagonal(steps, axis1=-2, axis2=-1)
        own = diagonal[..., :, None] + np.zeros_like(steps)
        return cls(own, own.swapaxes(-1, -2), steps, diagonal @ same, diagonal, size)

    def of_one(self, powers: Array) -> Array:
        """Return the average, where ``powers[k]`` is that of ``f t^k``."""
        size, rest = self.size, self.trace - self.diagonal
        average = self.diagonal * powers[2] * (1 + 2 / (size - 1))
        average = average + rest * (powers[0] - powers[2]) / (size - 1)
        if size > 2:
            between = (self.diagonal - rest) / ((size - 1) * (size - 2))
            average = average + between * (2 * powers[2] - powers[0])
        return np.asarray(average)

    def of_two(self, powers: Array) -> Array:
        """Return the average, where ``powers[j, k]`` is that of ``f t_1^j t_2^k``."""
        size, own, other, step = self.size, self.own, self.other, self.step
        average = (own + other) * powers[2, 0] + 2 * step * powers[1, 1]
        squares, rest = powers[0, 0] - 2 * powers[2, 0], self.trace[..., None] - own - other
        if size > 2:
            sums = powers[2, 0] + powers[1, 1]
            average = average + 2 * (own + other + 2 * step) * sums / (size - 2)
            average = average + rest * squares / (size - 2)
        if size > 3:
            pairs = (own + other + 2 * step - rest) / ((size - 2) * (size - 3))
            average = average + pairs * (2 * powers[1, 1] - squares + 2 * powers[2, 0])
        return np.asarray(average)
