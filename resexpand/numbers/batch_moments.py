r"""Second moments of normalised batches, ``E psi(x) psi(x)^T`` of ``x = BN(u)``, ``u ~ N(0, S)``.

With G = 1 - 11^T/B and ``S_G = G S G``:

- exchangeable S, every psi: averages over a sphere, `resexpand.gaussian.sphere`; for eps > 0 the
  sphere has the radius ``sqrt(B) s``, ``s^2 = a R^2/(a R^2 + B eps)``, a the variance over the
  population and ``R^2`` chi-squared of B - 1 degrees of freedom;
- any S, psi linear on either side of zero: with ``1/q = int_0^inf exp(-s q) ds`` for the squared
  length the Gaussian average is one of another covariance, and

      E psi psi^T = int_0^inf ds e^(-s eps) det(1 + 2 s S_G/B)^(-1/2) V(S_G (1 + 2 s S_G/B)^(-1)),

  V the moment of psi without normalisation; the trapezoidal rule in ln s converges geometrically;
- any other S and psi, and inputs that meet statistics of others: randomly shifted lattice rules
  over R^B, whose spread is the error.

Where masks draw psi for every input by itself, entries off the diagonal are those of its mean, and
those on the diagonal an average over the draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.activations.traits import is_homogeneous
from resexpand.expressions.numeric import value_at
from resexpand.gaussian.sphere import BatchAverages, batch_averages
from resexpand.network.activation import Activation
from resexpand.network.noise import Outcomes
from resexpand.network.operation import X
from resexpand.theory.noise import mean_function

Array = NDArray[np.float64]

ROUNDING = 1e-12
"""Relative difference of entries that count as equal."""

SHIFTS, POINTS, GENERATOR = 8, 16381, 4021
"""Lattice rules: random shifts, points (a prime), and what Korobov's vectors are powers of."""

STEP, REACH = 0.3, 38.0
"""Of the trapezoidal rule in ln s, and e-folds until its terms are below rounding."""

RADII = 96


@dataclass(frozen=True)
class Psi:
    """The maps behind a normalisation, as one function.

    Attributes
    ----------
    law : Activation
        The function, or its mean over masks.
    draws : tuple of (Activation, float)
        Outcomes of the masks with their probabilities, if there are any.
    constant : float
        Mean square of the draws that are constants, such as zero.
    clean : Activation, optional
        The function without masks, as inputs of an evaluation meet it; `law` by default.
    """

    law: Activation
    draws: tuple[tuple[Activation, float], ...] = ()
    constant: float = 0.0
    clean: Activation | None = None

    @classmethod
    def of(cls, functions: Outcomes, clean: sp.Expr | None = None) -> Psi:
        """Return functions of `X` that are drawn with probabilities, which are numbers, as one."""
        if len(functions) == 1:
            return cls(Activation(functions[0][0]))
        moving = [(f, float(chance)) for f, chance in functions if f.has(X)]
        still = (float(f**2 * chance) for f, chance in functions if not f.has(X))
        draws = tuple((Activation(function), chance) for function, chance in moving)
        without = None if clean is None else Activation(clean)
        return cls(Activation(mean_function(functions)), draws, sum(still), without)

    def __call__(self, x: Array) -> Array:
        """Return the function of an array."""
        values = value_at(self.law.expression, {X: np.asarray(x, dtype=np.float64)})
        return np.broadcast_to(values, np.shape(x))

    def slope(self, x: Array) -> Array:
        """Return its derivative, where it exists."""
        derivative = self.law.derivative(1).replace(sp.DiracDelta, lambda *_: sp.Integer(0))
        return np.broadcast_to(value_at(derivative, {X: np.asarray(x)}), np.shape(x))

    def squared_slope(self, x: Array) -> Array:
        """Return the square of its derivative, averaged over masks."""
        slopes = ((chance, Psi(one).slope(x)) for one, chance in self.draws or ((self.law, 1.0),))
        return np.asarray(sum(chance * slope**2 for chance, slope in slopes))

    def over_draws(self, average: Callable[[Psi], Array]) -> Array:
        """Return the average over masks of mean squares, computed for one function at a time."""
        return np.asarray(self.constant + sum(c * average(Psi(one)) for one, c in self.draws))

    @cached_property
    def kinks(self) -> tuple[float, ...]:
        """Where it is not smooth, jumps included."""
        laws = (self.law, *(one for one, _ in self.draws))
        return tuple({float(k) for law in laws for k in (*law.kinks, *law.jumps)})

    @cached_property
    def is_homogeneous(self) -> bool:
        """Whether it is linear on either side of zero, and zero there."""
        return is_homogeneous(self.law.expression)


