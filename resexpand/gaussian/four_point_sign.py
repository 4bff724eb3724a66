r"""Four-point averages of signs and error functions of Gaussian variables.

For centred Gaussian variables ``(u_1, u_2 | u_3, u_4)`` of covariance ``S``, with ``A_i = S_ii +
noise``: an error function ``erf(s u)`` is the sign of ``u`` plus independent noise of variance
``1/q``, ``q = 2 s^2``, averaged over the noise; ``noise = 0`` gives signs. Scaling the block of
``S`` that joins both pairs by ``t`` from 0 to 1, Plackett's identity gives

    Cov(phi_1 phi_2, phi_3 phi_4) = int_0^1 dt sum_{i in 12, k in 34} S_ik g_ik(t),
    g_ik = (4/pi^2) arcsin(r_jl|ik) / sqrt(A_i A_k - t^2 S_ik^2),

where ``r_jl|ik`` is the correlation of the other two, given that ``i`` and ``k`` vanish. Its
derivatives with respect to ``S`` hold no integral: ``d/dS_ik = g_ik`` at ``t = 1``, likewise for
``S_12``, and, as a sign does not depend on the length of its argument, ``d/dS_11 = -(S_12 d_12 +
S_13 d_13 + S_14 d_14) / (2 A_1)``.

Source: Plackett (1954); the integral is taken by the double-exponential rule, which does not mind
what happens at its end where variables coincide.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BLOCK = 2048
SINGULAR = 1e-13
"""Share of a variance below which what is left of it, given other variables, counts as zero."""

STEPS = 40
"""Nodes of the double-exponential rule on either side; the step is ``3.3 / STEPS``."""


def _double_exponential() -> tuple[Array, Array, Array]:
    """Return nodes t in (0, 1), 1 - t, and weights."""
    x = np.arange(-STEPS, STEPS + 1) * (3.3 / STEPS)
    arm = np.pi / 2 * np.sinh(x)
    weights = np.pi / 4 * np.cosh(x) / np.cosh(arm) ** 2 * (3.3 / STEPS)
    return 1 / (1 + np.exp(-2 * arm)), 1 / (1 + np.exp(2 * arm)), weights


NODES, COMPLEMENTS, WEIGHTS = _double_exponential()


def covariance(sigma: Array, noise: float) -> Array:
    """Return ``Cov(phi_1 phi_2, phi_3 phi_4)`` for covariances of shape (n, 4, 4)."""
    result = np.empty(sigma.shape[0])
    for start in range(0, sigma.shape[0], BLOCK):
        part = sigma[start : start + BLOCK, None]
        total = np.zeros((part.shape[0], NODES.size))
        for i, k in ((0, 2), (0, 3), (1, 2), (1, 3)):
            total += part[..., i, k] * _joined(part, noise, (i, k), NODES, COMPLEMENTS)
        result[start : start + BLOCK] = total @ WEIGHTS
    return result


def slopes(sigma: Array, noise: float) -> tuple[Array, Array, Array]:
    """Return the derivatives of `covariance` with respect to S_11, S_12 and S_22."""
    one, zero = np.ones(1), np.zeros(1)
    part = sigma[:, None]
    joined = {
        (i, k): _joined(part, noise, (i, k), one, zero)[:, 0]
        for i, k in ((0, 2), (0, 3), (1, 2), (1, 3))
    }
    first, second = (sigma[:, i, i] + noise for i in (0, 1))
    own = sigma[:, 0, 1]
    inner = 4 / np.pi**2 * _arcs(sigma, noise) * _inverse_root(first * second - own**2)
    along = [
        _quotient(
            own * inner + sum(sigma[:, i, k] * joined[i, k] for k in (2, 3)),
            -2 * (first, second)[i],
        )
        for i in (0, 1)
    ]
    return along[0], inner, along[1]


def _joined(part: Array, noise: float, pair: tuple[int, int], t: Array, rest: Array) -> Array:
    """Return ``g_ik`` at the joining strengths ``t = 1 - rest``."""
    i, k = pair
    j, m = 1 - i, 5 - k
    a = [part[..., n, n] + noise for n in range(4)]
    x, p, w = part[..., i, k], part[..., i, j], part[..., k, m]
    u, v, z = part[..., j, k], part[..., i, m], part[..., j, m]
    # 1 - t^2 without rounding, for variables that coincide at t = 1.
    square, complement = t * t, rest * (1 + t)
    determinant = np.maximum(a[i] * a[k] - x * x, 0.0) + complement * x * x
    own = a[j] * determinant - (a[k] * p * p - 2 * square * x * p * u + a[i] * square * u * u)
    other = a[m] * determinant - (a[k] * square * v * v - 2 * square * x * v * w + a[i] * w * w)
    both = t * (z * determinant - (a[k] * p * v - x * p * w - square * x * u * v + a[i] * u * w))
    scale = np.sqrt(_left(own, a[j] * determinant) * _left(other, a[m] * determinant))
    angle = np.arcsin(np.clip(_quotient(both, scale), -1.0, 1.0))
    return np.asarray(4 / np.pi**2 * angle * _inverse_root(determinant))


def _left(variance: Array, before: Array) -> Array:
    """Return a variance that is left over, 0 where it is rounding: a variable that is known."""
    return np.where(variance > SINGULAR * before, variance, 0.0)


def _arcs(sigma: Array, noise: float) -> Array:
    """Return how ``arcsin r_34`` changes when the first two variables are known to vanish."""
    a = [sigma[:, n, n] + noise for n in range(4)]
    determinant = a[0] * a[1] - sigma[:, 0, 1] ** 2

    def explained(k: int, m: int) -> Array:
        first = sigma[:, 0, k] * (a[1] * sigma[:, 0, m] - sigma[:, 0, 1] * sigma[:, 1, m])
        second = sigma[:, 1, k] * (a[0] * sigma[:, 1, m] - sigma[:, 0, 1] * sigma[:, 0, m])
        return _quotient(first + second, determinant)

    known = sigma[:, 2, 3] - explained(2, 3)
    scale = np.sqrt(_left(a[2] - explained(2, 2), a[2]) * _left(a[3] - explained(3, 3), a[3]))
    given = np.arcsin(np.clip(_quotient(known, scale), -1.0, 1.0))
    free = np.arcsin(np.clip(_quotient(sigma[:, 2, 3], np.sqrt(a[2] * a[3])), -1.0, 1.0))
    return np.asarray(given - free)


def _quotient(value: Array, by: Array) -> Array:
    """Return a quotient, 0 where the divisor vanishes: a variable that does not move."""
    value, by = np.broadcast_arrays(value, by)
    return np.divide(value, by, out=np.zeros(value.shape), where=by != 0)


def _inverse_root(value: Array) -> Array:
    return np.sqrt(_quotient(np.ones_like(value), np.maximum(value, 0.0)))
