r"""Rectifiers ``max(x, s x)`` of negative slope ``s``: ReLU (``s = 0``) and leaky ReLU.

Every rectifier is a linear function plus a multiple of ``|x|``, and ``<x_1 |x_2|> = 0``, so that

    <phi_1 phi_2> = (1 + s)^2/4 K12 + (1 - s)^2/4 <|x_1| |x_2|>,
    <|x_1| |x_2|> = (2/pi) [ sqrt(K11 K22 - K12^2) + K12 arcsin(K12 / sqrt(K11 K22)) ],

the first arc-cosine kernel of Cho & Saul (2009). Its derivative with respect to ``K11`` is the
delta-function term ``<phi'' phi>/2``, which is not zero.
"""

from __future__ import annotations

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.activations.arcsine import ArcCorrelation, Area


def rectifier_law(name: str, negative_slope: sp.Expr) -> ActivationLaw:
    """Return the law of the rectifier with the given slope for negative arguments."""
    even = (1 + negative_slope) ** 2 / 4
    kinked = (1 - negative_slope) ** 2 / (2 * sp.pi)

    def pair(k11: sp.Expr, k12: sp.Expr, k22: sp.Expr) -> sp.Expr:
        folded = Area(k11, k22, k12) + k12 * ArcCorrelation(k11, k22, k12)
        return even * k12 + kinked * folded

    return ActivationLaw(
        name=name,
        expression=sp.Max(X, negative_slope * X),
        pair=pair,
        variance=lambda k: (1 + negative_slope**2) / 2 * k,
        mean=lambda k: (1 - negative_slope) * sp.sqrt(k / (2 * sp.pi)),
        kinks=(sp.Integer(0),),
        citations=("cho2009",),
    )


RELU = rectifier_law("relu", sp.Integer(0))
LEAKY_RELU = rectifier_law("leaky_relu", sp.Rational(1, 100))
