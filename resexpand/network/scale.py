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
    """

    kind = "Scale"
    parameters = (Parameter(FACTOR, "factor"),)
    expression = FACTOR * X
