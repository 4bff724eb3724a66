r"""Root-mean-square normalisation: every column over the root of its mean square.

    y_i = gamma x_i / sqrt(s + eps) + beta,     s = (1/N) sum_j x_j^2

At infinite width ``K'_pq = gamma^2 K_pq / (s_p s_q) + gamma beta (m_p / s_p + m_q / s_q) + beta^2``
with ``s_p^2 = K_pp + eps``.
"""

from __future__ import annotations

import sympy as sp

from resexpand.network.layer_norm import AFFINE, BIAS, EPS, GAIN
from resexpand.network.operation import Map, X

SQUARE = sp.Symbol("s", nonnegative=True)


class RMSNorm(Map):
    """Root-mean-square normalisation over the N neurons.

    Parameters
    ----------
    eps : number or sympy.Expr, optional
        Added to the mean square, ``>= 0``; 0 by default.
    gain, bias : number or sympy.Expr, optional
        Constants, the same at every neuron; 1 and 0 by default (`LayerNorm`).

    Raises
    ------
    DescriptionError
        If eps is negative, or a parameter is not a finite real number or symbol.

    References
    ----------
    Zhang & Sennrich (2019), equation (4).

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, RMSNorm, evaluate, kernel
    >>> net = ResNet(Branch(RMSNorm(), Activation("relu"), Linear(2, 0)), scale=1, depth=2)
    >>> evaluate(kernel(net), K0=4.0)["K"]
    array([4., 5., 6.])
    """

    kind = "RMSNorm"
    parameters = AFFINE
    sources = ("zhang2019",)
    averages = ((SQUARE, X**2),)
    expression = GAIN * X / sp.sqrt(SQUARE + EPS) + BIAS