def is_exchangeable(kernel: Array, size: int) -> bool:
    """Whether inputs are alike: one variance, one covariance within groups, one between them."""
    count = kernel.shape[-1]
    same = np.arange(count) // size
    own, within = np.eye(count, dtype=bool), same[:, None] == same
    for mask in (own, within & ~own, ~within):
        entries = kernel[..., mask]
        # Kernels computed from data are alike to rounding only.
        if entries.size and np.ptp(entries, axis=-1).max() > ROUNDING * np.abs(kernel).max():
            return False
    return True


def sphere_averages(psi: Psi, size: int, resolution: str = "fine") -> BatchAverages:
    """Return V_B, J_B and mu_B without eps."""
    averages = batch_averages(psi, psi.kinks, size, resolution)
    if not psi.draws:
        return averages

    def square(one: Psi) -> Array:
        return np.asarray(batch_averages(one, one.kinks, size, resolution).square)

    return replace(averages, square=float(psi.over_draws(square)))


def moments_of(
    psi: Psi, kernels: Array, eps: float, size: int, seed: int, trained: int | None = None
) -> Array:
    """Return the second moments of normalised batches.

    Parameters
    ----------
    psi : Psi
    kernels : ndarray, shape (n, B, B)
        One kernel, or one for each of `SHIFTS` repetitions.
    eps : float
    size : int
        Inputs that share statistics.
    seed : int
        Of the random shifts; each normalisation of a network has its own.
    trained : int, optional
        Inputs that have statistics of their own, in whole batches; those behind meet the averages
        of these. By default all.

    Returns
    -------
    ndarray, shape (n, B, B)
        With `SHIFTS` repetitions where a lattice rule was used.
    """
    count = kernels.shape[-1]
    trained = count if trained is None else trained

    def moments(one: Psi) -> Array:
        given = replace(one, draws=(), clean=psi.clean)
        return _moments(given, kernels, eps, size, seed, trained)

    second = moments(psi)
    if psi.draws:
        own = np.arange(trained)
        second[:, own, own] = psi.over_draws(lambda one: moments(one)[:, own, own])
    return second


def _moments(psi: Psi, kernels: Array, eps: float, size: int, seed: int, trained: int) -> Array:
    """Return the moments of one function; of its mean, if masks draw it."""
    count = kernels.shape[-1]
    if trained < count:
        return _lattices(psi, kernels, eps, size, seed, trained)
    if is_exchangeable(kernels[0], size) and len(kernels) == 1:
        return _exchangeable(psi, kernels[0], eps, size)[None]
    if size == count and psi.is_homogeneous:
        return np.stack([_homogeneous(psi, kernel, eps) for kernel in kernels])
    return _lattices(psi, kernels, eps, size, seed, count)


def _lattices(psi: Psi, kernels: Array, eps: float, size: int, seed: int, trained: int) -> Array:
    """Return the moments by repetitions of a lattice rule."""
    pairs = zip(*repetitions(kernels, seed), strict=True)
    given = eps, size, trained
    return np.stack([_by_lattice(psi, kernel, given, shift) for kernel, shift in pairs])


