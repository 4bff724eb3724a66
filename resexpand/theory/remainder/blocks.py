"""`majorant_of`: a proved majorant of the blocks of a network with given weights."""

from __future__ import annotations

from typing import Any

import sympy as sp

from resexpand.errors import UnsupportedError
from resexpand.network.activation import Activation
from resexpand.network.operation import Map
from resexpand.theory.remainder.derivative_laws import SHARP, DerivativeLaw, derivative_law
from resexpand.theory.remainder.majorant import Majorant
from resexpand.theory.remainder.norms import check_shapes, largest, row_norm


def majorant_of(
    activation: Activation | str,
    weights: Any,
    biases: Any = None,
    *,
    x: Any = None,
    inner: Any = None,
) -> Majorant:
    """Return a proved majorant of the blocks ``W phi(h) + b`` in the sup norm.

    Parameters
    ----------
    activation : Activation or str
        One that `derivative_law` knows.
    weights : array_like, shape (N, N) or (n, N, N), or sympy.Matrix
        Weights of one block or of all blocks. The bounds hold for all of them.
    biases : array_like, shape (N,) or (n, N), optional
        Biases ``b``; zero by default.
    x : array_like, shape (N,), optional
        Input of the network. It sharpens the bound of order 0, and is needed where the activation
        has no bound on the whole line (silu, gelu).
    inner : array_like, shape (M, N) or (n, M, N), optional
        For blocks ``V phi(W h) + b`` the inner weights ``W``; `weights` are then ``V``, (N, M).

    Returns
    -------
    Majorant
        Numbers computed from weights are rounded up to ten digits.

    Raises
    ------
    UnsupportedError
        If nothing is proved about the activation, or it is unbounded and `x` is not given.
    DescriptionError
        If weights, biases or input are not finite numbers, or their shapes do not fit.

    Examples
    --------
    >>> print(majorant_of("sin", [[1, -2], [0, 1]]))
    |D^m f| <= M/R^m with M = 3, R = 1
    """
    chosen = activation if isinstance(activation, Map) else Activation(activation)
    law = derivative_law(chosen)
    check_shapes(weights, biases, x, inner)
    outer = row_norm(weights, "weights")
    steep = sp.Integer(1) if inner is None else row_norm(inner, "inner weights")
    shift = sp.Integer(0) if biases is None else largest(biases, "biases")
    size = None if x is None else steep * largest(x, "the input")
    start = outer * _value_bound(chosen, law, size) + shift
    note = f"|W| = {outer} in the sup norm, derivatives of {chosen.name} bounded on the real line"
    if outer.is_zero or steep.is_zero:
        return Majorant.entire(sp.Max(start, 1), 1, bounds=(start, *[0] * SHARP))
    sharp = tuple(outer * steep**m * law.bound(m) for m in range(1, SHARP))
    plain = law.kind == "entire" and start == outer * law.M
    return Majorant(law.kind, outer * law.M, law.R / steep, () if plain else (start, *sharp), note)


def _value_bound(activation: Activation, law: DerivativeLaw, size: sp.Expr | None) -> sp.Expr:
    """Return a bound of ``|phi|`` on the line, or for arguments up to a size."""
    if size is None:
        if law.value is None:
            raise UnsupportedError(
                f"a bound of {activation.name} itself",
                "it grows without bound",
                "give the input of the network as x=...",
            )
        return law.value
    at_zero = abs(activation.expression.subs(activation.variable, 0))
    local = at_zero + law.bound(1) * size
    return local if law.value is None else sp.Min(local, law.value)
