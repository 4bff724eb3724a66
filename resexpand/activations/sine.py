r"""Sine: ``<sin x_1 sin x_2> = exp(-(K11 + K22)/2) sinh(K12)``."""

from __future__ import annotations

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.activations.hyperbolic import ExpSinh

SIN = ActivationLaw(
    name="sin",
    expression=sp.sin(X),
    pair=lambda k11, k12, k22: ExpSinh(-(k11 + k22) / 2, k12),
    variance=lambda k: ExpSinh(-k, k),
    mean=lambda k: sp.Integer(0),
)
