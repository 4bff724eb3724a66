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
from decimal import Decimal
from numbers import Rational
from typing import Any, cast

import numpy as np
import sympy as sp
from sympy.core.function import Application
from sympy.functions.elementary.piecewise import ExprCondPair
from sympy.logic.boolalg import Boolean

from resexpand.errors import HyperparameterError

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


SCALAR = (
    *(sp.Number, sp.NumberSymbol, sp.Symbol, type(sp.I), type(sp.zoo), sp.CRootOf),
    *(sp.Add, sp.Mul, sp.Pow, Application, ExprCondPair, Boolean),
)
"""Kinds of nodes a scalar expression is made of."""

NO_REALS = (bool, np.bool_, np.timedelta64, type, complex, np.complexfloating)
"""Types that Python or NumPy would convert to a float, and which are no real numbers."""

PENDING = (sp.Integral, sp.Sum, sp.Product, sp.Derivative, sp.Limit, sp.Subs)


def detached(value: Any) -> Any:
    """Return a trainable tensor without its gradient, anything else as it is."""
    return value.detach() if hasattr(value, "detach") else value


def unwrapped(value: Any) -> Any:
    """Return a tensor without its gradient, and an array without axes as the number it holds."""
    value = detached(value)
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if getattr(value, "ndim", None) or kind in ("m", "M") or hasattr(value, "mask"):
        return value
    return value.item() if hasattr(value, "ndim") and hasattr(value, "item") else value


def exact(value: object, *, indexed: bool = False) -> sp.Expr:
    """Turn a number into an exact SymPy number by its shortest decimal; leave symbols alone.

    Parameters
    ----------
    value : number or sympy.Expr
        ``0.1`` becomes ``1/10``: what the user wrote, not its binary neighbour.
    indexed : bool
        Whether entries of a `sympy.IndexedBase` may occur, as in the scales of an expansion.

    Returns
    -------
    sympy.Expr

    Raises
    ------
    TypeError
        If the value is neither a real number nor a scalar SymPy expression: an unevaluated
        integral, a matrix and a relation are none.
    """
    value = unwrapped(value)
    if isinstance(value, sp.Basic | sp.MatrixBase):
        return _scalar(value, indexed)
    is_odd = (
        isinstance(value, NO_REALS) or bool(getattr(value, "ndim", 0)) or hasattr(value, "mask")
    )
    if is_odd or not hasattr(value, "__float__"):
        raise TypeError(f"expected a number or a SymPy expression, got {value!r}")
    if isinstance(value, Rational):
        return sp.Rational(int(value.numerator), int(value.denominator))
    if isinstance(value, Decimal) and value.is_finite():
        return sp.Rational(*value.as_integer_ratio())
    number = float(cast(float, value))
    if not math.isfinite(number):
        return sp.Float(number)
    return sp.Rational(repr(number))


def is_symbolic(value: object, name: str) -> bool:
    """Whether a number of blocks or labels is left as an expression with symbols.

    Raises
    ------
    HyperparameterError
        If it is a SymPy object that is no scalar expression.
    """
    if not isinstance(value, sp.Basic | sp.MatrixBase):
        return False
    try:
        return not exact(value).is_number
    except TypeError as error:
        raise HyperparameterError(
            f"{name} = {value}", str(error), "give an integer or a SymPy symbol"
        ) from None


def _scalar(value: sp.Basic | sp.MatrixBase, indexed: bool) -> sp.Expr:
    """Return a scalar expression with exact numbers, or name the part that is not scalar."""
    if not isinstance(value, sp.Expr):
        raise TypeError(f"expected a scalar expression, got the {type(value).__name__} {value}")
    allowed = (*SCALAR, sp.Indexed) if indexed else SCALAR
    parts, seen = [value], set()
    while parts:
        part = parts.pop()
        if not isinstance(part, allowed) or isinstance(part, sp.MatrixExpr):
            kind = type(part).__name__
            hint = "; evaluate it first, for instance by .doit()" if part.has(*PENDING) else ""
            raise TypeError(f"expected a scalar expression, it holds the {kind} {part}{hint}")
        if part.is_commutative is False or _has_gap(part):
            why = "does not commute" if part.is_commutative is False else "is undefined somewhere"
            raise TypeError(f"expected a scalar expression, {part} {why}")
        if part not in seen and not isinstance(part, sp.Indexed | sp.CRootOf):
            seen.add(part)
            parts += part.args
    floats: dict[sp.Basic, sp.Basic] = {f: sp.Rational(str(f)) for f in value.atoms(sp.Float)}
    return value.xreplace(floats)


def is_on_device(value: object) -> bool:
    """Whether an array lies on a GPU: whether it has ``__cuda_array_interface__``."""
    return hasattr(value, "__cuda_array_interface__")


def _has_gap(part: sp.Basic) -> bool:
    """Whether the conditions of a Piecewise leave out a part of the line, as far as can be seen."""
    if not isinstance(part, sp.Piecewise):
        return False
    if any(value is sp.nan for value, _ in part.args):
        return True
    covered = sp.Or(*(condition for _, condition in part.args))
    if len(covered.free_symbols) != 1:
        return bool(covered == sp.false)
    try:
        return bool(covered.as_set() != sp.S.Reals)
    except NotImplementedError:
        return False
