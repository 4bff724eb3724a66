r"""Error functions ``erf(a x)``, with the arcsine kernel of Williams (1997).

With ``q = 2 a^2``,

    <phi_1 phi_2> = (2/pi) arcsin( q K12 / sqrt((1 + q K11)(1 + q K22)) ).

Two are registered: ``erf`` (``a = 1``) and ``erf_unit`` (``a = sqrt(pi)/2``, slope one at the
origin, the one Fischer, Dahmen & Helias use).
"""

from __future__ import annotations

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.activations.arcsine import ArcCorrelation


def erf_law(name: str, slope: sp.Expr) -> ActivationLaw:
    """Return the law of ``erf(slope * x)``."""
    q = sp.expand(2 * slope**2)

    def pair(k11: sp.Expr, k12: sp.Expr, k22: sp.Expr) -> sp.Expr:
        return 2 / sp.pi * ArcCorrelation(1 + q * k11, 1 + q * k22, q * k12)

    return ActivationLaw(
        name=name,
        expression=sp.erf(slope * X),
        pair=pair,
        variance=lambda k: pair(k, k, k),
        mean=lambda k: sp.Integer(0),
        citations=("williams1997",),
    )


ERF = erf_law("erf", sp.Integer(1))
ERF_UNIT = erf_law("erf_unit", sp.sqrt(sp.pi) / 2)
