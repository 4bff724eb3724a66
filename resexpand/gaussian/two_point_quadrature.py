r"""Two-point averages by quadrature: ``Cov(f(x), f(y))`` along one stream of Gaussian increments.

The stream at a later layer is that of an earlier one plus independent increments, ``y = x +
sqrt(D) w`` with ``D = K_late - K_early``, so that

    Cov(f(x), f(y)) = < f(x) (U(x) - <U>) >,    U(x) = < f(x + sqrt(D) w) >_w,

and the derivative with respect to the later variance at fixed covariance replaces ``f(y)`` by
``f''(y)/2``. Smooth ``f``: trapezoidal rules, whose spacing follows the variances (Trefethen &
Weideman 2014), in ``x = sinh u`` where the range is wide. Functions with kinks or jumps:
Gauss-Legendre panels between them, graded towards them at the scale ``sqrt(D)``, and ``f''`` moved
onto the weight, ``<f''>_w = <f (w^2 - 1)>_w / D``.

The stated error is the largest difference of two rules relative to ``sqrt(Var f(x) Var f(y))``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from resexpand.gaussian.quadrature import CUTOFF

Array = NDArray[np.float64]
Features = Callable[[Array], tuple[Array, Array]]
"""Function that returns ``f`` and ``f''/2`` (where it exists) of an array of arguments."""

WIDE = 2.0
"""Standard deviation above which nodes are spread like a hyperbolic sine."""

TOLERANCE = 1e-11
REFINEMENTS = (1.0, 1.37, 2.6, 5.3)
"""Densities that are tried in turn, until two in a row agree."""

GAUSS = np.polynomial.legendre.leggauss(16)


def line_rule(shift: Array, scale: float, density: float) -> tuple[Array, Array]:
    """Return nodes and weights of ``< g(shift + scale z) >`` for a standard normal ``z``.

    Parameters
    ----------
    shift : ndarray, shape (n,)
        Means.
    scale : float
        Standard deviation.
    density : float
        1 resolves a function that bends within about one unit.

    Returns
    -------
    nodes, weights : ndarray, shape (n, nodes)
        Values of ``shift + scale z``, and weights that hold the normal density.
    """
    if scale <= WIDE:
        count = int(density * max(26.0, 64.0 * scale)) + 1
        z = np.linspace(-CUTOFF, CUTOFF, count)
        weights = _density(z) * (2 * CUTOFF / (count - 1))
        return shift[:, None] + scale * z, np.broadcast_to(weights, (shift.size, count))
    low, high = (np.arcsinh(shift + side * CUTOFF * scale) for side in (-1, 1))
    count = int(density * 28.0 * (float((high - low).max()) + 1)) + 1
    u = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, count)
    nodes = np.sinh(u)
    step = ((high - low) / (count - 1))[:, None]
    return nodes, step * np.cosh(u) / scale * _density((nodes - shift[:, None]) / scale)


def _density(z: Array) -> Array:
    density: Array = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    return density


def covariances(
    features: Features, early: float, late: Array, breaks: Sequence[float] = ()
) -> tuple[Array, Array, float]:
    """Return covariances and slopes of one earlier with several later layers.

    Parameters
    ----------
    features : callable
        ``f`` and ``f''/2``.
    early : float
        Variance of the earlier stream, ``>= 0``.
    late : ndarray, shape (n,)
        Variances of later ones, none below `early`.
    breaks : sequence of float
        Points at which ``f`` is not smooth.

    Returns
    -------
    covariances, slopes : ndarray, shape (n,)
        ``Cov(f(x), f(y))`` and ``Cov(f(x), f''(y)/2)``; the slope is 0 where both layers are the
        same and `f` is not smooth.
    error : float
        Relative difference of the last two rules.
    """
    if early == 0.0:
        return np.zeros(late.shape), np.zeros(late.shape), 0.0
    compute = _panelled if breaks else _smooth
    result = compute(features, early, late, breaks, REFINEMENTS[0])
    error = np.inf
    for density in REFINEMENTS[1:]:
        finer = compute(features, early, late, breaks, density)
        error = _difference(result, finer)
        result = finer
        if error <= TOLERANCE:
            break
    return result[0], result[1], error


def _difference(first: tuple[Array, Array, Array], second: tuple[Array, Array, Array]) -> float:
    """Return the largest relative difference; the third entries are what it is relative to."""
    with np.errstate(invalid="ignore"):
        size = np.maximum(second[2], np.finfo(float).tiny)
        errors = [np.abs(a - b) / size for a, b in zip(first[:2], second[:2], strict=True)]
        worst = float(np.max(errors, initial=0.0))
    return worst if np.isfinite(worst) else np.inf


def _smooth(
    features: Features, early: float, late: Array, breaks: Sequence[float], density: float
) -> tuple[Array, Array, Array]:
    nodes, weights = line_rule(np.zeros(1), float(np.sqrt(early)), density)
    x, weight = nodes[0], weights[0]
    f, half = features(x)
    centred = weight * (f - weight @ f)
    scale = np.sqrt(centred @ f)
    rows = []
    for variance in late:
        step = float(np.sqrt(max(variance - early, 0.0)))
        averages = _averaged(features, x, step, density) if step else (f, half, f * f)
        covariance, slope = (float(centred @ g) for g in averages[:2])
        spread = float(weight @ averages[2]) - float(weight @ averages[0]) ** 2
        rows.append((covariance, slope, scale * np.sqrt(max(spread, 0.0))))
    table = np.array(rows).T
    return table[0], table[1], table[2]


def _averaged(
    features: Features, x: Array, step: float, density: float
) -> tuple[Array, Array, Array]:
    y, weights = line_rule(x, step, density)
    f, half = features(y)
    return tuple(np.einsum("ij,ij->i", weights, g) for g in (f, half, f * f))


def _panelled(
    features: Features, early: float, late: Array, breaks: Sequence[float], density: float
) -> tuple[Array, Array, Array]:
    rows = []
    deviation = float(np.sqrt(early))
    for variance in late:
        step = float(np.sqrt(max(variance - early, 0.0)))
        near = [p + side * step * k for p in breaks for side in (-1, 1) for k in (0.7, 2.0, 4.0, 8)]
        edges = [*breaks, *near] if step else list(breaks)
        x, weight = _panel_rule(np.zeros(1), deviation, edges, density)
        f, _ = features(x[0])
        centred = weight[0] * (f - weight[0] @ f)
        averaged, slope, square = _panel_averages(features, x[0], f, step, breaks, density)
        spread = float(weight[0] @ square) - float(weight[0] @ averaged) ** 2
        size = np.sqrt(max(float(centred @ f) * spread, 0.0))
        rows.append((float(centred @ averaged), float(centred @ slope), size))
    table = np.array(rows).T
    return table[0], table[1], table[2]


def _panel_averages(
    features: Features, x: Array, f: Array, step: float, breaks: Sequence[float], density: float
) -> tuple[Array, Array, Array]:
    if step == 0.0:
        return f, np.zeros_like(f), f * f
    y, weights = _panel_rule(x, step, breaks, density)
    values, _ = features(y)
    w = (y - x[:, None]) / step
    # What is constant has no second derivative; taking it out keeps the digits of small steps.
    bent = (weights * (w * w - 1) * (values - f[:, None])).sum(axis=1) / (2 * step**2)
    return (weights * values).sum(axis=1), bent, (weights * values**2).sum(axis=1)


def _panel_rule(
    shift: Array, scale: float, edges: Sequence[float], density: float
) -> tuple[Array, Array]:
    """Return nodes and weights of ``< g(shift + scale z) >``, in panels between edges."""
    inside = (np.asarray(edges)[None, :] - shift[:, None]) / scale
    count = int(np.ceil(density * max(6.0, 4.0 * scale)))
    fixed = np.broadcast_to(np.linspace(-CUTOFF, CUTOFF, count + 1), (shift.size, count + 1))
    corners = np.sort(np.concatenate([np.clip(inside, -CUTOFF, CUTOFF), fixed], axis=1), axis=1)
    lengths = np.diff(corners, axis=1)[:, :, None]
    z = corners[:, :-1, None] + lengths * (1 + GAUSS[0]) / 2
    weights = lengths * GAUSS[1] / 2 * _density(z)
    flat = (shift.size, -1)
    return (shift[:, None, None] + scale * z).reshape(flat), weights.reshape(flat)
