r"""Two-point averages of squared activations in closed form, at two layers of one stream.

For a centred Gaussian pair ``(x, y)`` with variances ``a, b`` and covariance ``c``, and ``f =
phi^2``, each function below returns

    Cov(f(x), f(y))    and    d Cov(f(x), f(y)) / da at fixed c = Cov(f''(x)/2, f(y)),

the second by Price's theorem, so that delta functions in ``f''`` are included.

- ``erf(s x)``, ``q = 2 s^2``: ``erf(s x)`` is the sign of ``x`` plus independent noise of variance
  ``1/q``, averaged over the noise. By Plackett's identity, with ``A = 1 + q a``, ``B = 1 + q b``,

      Cov = (16/pi^2) int_0^V arcsin( v sqrt(1 + v^2) / sqrt((2A-1-v^2)(2B-1-v^2)) ) dv / (1+v^2),
      V = q c / sqrt(A B - q^2 c^2),

  and the derivative has no integral left.
- piecewise linear with one kink at zero, ``f = m x^2 + d x|x|``:
  ``<x|x| y|y|> = (2ab/pi) (3 r sqrt(1-r^2) + (1 + 2r^2) arcsin r)``, ``r = c / sqrt(ab)``.
- ``sin(s x)``: ``Cov(cos 2sx, cos 2sy)/4``.

Source: Plackett (1954) for the reduction of orthant probabilities; Cho & Saul (2009) for the
degrees of the arc-cosine kernels behind the second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)
"""In ``w``, ``v = sinh w``, the integrand is analytic in a strip of half-width pi/2: at ``w`` up to
10, variances up to 1e8, forty nodes are at machine precision."""

BLOCK = 4096
"""Pairs that are worked on at once, so that intermediate arrays stay in the cache."""


def erf_covariance(a: Array, b: Array, c: Array, q: float) -> Array:
    """Return ``Cov(erf(s x)^2, erf(s y)^2)``, ``q = 2 s^2``; arrays of one shape."""
    alpha, beta, gamma = (np.ravel(v) for v in np.broadcast_arrays(1 + q * a, 1 + q * b, q * c))
    result = np.empty(alpha.shape)
    for start in range(0, alpha.size, BLOCK):
        part = slice(start, start + BLOCK)
        result[part] = _erf_integral(alpha[part], beta[part], gamma[part])
    return result.reshape(np.broadcast_shapes(np.shape(a), np.shape(b), np.shape(c)))


def _erf_integral(alpha: Array, beta: Array, gamma: Array) -> Array:
    half = np.arcsinh(gamma / np.sqrt(_determinant(alpha, beta, gamma))) / 2
    v = np.sinh(half[:, None] * (1 + NODES))
    root = np.sqrt(1 + v * v)
    square = v * v
    product = (2 * alpha - 1)[:, None] - square
    product *= (2 * beta - 1)[:, None] - square
    values = np.arcsin(v * root / np.sqrt(product)) / root
    return np.asarray(16 / np.pi**2 * half * (values @ WEIGHTS))


def _determinant(alpha: Array, beta: Array, gamma: Array) -> Array:
    """Return ``alpha beta - gamma^2`` without losing what exceeds ``gamma`` in either."""
    first, second = alpha - gamma, beta - gamma
    return np.asarray(first * second + gamma * (first + second))


def erf_slope(a: Array, b: Array, c: Array, q: float) -> Array:
    """Return the derivative of `erf_covariance` with respect to ``a`` at fixed ``c``."""
    alpha, beta, gamma = 1 + q * a, 1 + q * b, q * c
    shift = 2 * gamma**2 / (2 * alpha - 1)
    pair = _arcsine_difference(q * b, shift)
    inner = (2 * alpha - 1) * beta - 2 * gamma**2
    outer = (2 * beta - 1) * alpha - 2 * gamma**2
    crossed = np.arcsin(gamma / np.sqrt(inner * outer))
    first = pair / (alpha * np.sqrt(2 * alpha - 1))
    second = 2 * gamma / alpha * crossed / np.sqrt(_determinant(alpha, beta, gamma))
    return np.asarray(4 * q / np.pi**2 * (first - second))


def _arcsine_difference(excess: Array, shift: Array) -> Array:
    """Return ``arcsin((u - 1)/u)`` at ``u = 1 + excess - shift`` minus that at ``1 + excess``."""
    low, high = np.sqrt(1 + 2 * (excess - shift)), np.sqrt(1 + 2 * excess)
    # sin(x - y) = sin x cos y - cos x sin y, with cos = sqrt(2u - 1)/u; the difference of the
    # roots is written as a quotient, since it may be small.
    sine = shift * (2 * excess / (high + low) - high)
    cosine = low * high + (excess - shift) * excess
    return np.asarray(np.arctan2(sine, cosine))


def kinked_covariance(a: Array, b: Array, c: Array, even: float, odd: float) -> Array:
    """Return ``Cov(f(x), f(y))`` for ``f = even x^2 + odd x|x|``."""
    sine, cosine, product = _angles(a, b, c)
    arcs = 3 * sine * cosine + (1 + 2 * cosine**2) * np.arctan2(cosine, sine)
    return np.asarray(2 * even**2 * c**2 + odd**2 * 2 / np.pi * product * arcs)


def kinked_slope(a: Array, b: Array, c: Array, odd: float) -> Array:
    """Return ``Cov(f''(x)/2, f(y))`` for ``f = even x^2 + odd x|x|``; it needs `odd` alone."""
    sine, cosine, _ = _angles(a, b, c)
    return np.asarray(odd**2 * 2 / np.pi * b * (sine * cosine + np.arctan2(cosine, sine)))


def _angles(a: Array, b: Array, c: Array) -> tuple[Array, Array, Array]:
    """Return sine and cosine of the angle between two variables, and the product ``a b``."""
    product = a * b
    safe = np.where(product > 0, product, 1.0)
    cosine = np.clip(c / np.sqrt(safe), -1.0, 1.0)
    return np.sqrt(np.maximum((product - c * c) / safe, 0.0)), cosine, product


def sine_covariance(a: Array, b: Array, c: Array, q: float) -> Array:
    """Return ``Cov(sin(s x)^2, sin(s y)^2)``, ``q = 2 s^2``."""
    return np.asarray(np.exp(-q * (a + b - 2 * c)) * np.expm1(-2 * q * c) ** 2 / 8)


def sine_slope(a: Array, b: Array, c: Array, q: float) -> Array:
    """Return the derivative of `sine_covariance` with respect to ``a`` at fixed ``c``."""
    return -q * sine_covariance(a, b, c, q)
