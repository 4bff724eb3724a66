"""Second opinions on the theory, typed again in plain mpmath and NumPy.

Nothing here calls the package: activations, Gaussian averages and the recursions of mean-field
theory are written down once more, in other words, so that a mistake has to be made twice.
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

PHI: dict[str, Callable[[mp.mpf], mp.mpf]] = {
    "identity": lambda x: x,
    "erf": mp.erf,
    "erf_unit": lambda x: mp.erf(mp.sqrt(mp.pi) * x / 2),
    "relu": lambda x: x if x > 0 else mp.mpf(0),
    "leaky_relu": lambda x: x if x > 0 else x / 100,
    "tanh": mp.tanh,
    "gelu": lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2,
    "silu": lambda x: x / (1 + mp.exp(-x)),
    "sin": mp.sin,
    "sign": mp.sign,
}
"""Activations as functions of an mpmath number."""

SLOPE: dict[str, Callable[[mp.mpf], mp.mpf]] = {
    "identity": lambda x: mp.mpf(1),
    "erf": lambda x: 2 / mp.sqrt(mp.pi) * mp.exp(-(x**2)),
    "erf_unit": lambda x: mp.exp(-mp.pi * x**2 / 4),
    "relu": lambda x: mp.mpf(1) if x > 0 else mp.mpf(0),
    "leaky_relu": lambda x: mp.mpf(1) if x > 0 else mp.mpf(1) / 100,
    "tanh": lambda x: mp.sech(x) ** 2,
    "gelu": lambda x: mp.ncdf(x) + x * mp.npdf(x),
    "silu": lambda x: (1 + mp.exp(-x) + x * mp.exp(-x)) / (1 + mp.exp(-x)) ** 2,
    "sin": mp.cos,
}
"""Their derivatives, where they are functions."""

PLANE: dict[str, Callable[[Array], Array]] = {
    "identity": lambda x: x,
    "erf": special.erf,
    "erf_unit": lambda x: special.erf(np.sqrt(np.pi) / 2 * x),
    "relu": lambda x: np.where(x > 0, x, 0.0),
    "leaky_relu": lambda x: np.where(x > 0, x, x / 100),
    "tanh": np.tanh,
    "gelu": lambda x: x * special.ndtr(x),
    "silu": lambda x: x * special.expit(x),
    "sin": np.sin,
    "sign": np.sign,
}
"""Activations as functions of an array."""


def line_average(
    function: Callable[[mp.mpf], mp.mpf],
    variance: float | mp.mpf,
    breaks: tuple[float, ...] = (),
    digits: int = 50,
) -> mp.mpf:
    """Return ``<function(x)>`` for ``x ~ N(0, variance)``.

    Without breaks the trapezoidal rule, which for functions analytic around the real line is as
    good as its step is small; with breaks panels between them.
    """
    with mp.workdps(digits):
        scale = mp.sqrt(variance)
        far = mp.sqrt(2 * digits * mp.log(10)) + 1
        if not breaks:
            step = mp.mpf(4) / (digits * max(1, scale))
            count = int(far / step)
            terms = (
                mp.npdf(k * step) * function(scale * k * step) for k in range(-count, count + 1)
            )
            return step * mp.fsum(terms)
        edges = sorted({mp.mpf(k) for k in range(-6, 7)} | {-far, far} | set(map(mp.mpf, breaks)))
        inner = [scale * e if e not in breaks else e for e in edges]
        points = sorted({x for x in inner if abs(x) <= scale * far})
        return mp.quad(lambda x: mp.npdf(x / scale) / scale * function(x), points)


def _panels(breaks: tuple[float, ...], width: float, count: int = 16) -> tuple[Array, Array]:
    """Return Gauss-Legendre nodes and weights on ``[-9 width, 9 width]``, split at the breaks."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    inside = [b for b in breaks if abs(b) < 9 * width]
    edges = np.unique([*np.linspace(-9 * width, 9 * width, count + 1), *inside])
    half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    x = (middle[:, None] + half[:, None] * nodes).ravel()
    return x, (half[:, None] * weights).ravel()


def plane_average(
    function: Callable[[Array, Array], Array],
    covariance: tuple[float, float, float],
    breaks: tuple[float, ...] = (0.0,),
) -> float:
    """Return ``<function(x_1, x_2)>`` to about 13 digits, for correlations up to 0.9.

    A product rule in the variables themselves, so that kinks along ``x_i = break`` cost nothing.
    """
    a, b, c = covariance
    x, weight_x = _panels(breaks, np.sqrt(a))
    y, weight_y = _panels(breaks, np.sqrt(c))
    grid_x, grid_y = np.meshgrid(x, y, indexing="ij")
    determinant = a * c - b * b
    exponent = (c * grid_x**2 - 2 * b * grid_x * grid_y + a * grid_y**2) / (2 * determinant)
    density = np.exp(-exponent) / (2 * np.pi * np.sqrt(determinant))
    return float(weight_x @ (function(grid_x, grid_y) * density) @ weight_y)


