"""A constant factor: of a branch or of a part of it, beside the residual scale of the network."""

from __future__ import annotations

import sympy as sp

from resexpand.network.operation import Map, Parameter, X

FACTOR = sp.Symbol("c", real=True)


class Scale(Map):
    """Multiply every neuron by a constant, ``x -> factor x``.

    Parameters
    ----------
    factor : number, sympy.Expr, or a list of one per block
        The constant.

    Raises
    ------
    DescriptionError
        If the factor is missing, or no finite real number or symbol.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, Scale, evaluate, kernel
    >>> net = ResNet(Branch(Activation("relu"), Linear(2, 0), Scale(2)), scale=1, depth=2)
    >>> evaluate(kernel(net), K0=1.0)["K"]
    array([ 1.,  5., 25.])
    """

    kind = "Scale"
    parameters = (Parameter(FACTOR, "factor"),)
    expression = FACTOR * X