def repetitions(kernels: Array, seed: int) -> tuple[Array, Array]:
    """Return the kernels of all repetitions of a lattice rule, and random shifts of its points."""
    count = kernels.shape[-1]
    repeated = np.broadcast_to(kernels, (SHIFTS, count, count))
    # Independent random shifts of one lattice make an unbiased estimate with an error.
    return repeated, np.random.default_rng(seed).random((SHIFTS, 1, count + count % 2))


def _exchangeable(psi: Psi, kernel: Array, eps: float, size: int) -> Array:
    count = len(kernel)
    own = exchangeable_averages(psi, float(kernel[0, 0] - kernel[0, 1]), eps, size)
    same = np.arange(count) // size
    # Centring removes the part that groups share: between them stands a product of means.
    second = np.where(same[:, None] == same, own.product, own.mean**2)
    np.fill_diagonal(second, own.square)
    return second


def exchangeable_averages(psi: Psi, spread: float, eps: float, size: int) -> BatchAverages:
    """Return V_B, J_B and mu_B of a batch of a variance over the population."""
    if not eps:
        return sphere_averages(psi, size)
    shrink, weights = _shrinking(spread, eps, size)
    # A homogeneous function takes the shrinkage outside: its moments need no second integral.
    if psi.is_homogeneous:
        one, of = sphere_averages(psi, size), (weights @ shrink**2, weights @ shrink)
        return BatchAverages(
            *map(float, (one.square * of[0], one.product * of[0], one.mean * of[1]))
        )
    averages = [_shrunk(psi, s, size) for s in shrink]
    names = ("square", "product", "mean")
    listed = (np.array([getattr(a, name) for a in averages]) for name in names)
    return BatchAverages(*(float(weights @ values) for values in listed))


def _shrunk(psi: Psi, shrink: float, size: int) -> BatchAverages:
    kinks = [k / shrink for k in psi.kinks]
    return batch_averages(lambda u: psi(shrink * u), kinks, size, "coarse")


def _shrinking(spread: float, eps: float, size: int) -> tuple[Array, Array]:
    """Return the shrinkage by eps, over the lengths of a centred batch, and weights."""
    radius, weights = radius_rule(size)
    square = spread * radius**2
    return np.sqrt(square / (square + size * eps)), weights


def radius_rule(size: int) -> tuple[Array, Array]:
    """Return nodes and weights for a chi variable of B - 1 degrees of freedom."""
    middle = np.sqrt(size - 1)
    # Eight standard deviations: the length of a chi variable has a spread below one.
    low, high = max(middle - 8, 0.0), middle + 8
    x, weights = np.polynomial.legendre.leggauss(RADII)
    radius = (high + low) / 2 + (high - low) / 2 * x
    exponent = (size - 2) * np.log(radius) - radius**2 / 2
    # The largest exponent is taken out: powers of large batches would overflow.
    weights = weights * np.exp(exponent - exponent.max())
    return radius, weights / weights.sum()


def spectrum(kernel: Array) -> tuple[Array, Array]:
    """Return eigenvalues, rounding set to zero, and eigenvectors of a centred kernel."""
    centring = np.eye(len(kernel)) - 1 / len(kernel)
    values, vectors = np.linalg.eigh(centring @ kernel @ centring)
    return np.where(values > 1e-14 * values[-1], values, 0.0), vectors


def _homogeneous(psi: Psi, kernel: Array, eps: float) -> Array:
    values, vectors = spectrum(kernel)
    _, grown, weights = inverse_square(values, eps)
    shrunk = vectors * (values / grown)[:, None, :] @ vectors.T
    return np.asarray(np.tensordot(weights, pair_moments(psi, shrunk), 1))


