"""The dense linear operation, a contraction over the neurons with fresh Gaussian weights.

Weights ``W_ij ~ N(0, weight_variance / fan_in)`` and biases ``b_i ~ N(0, bias_variance)``; either
variance is a number or a SymPy symbol or expression. Numbers are kept exact:
``Linear(weight_variance=1.2)`` has the variance 6/5.
"""

from __future__ import annotations

from resexpand.conventions import SIGMA_B2, SIGMA_W2
from resexpand.network.operation import Contraction, Parameter


class Linear(Contraction):
    """A dense linear operation with Gaussian weights and biases.

    Parameters
    ----------
    weight_variance : number or sympy.Expr, optional
        Variance of a weight times the fan-in, ``>= 0``. The symbol ``sigma_w2`` by default.
    bias_variance : number or sympy.Expr, optional
        Variance of a bias, ``>= 0``. The symbol ``sigma_b2`` by default.

    Raises
    ------
    DescriptionError
        If a variance is negative or not finite.
    """

    kind = "Linear"
    parameters = (
        Parameter(SIGMA_W2, "weight_variance", minimum=0, default=SIGMA_W2),
        Parameter(SIGMA_B2, "bias_variance", minimum=0, default=SIGMA_B2),
    )
