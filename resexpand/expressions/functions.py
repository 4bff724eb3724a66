"""The functions and constants that an expression may name.

Each function stands here twice: on SymPy expressions, which is its meaning, and on Python floats,
which only guards constant arguments (real, not too large) before SymPy sees them. At a jump,
``sign(0) = 0`` and ``heaviside(0) = 1/2``, as in SymPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import sympy as sp


@dataclass(frozen=True)
class Function:
    """One function of the language.

    Parameters
    ----------
    build : callable
        SymPy arguments to SymPy expression.
    value : callable
        The same on Python floats; it may raise ValueError or ArithmeticError off its domain.
    arity : int or None
        Number of arguments; None for any number from one.
    """

    build: Callable[..., sp.Expr]
    value: Callable[..., float]
    arity: int | None = 1


def _sigmoid(x: sp.Expr) -> sp.Expr:
    return 1 / (1 + sp.exp(-x))


def _gelu(x: sp.Expr) -> sp.Expr:
    return x * (1 + sp.erf(x / sp.sqrt(2))) / 2


_HALF, _SIXTH = sp.Rational(1, 2), sp.Rational(1, 6)
# PyTorch's constants of SELU, as it prints them.
_SELU_SCALE = sp.Rational("1.0507009873554804934193349852946")
_SELU_ALPHA = sp.Rational("1.6732632423543772848170429916717")


def _softplus(x: sp.Expr) -> sp.Expr:
    return sp.log(1 + sp.exp(x))


def _elu(x: sp.Expr) -> sp.Expr:
    return sp.Piecewise((x, x > 0), (sp.exp(x) - 1, True))


def _clipped(x: sp.Expr, low: sp.Expr, high: sp.Expr) -> sp.Expr:
    return sp.Max(low, sp.Min(high, x))


def _hardsigmoid(x: sp.Expr) -> sp.Expr:
    return _clipped(x * _SIXTH + _HALF, sp.S.Zero, sp.S.One)


def _outside(x: sp.Expr) -> sp.Expr:
    """Return the part of a number beyond one half of size, zero inside."""
    return sp.Max(0, x - _HALF) + sp.Min(0, x + _HALF)


def _sinc(x: sp.Expr) -> sp.Expr:
    """Return sin(x)/x, near zero by its series, to 27 digits: the quotient cancels there."""
    if not x.free_symbols:
        return sp.sin(x) / x if x != 0 else sp.S.One
    series = sp.Add(*((-1) ** n * x ** (2 * n) / sp.factorial(2 * n + 1) for n in range(13)))
    return sp.Piecewise((series, sp.Abs(x) < 1), (sp.sin(x) / x, True))


def _asinh(x: sp.Expr) -> sp.Expr:
    """Return asinh(x) without the cancellation of log(x + sqrt(1 + x^2)) at negative x."""
    size = sp.Abs(x)
    return sp.sign(x) * sp.log(1 + (size + x**2 / (1 + sp.sqrt(1 + x**2))))


def _sign(x: float) -> float:
    return float((x > 0) - (x < 0))


_TABLE: dict[str, Function] = {
    "exp": Function(sp.exp, math.exp),
    "log": Function(sp.log, math.log),
    "sqrt": Function(sp.sqrt, math.sqrt),
    "erf": Function(sp.erf, math.erf),
    "erfc": Function(sp.erfc, math.erfc),
    "sin": Function(sp.sin, math.sin),
    "cos": Function(sp.cos, math.cos),
    "tan": Function(sp.tan, math.tan),
    "sinh": Function(sp.sinh, math.sinh),
    "cosh": Function(sp.cosh, math.cosh),
    "tanh": Function(sp.tanh, math.tanh),
    "asinh": Function(_asinh, math.asinh),
    "sinc": Function(_sinc, lambda x: math.sin(x) / x if x else 1.0),
    "asin": Function(sp.asin, math.asin),
    "acos": Function(sp.acos, math.acos),
    "atan": Function(sp.atan, math.atan),
    "abs": Function(sp.Abs, abs),
    "sign": Function(sp.sign, _sign),
    "heaviside": Function(sp.Heaviside, lambda x: (1 + _sign(x)) / 2),
    "max": Function(sp.Max, lambda *x: max(x), None),
    "min": Function(sp.Min, lambda *x: min(x), None),
    "relu": Function(lambda x: sp.Max(0, x), lambda x: max(0.0, x)),
    "sigmoid": Function(_sigmoid, lambda x: 1 / (1 + math.exp(-x))),
    "softplus": Function(_softplus, lambda x: math.log1p(math.exp(x))),
    "silu": Function(lambda x: x * _sigmoid(x), lambda x: x / (1 + math.exp(-x))),
    "gelu": Function(_gelu, lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2),
    "elu": Function(_elu, lambda x: x if x > 0 else math.expm1(x)),
    "selu": Function(
        lambda x: _SELU_SCALE * sp.Piecewise((x, x > 0), (_SELU_ALPHA * (sp.exp(x) - 1), True)),
        lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    ),
    "mish": Function(
        lambda x: x * sp.tanh(_softplus(x)), lambda x: x * math.tanh(math.log1p(math.exp(x)))
    ),
    "softsign": Function(lambda x: x / (1 + sp.Abs(x)), lambda x: x / (1 + abs(x))),
    "logsigmoid": Function(lambda x: -_softplus(-x), lambda x: -math.log1p(math.exp(-x))),
    "tanhshrink": Function(lambda x: x - sp.tanh(x), lambda x: x - math.tanh(x)),
    "hardtanh": Function(
        lambda x: _clipped(x, sp.S.NegativeOne, sp.S.One), lambda x: max(-1.0, min(1.0, x))
    ),
    "relu6": Function(
        lambda x: _clipped(x, sp.S.Zero, sp.Integer(6)), lambda x: max(0.0, min(6.0, x))
    ),
    "hardsigmoid": Function(_hardsigmoid, lambda x: max(0.0, min(1.0, x / 6 + 0.5))),
    "hardswish": Function(
        lambda x: x * _hardsigmoid(x), lambda x: x * max(0.0, min(1.0, x / 6 + 0.5))
    ),
    "softshrink": Function(_outside, lambda x: max(0.0, x - 0.5) + min(0.0, x + 0.5)),
    "hardshrink": Function(
        lambda x: sp.Piecewise((x, sp.Abs(x) > _HALF), (0, True)),
        lambda x: x if abs(x) > 0.5 else 0.0,
    ),
}

_SPELLINGS = {
    "ln": "log",
    "Abs": "abs",
    "Heaviside": "heaviside",
    "Max": "max",
    "Min": "min",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "swish": "silu",
    "arcsinh": "asinh",
    "celu": "elu",
}

FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    _TABLE | {name: _TABLE[meaning] for name, meaning in _SPELLINGS.items()}
)
"""Every function name that an expression may use, other spellings included."""

NAMES: tuple[str, ...] = tuple(_TABLE)
"""One name per function, for messages."""

CONSTANTS: Mapping[str, sp.Expr] = MappingProxyType({"pi": sp.pi, "E": sp.E})
"""Every constant that an expression may name."""
