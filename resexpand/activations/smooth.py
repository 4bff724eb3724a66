"""Smooth activations whose Gaussian averages are computed by quadrature: tanh, SiLU."""

from __future__ import annotations

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw, X

TANH = ActivationLaw(name="tanh", expression=sp.tanh(X), mean=lambda k: sp.Integer(0))
SILU = ActivationLaw(
    name="silu", expression=X / (1 + sp.exp(-X)), bounded=X * (1 + sp.tanh(X / 2)) / 2
)
