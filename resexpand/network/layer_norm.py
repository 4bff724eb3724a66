r"""Layer normalisation: every column minus its mean, over its standard deviation.

    y_i = gamma (x_i - m) / sqrt(s + eps) + beta,
    m = (1/N) sum_j x_j,    s = (1/N) sum_j (x_j - m)^2.

At infinite width, ``K_pq`` being raw second moments and ``m_p`` means over the neurons,

    K'_pq = gamma^2 (K_pq - m_p m_q) / (s_p s_q) + beta^2,     s_p^2 = K_pp - m_p^2 + eps.

Behind a `Linear` the mean is zero there and the operation is `RMSNorm`; at order 1/N, and behind an
activation, the two differ.
"""

from __future__ import annotations

import sympy as sp

from resexpand.network.operation import Map, Parameter, X

EPS = sp.Symbol("eps", nonnegative=True)
GAIN, BIAS = sp.Symbol("gamma", real=True), sp.Symbol("beta", real=True)
MEAN, VARIANCE = sp.Symbol("m", real=True), sp.Symbol("s", nonnegative=True)

AFFINE = (
    Parameter(EPS, minimum=0, default=0),
    Parameter(GAIN, "gain", default=1, neutral=1),
    Parameter(BIAS, "bias", default=0, neutral=0),
)
"""Parameters of normalisations."""


class LayerNorm(Map):
    """Layer normalisation over the N neurons, with the biased variance as in PyTorch.

    Parameters
    ----------
    eps : number or sympy.Expr, optional
        Added to the variance, ``>= 0``; 0 by default (PyTorch: 1e-5).
    gain, bias : number or sympy.Expr, optional
        Constants, the same at every neuron, as PyTorch initialises them: 1 and 0. A gain or bias
        drawn at every neuron is not described by them. A bias other than 0 shifts what follows: an
        activation directly behind it is refused; write ``Activation("tanh(x + 0.1)")`` instead.

    Raises
    ------
    DescriptionError
        If eps is negative, or a parameter is not a finite real number or symbol.

    References
    ----------
    Ba, Kiros & Hinton (2016), equation (3).

    Examples
    --------
    >>> from resexpand import Activation, Branch, LayerNorm, Linear, ResNet, evaluate, kernel
    >>> net = ResNet(Branch(LayerNorm(), Activation("relu"), Linear(2, 0)), scale=1, depth=2)
    >>> evaluate(kernel(net), K0=1.0)["K"]
    array([1., 2., 3.])
    """

    kind = "LayerNorm"
    parameters = AFFINE
    sources = ("ba2016",)
    averages = ((MEAN, X), (VARIANCE, (X - MEAN) ** 2))
    expression = GAIN * (X - MEAN) / sp.sqrt(VARIANCE + EPS) + BIAS
