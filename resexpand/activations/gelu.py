r"""GELU ``x Phi(x)``, with the normal distribution function ``Phi``.

With ``a = K11/(1 + K11)``, ``b = K22/(1 + K22)`` and ``D = (1 + K11)(1 + K22) - K12^2``,

    <phi_1 phi_2> = K12/4 + (1/(2 pi)) [ K12 arcsin( K12 / sqrt((1 + K11)(1 + K22)) )
                    + a b sqrt(D) + K12^2 / ((1 + K11)(1 + K22) sqrt(D)) ],

by integration by parts: ``Phi(x)`` is the probability that ``x`` plus independent standard noise is
positive (see `resexpand.activations.stepwise`).
"""

from __future__ import annotations

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.activations.arcsine import ArcCorrelation, Area


def _pair(k11: sp.Expr, k12: sp.Expr, k22: sp.Expr) -> sp.Expr:
    a, b = 1 + k11, 1 + k22
    area = Area(a, b, k12)
    curved = k12 * ArcCorrelation(a, b, k12) + k11 * k22 * area / (a * b)
    return k12 / 4 + (curved + k12**2 / (a * b * area)) / (2 * sp.pi)


def _variance(k: sp.Expr) -> sp.Expr:
    a = 1 + k
    curved = k * ArcCorrelation(a, a, k) + 2 * k**2 / (a * sp.sqrt(1 + 2 * k))
    return k / 4 + curved / (2 * sp.pi)


GELU = ActivationLaw(
    name="gelu",
    expression=X * (1 + sp.erf(X / sp.sqrt(2))) / 2,
    pair=_pair,
    variance=_variance,
    mean=lambda k: k / sp.sqrt(2 * sp.pi * (1 + k)),
)
