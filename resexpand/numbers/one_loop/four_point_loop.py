r"""Four-point averages of a smooth activation by quadrature: the compiled inner loop.

The later pair ``(y_1, y_2)`` given the earlier pair is Gaussian. Its second variable, given the
first, is averaged once for all into tables ``G(v) = <g(v + s z)>`` of ``g = phi, phi', phi''/2`` on
a fine grid, read by interpolation of degree seven; what remains is a sum over ``z_1``,

    < g_1(y_1) g_2(y_2) > = sum_z w(z) g_1(m_1 + a z) G_2(m_2 + b z).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.codegen.source import module_source, scalar_function
from resexpand.codegen.store import load

Array = NDArray[np.float64]

POINTS = 8
"""Points of the interpolation."""

LOOP = '''@driver
def features(x, out):
    """Rows of out: phi, phi', phi''/2."""
    for i in range(x.size):
        out[0, i], out[1, i], out[2, i] = feature(x[i])


@driver
def average(m1, m2, a, b, z, weights, tables, start, step, unit, out):
    """Rows of out: averages of phi phi, phi''/2 phi, phi' phi', phi phi''/2."""
    points = unit.size
    basis = np.empty(points)
    for n in range(m1.size):
        s0 = s1 = s2 = s3 = 0.0
        for i in range(z.size):
            p, d, c = feature(m1[n] + a * z[i])
            at = (m2[n] + b * z[i] - start) / step
            first = int(at) - points // 2 + 1
            first = min(max(first, 0), tables.shape[1] - points)
            t = at - first
            left = 1.0
            for j in range(points):
                basis[j] = left
                left *= t - j
            right = 1.0
            for j in range(points - 1, -1, -1):
                basis[j] *= right * unit[j]
                right *= t - j
            g0 = g1 = g2 = 0.0
            for j in range(points):
                g0 += basis[j] * tables[0, first + j]
                g1 += basis[j] * tables[1, first + j]
                g2 += basis[j] * tables[2, first + j]
            w = weights[i]
            s0 += w * p * g0
            s1 += w * c * g0
            s2 += w * d * g1
            s3 += w * p * g2
        out[0, n] = s0
        out[1, n] = s1
        out[2, n] = s2
        out[3, n] = s3
'''


@cache
def loop_source(law: ActivationLaw) -> str:
    """Return the text of the module with the loops for one activation."""
    phi, slope, bend = (law.derivative(order) for order in range(3))
    return module_source([scalar_function("feature", [X], [phi, slope, bend / 2]), LOOP])


@cache
def unit_weights() -> Array:
    """Return the denominators of Lagrange's basis on the integers, inverted."""
    j = np.arange(POINTS)
    gaps = (j[:, None] - j[None, :] + np.eye(POINTS)).astype(float)
    return np.asarray(1 / gaps.prod(axis=1))


def loops(law: ActivationLaw) -> Any:
    """Return the compiled module of an activation."""
    return load(loop_source(law))


def features(law: ActivationLaw, x: Array) -> Array:
    """Return ``phi, phi', phi''/2`` of an array, shape ``(3, *x.shape)``."""
    flat = np.ascontiguousarray(x, dtype=np.float64).reshape(-1)
    out = np.empty((3, flat.size))
    loops(law).features(flat, out)
    return out.reshape((3, *x.shape))