CONDITIONAL: dict[str, Callable[[mp.mpf, mp.mpf], mp.mpf]] = {
    "identity": lambda m, s: m,
    "erf": lambda m, s: mp.erf(m / mp.sqrt(1 + 2 * s**2)),
    "erf_unit": lambda m, s: mp.erf(mp.sqrt(mp.pi) / 2 * m / mp.sqrt(1 + mp.pi * s**2 / 2)),
    "relu": lambda m, s: m * mp.ncdf(m / s) + s * mp.npdf(m / s),
    "leaky_relu": lambda m, s: (
        m / 100 + mp.mpf(99) / 100 * (m * mp.ncdf(m / s) + s * mp.npdf(m / s))
    ),
    "gelu": lambda m, s: (
        m * mp.ncdf(m / mp.sqrt(1 + s**2))
        + s**2 * mp.npdf(m / mp.sqrt(1 + s**2)) / mp.sqrt(1 + s**2)
    ),
    "sin": lambda m, s: mp.exp(-(s**2) / 2) * mp.sin(m),
    "sign": lambda m, s: mp.erf(m / (s * mp.sqrt(2))),
}
"""``<phi(m + s z)>`` over a standard normal ``z``."""


def pair_average(name: str, covariance: tuple[float, float, float], digits: int = 50) -> mp.mpf:
    """Return ``<phi(x_1) phi(x_2)>`` by one integral: the second variable is averaged exactly."""
    with mp.workdps(digits):
        k11, k12, k22 = map(mp.mpf, covariance)
        slope, rest = k12 / k11, mp.sqrt(k22 - k12**2 / k11)
        far = mp.sqrt(2 * digits * mp.log(10)) + 1
        # Close to full correlation the conditional average turns within a narrow range.
        narrow = rest / abs(slope) / mp.sqrt(k11) if slope else mp.mpf(1)
        edges = {mp.mpf(k) for k in range(-6, 7)} | {-far, far}
        edges |= {s * narrow * k for k in (1, 2, 4, 8, 16) for s in (-1, 1)}
        points = [e * mp.sqrt(k11) for e in sorted(edges) if abs(e) <= far]
        return mp.quad(
            lambda x: (
                mp.npdf(x / mp.sqrt(k11))
                / mp.sqrt(k11)
                * PHI[name](x)
                * CONDITIONAL[name](slope * x, rest)
            ),
            points,
        )


def reference_average(
    function: Callable[..., mp.mpf],
    covariance: tuple[float | mp.mpf, ...],
    breaks: tuple[float, ...] = (),
    digits: int = 50,
) -> mp.mpf:
    """Return a Gaussian average by adaptive quadrature at high precision.

    Parameters
    ----------
    function : callable
        Function of one or two mpmath numbers.
    covariance : tuple of number
        ``(K,)`` or ``(K11, K12, K22)``, positive definite.
    breaks : tuple of float
        Points of the variables where the function is not smooth.
    digits : int
        Decimal digits carried.

    Returns
    -------
    mp.mpf
    """
    with mp.workdps(digits):
        if len(covariance) == 1:
            scale = mp.sqrt(covariance[0])
            edges = _edges([mp.mpf(b) / scale for b in breaks])
            return mp.quad(lambda z: mp.npdf(z) * function(scale * z), edges)
        k11, k12, k22 = map(mp.mpf, covariance)
        a = mp.sqrt(k11)
        b = k12 / a
        c = mp.sqrt(k22 - b**2)

        def inner(z: mp.mpf) -> mp.mpf:
            edges = _edges([(point - b * z) / c for point in breaks])
            return mp.quad(lambda y: mp.npdf(y) * function(a * z, b * z + c * y), edges)

        edges = _edges([mp.mpf(point) / a for point in breaks])
        return mp.quad(lambda z: mp.npdf(z) * inner(z), edges)


def _edges(breaks: list[mp.mpf]) -> list[mp.mpf]:
    """Return integration limits with enough subdivisions for the digits in force."""
    limit = mp.sqrt(2 * mp.mp.dps * mp.log(10)) + 2
    inside = {b for b in breaks if -limit < b < limit}
    return sorted({-limit, *(mp.mpf(i) for i in range(-6, 7, 2)), limit} | inside)


def exchangeable(size: int, own: float = 1.5, pair: float = 0.5) -> np.ndarray:
    """Return a kernel of one variance and one covariance."""
    return np.full((size, size), pair) + (own - pair) * np.eye(size)
