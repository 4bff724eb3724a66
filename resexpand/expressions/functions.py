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
    "softplus": Function(lambda x: sp.log(1 + sp.exp(x)), lambda x: math.log1p(math.exp(x))),
    "silu": Function(lambda x: x * _sigmoid(x), lambda x: x / (1 + math.exp(-x))),
    "gelu": Function(_gelu, lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2),
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
}

FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    _TABLE | {name: _TABLE[meaning] for name, meaning in _SPELLINGS.items()}
)
"""Every function name that an expression may use, other spellings included."""

NAMES: tuple[str, ...] = tuple(_TABLE)
"""One name per function, for messages."""

CONSTANTS: Mapping[str, sp.Expr] = MappingProxyType({"pi": sp.pi, "E": sp.E})
"""Every constant that an expression may name."""
