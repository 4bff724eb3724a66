"""Symbols and normalisations, stated once.

A residual network of depth ``L`` and width ``N`` acts on inputs ``alpha, beta, ...`` as

    h^l = h^{l-1} + rho * branch(h^{l-1}),   l = 1 .. L,

with fresh weights ``W_ij ~ N(0, sigma_w2 / fan_in)`` and biases ``b_i ~ N(0, sigma_b2)`` in every
layer. Covariance kernels are normalised by the width, ``K = lim h.h / N``; the weight variance
``sigma_w2`` is therefore of order one. Layer indices start at 0 for the stream ``h`` and at 1 for
the blocks. All symbols below are real and non-negative except `RHO`.
"""

from __future__ import annotations

import math
from numbers import Rational

import sympy as sp

RHO = sp.Symbol("rho", real=True)
"""Residual scale: the factor in front of every residual branch."""

SIGMA_W2 = sp.Symbol("sigma_w2", positive=True)
"""Weight variance times fan-in of a `Linear` operation."""

SIGMA_B2 = sp.Symbol("sigma_b2", nonnegative=True)
"""Bias variance of a `Linear` operation."""

DEPTH = sp.Symbol("L", integer=True, positive=True)
"""Number of residual blocks."""

WIDTH = sp.Symbol("N", integer=True, positive=True)
"""Neurons per layer."""

K = sp.Symbol("K", positive=True)
"""Covariance kernel of one input at some layer."""

PAIR = (
    sp.Symbol("K_11", positive=True),
    sp.Symbol("K_12", real=True),
    sp.Symbol("K_22", positive=True),
)
"""Covariance kernel of two inputs: the entries 11, 12 and 22."""

K0 = sp.Symbol("K0", positive=True)
"""Covariance kernel of one input at layer 0."""

PAIR0 = (
    sp.Symbol("K0_11", positive=True),
    sp.Symbol("K0_12", real=True),
    sp.Symbol("K0_22", positive=True),
)
"""Covariance kernel of two inputs at layer 0."""


def exact(value: object) -> sp.Expr:
    """Turn a number into an exact SymPy number by its shortest decimal; leave symbols alone.

    Parameters
    ----------
    value : number or sympy.Expr
        ``0.1`` becomes ``1/10``: what the user wrote, not its binary neighbour.

    Returns
    -------
    sympy.Expr

    Raises
    ------
    TypeError
        If the value is neither a number nor a SymPy expression.
    """
    if isinstance(value, sp.Expr):
        return value.xreplace({f: sp.Rational(str(f)) for f in value.atoms(sp.Float)})
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"expected a number or a SymPy expression, got {value!r}")
    if isinstance(value, Rational):
        return sp.Rational(int(value.numerator), int(value.denominator))
    number = float(value)
    if not math.isfinite(number):
        return sp.Float(number)
    return sp.Rational(repr(number))
