r"""Sine: ``<sin x_1 sin x_2> = exp(-(K11 + K22)/2) sinh(K12)``.

Written as a difference of exponentials, whose exponents are never positive for a valid covariance,
so that nothing overflows at large variance.
"""

from __future__ import annotations

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw, X


def _pair(k11: sp.Expr, k12: sp.Expr, k22: sp.Expr) -> sp.Expr:
    mean = (k11 + k22) / 2
    return (sp.exp(k12 - mean) - sp.exp(-k12 - mean)) / 2


SIN = ActivationLaw(
    name="sin",
    expression=sp.sin(X),
    pair=_pair,
    variance=lambda k: (1 - sp.exp(-2 * k)) / 2,
    mean=lambda k: sp.Integer(0),
)
