"""Identity: the linear network, whose every formula is elementary."""

from __future__ import annotations

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw, X

IDENTITY = ActivationLaw(
    name="identity",
    expression=X,
    pair=lambda k11, k12, k22: k12,
    variance=lambda k: k,
    mean=lambda k: sp.Integer(0),
)
