r"""Proved bounds on all derivatives of smooth activations, and of blocks made of them.

For a block ``f(h) = W phi(h) + b`` in the sup norm

    D^m f(h)[v_1, ..., v_m] = W (phi^(m)(h) * v_1 * ... * v_m),
    |D^m f(h)| <= |W| sup |phi^(m)|,   |W| = largest sum of |W_ij| over a row,

whatever the width. The rest is one-dimensional: ``B_m`` below bounds ``|phi^(m)|`` on the whole
real line for ``m >= 1``, and ``lam(s) = sum over odd j of j^-s = (1 - 2^-s) zeta(s)``.

tanh
    ``tanh z = sum_p 1/(z - p)`` over its poles ``p = +-i pi/2, +-3 i pi/2, ...``; the distance of
    a real point to a pole is at least ``|p|``. Differentiating term by term,
    ``B_m = m! sum_p |p|^-(m+1) = (4/pi) lam(m+1) m! (2/pi)^m``, which does not exceed
    ``(pi/2) m!/(pi/2)^m`` since ``lam(m+1) <= lam(2) = pi^2/8``. Attained at 0 for odd m.
sigmoid
    ``(1 + tanh(x/2))/2``: the above with ``m``-th derivatives halved ``m + 1`` times.
silu
    ``x sigmoid(x)``. With the poles ``p`` of the sigmoid (residue 1, odd multiples of ``i pi``),
    ``z/(z - p) = 1 + p/(z - p)``, so for ``m >= 2``
    ``B_m = m! sum_p |p|^-m = 2 lam(m) m!/pi^m``, attained at 0 for even m. For ``m = 1``: the
    derivative at ``x`` and ``-x`` adds up to 1 and is largest where ``x tanh(x/2) = 2``, where it
    is ``1/2 + x/4``; as ``x tanh(x/2)`` increases and exceeds 2 at 2.4, ``B_1 = 11/10``.
erf
    From ``exp(-x^2) = 1/(2 sqrt(pi)) int exp(-t^2/4 + i t x) dt``, differentiated under the
    integral, ``B_m = 2^m Gamma(m/2)/pi``, attained at 0 for odd m. With ``c_m = B_m r^m/m!``,
    ``c_{m+2}/c_m = 2 r^2 m/((m+1)(m+2))``; at ``r = sqrt(3)`` this is ``<= 1`` for all m, so that
    all ``c_m <= max(c_1, c_2) = c_1 = 2 sqrt(3/pi)``.
gelu
    ``x Phi(x)``. For ``m >= 2`` the derivative is ``(He_{m-2} - He_m)`` times the normal density up
    to sign; by the same integral ``B_m = m 2^((m-1)/2) Gamma((m-1)/2)/(2 pi)``, attained at 0 for
    even m. ``B_1`` is the value at ``sqrt(2)``, the only zero of the second derivative on the
    right, and the derivative at ``x`` and ``-x`` adds up to 1. At ``r = sqrt(6)``,
    ``c_{m+2}/c_m = r^2 (m-1)/(m(m+1)) <= 1`` from ``m = 2`` on, so ``c_m <= max(c_1, c_2, c_3)``.
sin
    ``B_m = 1``.

The first `SHARP` orders use ``B_m`` itself, the rest the family. Order 0 is a bound on the whole
line where there is one; silu and gelu grow like ``|x|``, and need the input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import sympy as sp

from resexpand.errors import UnsupportedError
from resexpand.network.activation import Activation

SHARP = 9
"""Orders 0 .. SHARP - 1 are bounded one by one."""


@dataclass(frozen=True)
class DerivativeLaw:
    """Bounds on the derivatives of an activation.

    Attributes
    ----------
    kind : {"analytic", "entire"}
        Family of the bounds of high order.
    M, R : sympy.Expr
        Its parameters, valid from order 1 on.
    bound : callable
        ``m -> B_m`` for ``m >= 1``.
    value : sympy.Expr or None
        Bound of the function on the whole line; None if it has none.
    """

    kind: str
    M: sp.Expr
    R: sp.Expr
    bound: Callable[[int], sp.Expr]
    value: sp.Expr | None

    def of_argument(self, slope: sp.Expr, factor: sp.Expr, shift: sp.Expr) -> DerivativeLaw:
        """Return the law of ``shift + factor * phi(slope * x + anything)``."""
        steep, high = abs(slope), abs(factor)
        return DerivativeLaw(
            self.kind,
            high * self.M,
            self.R / steep,
            lambda m: high * steep**m * self.bound(m),
            None if self.value is None else abs(shift) + high * self.value,
        )


def odd_zeta(s: int) -> sp.Expr:
    """Return ``sum over odd j of j^-s``, ``s >= 2``."""
    return (1 - sp.Rational(1, 2**s)) * sp.zeta(s)


def _gelu_bound(m: int) -> sp.Expr:
    if m == 1:
        return (1 + sp.erf(1)) / 2 + sp.exp(-1) / sp.sqrt(sp.pi)
    half = sp.Rational(m - 1, 2)
    return m * 2**half * sp.gamma(half) / (2 * sp.pi)


_TANH = DerivativeLaw(
    "analytic",
    sp.pi / 2,
    sp.pi / 2,
    lambda m: 4 / sp.pi * odd_zeta(m + 1) * sp.factorial(m) * (2 / sp.pi) ** m,
    sp.Integer(1),
)
_ERF = DerivativeLaw(
    "analytic",
    2 * sp.sqrt(3 / sp.pi),
    sp.sqrt(3),
    lambda m: 2**m * sp.gamma(sp.Rational(m, 2)) / sp.pi,
    sp.Integer(1),
)
_SINE = DerivativeLaw("entire", sp.Integer(1), sp.Integer(1), lambda m: sp.Integer(1), sp.S.One)
_SILU = DerivativeLaw(
    "analytic",
    sp.Rational(11, 10) * sp.pi,
    sp.pi,
    lambda m: sp.Rational(11, 10) if m == 1 else 2 * odd_zeta(m) * sp.factorial(m) / sp.pi**m,
    None,
)
_GELU = DerivativeLaw("analytic", _gelu_bound(1) * sp.sqrt(6), sp.sqrt(6), _gelu_bound, None)
_HALF = sp.Rational(1, 2)
_SIGMOID = replace(_TANH.of_argument(_HALF, _HALF, _HALF), value=sp.Integer(1))

BY_NAME = {"silu": _SILU, "gelu": _GELU}
BY_HEAD = {sp.tanh: _TANH, sp.erf: _ERF, sp.sin: _SINE, sp.cos: _SINE}


def derivative_law(activation: Activation) -> DerivativeLaw:
    """Return proved bounds on the derivatives of an activation.

    Known are ``tanh``, ``erf``, ``sin``, ``cos`` and the sigmoid ``1/(1 + exp(-x))``, their
    arguments linear functions of ``x`` and their values scaled and shifted; ``silu`` and ``gelu``.

    Raises
    ------
    UnsupportedError
        If nothing is proved about it, or it is not smooth.

    Examples
    --------
    >>> derivative_law(Activation("tanh")).bound(1)
    1
    """
    asked = f"bounds on the derivatives of {activation.name}"
    if activation.kinks or activation.jumps:
        raise UnsupportedError(
            asked,
            "it is not smooth, so that its Taylor form ends to hold at the first gate that flips",
            "use gated_path_sum(), which is exact for every scale, if it is piecewise linear",
        )
    if sp.diff(activation.expression, activation.variable, 2) == 0:
        raise UnsupportedError(
            asked,
            "it is affine: the expansion is a finite sum over chains, and nothing is neglected "
            "from the order of the depth on",
            "use gated_path_sum(), which lists them",
        )
    if activation.name in BY_NAME:
        return BY_NAME[activation.name]
    found = _of_expression(activation.expression, activation.variable)
    if found is None:
        raise UnsupportedError(
            asked,
            "none are proved here for derivatives of every order; known are tanh, erf, sin, cos "
            "and 1/(1 + exp(-x)) of linear functions of x, silu and gelu",
            "give your own: Majorant.analytic(M, R) means |D^m f| <= M m!/R^m, "
            "Majorant.entire(M, R) means |D^m f| <= M/R^m",
        )
    return found


def _of_expression(expression: sp.Expr, x: sp.Symbol) -> DerivativeLaw | None:
    """Return the law of ``shift + factor * phi(slope * x + offset)``, None if it is not that."""
    shift, rest = expression.as_independent(x, as_Add=True)
    factor, inner = rest.as_independent(x, as_Add=False)
    if inner.func in BY_HEAD:
        law, argument = BY_HEAD[inner.func], inner.args[0]
    elif inner.is_Pow and inner.exp == -1 and (inner.base - 1).func == sp.exp:
        law, argument = _SIGMOID, (inner.base - 1).args[0]
    else:
        return None
    slope = argument.diff(x)
    if slope.has(x) or slope.is_zero:
        return None
    return law.of_argument(slope, factor, shift)
