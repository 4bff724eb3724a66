r"""Sign: ``<sign x_1 sign x_2> = (2/pi) arcsin(K12 / sqrt(K11 K22))``, the arcsine law.

The function jumps at the origin. Its variance response vanishes, because ``<sign(x)^2> = 1``; a
tangent through it does not exist.
"""

from __future__ import annotations

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.activations.arcsine import ArcCorrelation

SIGN = ActivationLaw(
    name="sign",
    expression=sp.sign(X),
    pair=lambda k11, k12, k22: 2 / sp.pi * ArcCorrelation(k11, k22, k12),
    variance=lambda k: sp.Integer(1),
    mean=lambda k: sp.Integer(0),
    jumps=(sp.Integer(0),),
    citations=("price1958",),
)
