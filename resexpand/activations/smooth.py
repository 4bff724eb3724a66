"""Smooth activations whose Gaussian averages are computed by quadrature: tanh, GELU, SiLU."""

from __future__ import annotations

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw, X

TANH = ActivationLaw(name="tanh", expression=sp.tanh(X), mean=lambda k: sp.Integer(0))
GELU = ActivationLaw(name="gelu", expression=X * (1 + sp.erf(X / sp.sqrt(2))) / 2)
SILU = ActivationLaw(
    name="silu", expression=X / (1 + sp.exp(-X)), bounded=X * (1 + sp.tanh(X / 2)) / 2
)