def inverse_square(values: Array, eps: float) -> tuple[Array, Array, Array]:
    """Return nodes s, the factors ``1 + 2 s S_G/B`` of eigenvalues, and weights."""
    positive, size = values[values > 0], len(values)
    first = -np.log(2 * positive[-1] / size) - REACH
    last = -np.log(2 * positive[0] / size) + 2 * REACH / positive.size
    # 1/q is an integral of exp(-s q) over s; equal steps in log s converge exponentially.
    s = np.exp(np.arange(first, last, STEP))[:, None]
    grown = 1 + 2 * s * values / size
    weights = STEP * s[:, 0] * np.exp(-0.5 * np.log(grown).sum(axis=1) - eps * s[:, 0])
    return s[:, 0], grown, weights


def slopes_of_sides(psi: Psi) -> tuple[float, float]:
    """Return q and p of a function ``p x + q |x|``."""
    up, down = (float(v) for v in psi(np.array([1.0, -1.0])))
    return (up + down) / 2, (up - down) / 2


def pair_moments(psi: Psi, covariance: Array) -> Array:
    """Return ``<psi psi>`` of a function ``p x + q |x|``."""
    even, odd = slopes_of_sides(psi)
    lengths = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0))
    scale = lengths[:, :, None] * lengths[:, None, :]
    ratio = np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)
    # Rounding may carry a correlation beyond one, where the root is not real.
    ratio = np.clip(ratio, -1, 1)
    folded = scale * (np.sqrt(1 - ratio**2) + ratio * np.arcsin(ratio)) * 2 / np.pi
    return np.asarray(odd**2 * covariance + even**2 * folded)


def _by_lattice(psi: Psi, kernel: Array, given: tuple[float, int, int], shift: Array) -> Array:
    eps, size, trained = given
    normed, _ = normalised(lattice(kernel, shift), eps, size, trained)
    y = image(psi, normed, trained)
    return np.asarray(y.T @ y / POINTS)


def lattice(kernel: Array, shift: Array) -> Array:
    """Return a lattice of points, Gaussian by Box and Muller's transform, shape (POINTS, B)."""
    count, dimension = len(kernel), shift.shape[-1]
    powers = [pow(GENERATOR, k, POINTS) for k in range(dimension)]
    places = (np.arange(POINTS)[:, None] * np.array(powers) % POINTS) / POINTS
    u = (places + shift) % 1.0
    # Each pair of coordinates makes two normals, which keeps the lattice of even dimension.
    radius, angle = np.sqrt(-2 * np.log1p(-u[:, ::2])), 2 * np.pi * u[:, 1::2]
    normals = np.hstack([radius * np.cos(angle), radius * np.sin(angle)])[:, :count]
    values, vectors = np.linalg.eigh(kernel)
    # The symmetric root moves smoothly with the kernel, which eigenvectors do not.
    return np.asarray(normals @ (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)


def normalised(x: Array, eps: float, size: int, trained: int) -> tuple[Array, Array]:
    """Return normalised entries, and the root of the variance that each is divided by."""
    groups = x[:, :trained].reshape(len(x), -1, size)
    means = groups.mean(axis=2, keepdims=True)
    squares = ((groups - means) ** 2).mean(axis=2, keepdims=True)
    scale = np.broadcast_to(np.sqrt(squares + eps), groups.shape).reshape(len(x), trained)
    normed = (groups - means).reshape(len(x), trained) / scale
    if trained < x.shape[1]:
        # As PyTorch collects it, the variance of a batch is the unbiased one.
        variance = squares[..., 0].mean(axis=1, keepdims=True) * size / (size - 1)
        left = x[:, trained:] - means[..., 0].mean(axis=1, keepdims=True)
        normed = np.hstack([normed, left / np.sqrt(variance + eps)])
        scale = np.hstack([scale, np.broadcast_to(np.sqrt(variance + eps), left.shape)])
    return normed, scale


def image(psi: Psi, normed: Array, trained: int, slope: bool = False) -> Array:
    """Return the function of normalised entries, or its slope; without masks in an evaluation."""
    clean = psi if psi.clean is None else Psi(psi.clean)
    parts = ((psi, normed[:, :trained]), (clean, normed[:, trained:]))
    return np.hstack([one.slope(x) if slope else one(x) for one, x in parts])
