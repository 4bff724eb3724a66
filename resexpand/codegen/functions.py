"""The one table of functions: what generated code may call, where it is valid, how exact it is.

Each entry joins a SymPy head to the plain scalar function of `resexpand.codegen.elementary` that
computes it, and states the largest error found, in units in the last place of the nearest double.
An error of one unit is a relative error between 1.1e-16 and 2.2e-16.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import sympy as sp
from mpmath import mp

from resexpand.codegen.closed_functions import CLOSED_AVERAGES
from resexpand.codegen.function_entry import FunctionEntry, Span, entry
from resexpand.errors import UnsupportedError
from resexpand.expressions.accurate import Expm1, Log1p


def _line(low: float, high: float) -> tuple[Span]:
    return (Span(low, high),)


def _sizes(low: float, high: float, *, signed: bool = True) -> tuple[Span]:
    return (Span(low, high, magnitudes=True, signed=signed),)


def _two(low: float, high: float) -> tuple[Span, Span]:
    return (Span(low, high), Span(low, high))


_REAL = "all real numbers"
_TINY = _sizes(1e-300, 1e-3)
_PLANE = (Span(1e-6, 1e6, True, True), Span(1e-6, 1e6, True, True))

_EDGE = "|x| <= 1e7; beyond, that of an argument one unit wrong; NaN from 2**50 on"
_SIGNED = (_line(-9, 9), _TINY)
_WAVE = (_line(-10, 10), _sizes(1e-3, 1e7), _TINY)

# fmt: off
_ENTRIES = (
    entry("exponential", "exp", "all real numbers; inf above 709.78, 0 below -745.13", 1.1,
          _line(-745, 709.7), _line(-3, 3), _TINY),
    entry("exponential", "expm1", "all real numbers; exp(x) - 1, inf above 709.78", 2.0,
          _line(-40, 709.7), _line(-2, 2), _TINY, head=Expm1),
    entry("exponential", "sinh", "all real numbers; infinite beyond 710.47", 2.2,
          _line(-710, 710), _line(-2, 2), _TINY),
    entry("exponential", "cosh", "all real numbers; inf beyond 710.47", 1.5,
          _line(-710, 710), _line(-2, 2), _TINY),
    entry("exponential", "tanh", _REAL, 1.6, _line(-20, 20), _line(-1, 1), _TINY),
    entry("logarithm", "log", "x >= 0, -inf at 0; NaN for negative x", 1.0,
          _sizes(1e-320, 1e308, signed=False), _line(0.5, 2), _line(0.999, 1.001)),
    entry("logarithm", "log1p", "x >= -1; log(1 + x), -inf at -1; NaN below", 1.0,
          _sizes(1e-300, 1e308, signed=False), _line(-0.99, 2), _sizes(1e-15, 0.5), head=Log1p),
    entry("logarithm", "power", "x >= 0 and finite y; NaN for negative x. The error grows with "
          "|y log x|: measured to 100", 2.5, (Span(1e-3, 1e3, True), Span(-12, 12)),
          (Span(0.5, 2), Span(-100, 100)), head=sp.Pow),
    entry("error_function", "erf", _REAL, 1.6, _line(-6, 6), _line(0.9, 1.2), _TINY),
    entry("error_function", "erfc", "all real numbers; 0 above 27.2", 5.0,
          _line(-6, 6), _line(0, 26.5), _TINY),
    entry("trigonometric", "sin", _EDGE, 1.0, *_WAVE),
    entry("trigonometric", "cos", _EDGE, 1.0, *_WAVE),
    entry("trigonometric", "tan", _EDGE, 2.5, *_WAVE),
    entry("inverse", "asin", "-1 <= x <= 1; NaN elsewhere", 1.5,
          _line(-1, 1), _line(0.499, 0.55), _line(0.999, 1), _TINY),
    entry("inverse", "acos", "-1 <= x <= 1; NaN elsewhere", 1.3,
          _line(-1, 1), _line(0.999, 1), _line(-1, -0.999), _TINY),
    entry("inverse", "atan", _REAL, 1.8,
          _line(-5, 5), _sizes(1e-3, 1e3), _sizes(1e3, 1e300), _TINY),
    entry("inverse", "atan2", "all (y, x); 0 at the origin, the sign of zero is not seen", 2.0,
          _two(-1, 1), _PLANE),
    entry("selection", "sqrt", "x >= 0; NaN for negative x", 0.5,
          _sizes(1e-320, 1e308, signed=False), _line(0, 4), head=sp.Pow),
    entry("selection", "absolute", _REAL, 0.0, *_SIGNED, head=sp.Abs, reference=mp.fabs),
    entry("selection", "sign", "all real numbers; 0 at 0", 0.0, *_SIGNED),
    entry("selection", "heaviside", "all real numbers; 1/2 at 0", 0.0, *_SIGNED,
          head=sp.Heaviside, reference=lambda x: (1 + mp.sign(x)) / 2),
    entry("selection", "maximum", _REAL, 0.0, _two(-9, 9), head=sp.Max, reference=max),
    entry("selection", "minimum", _REAL, 0.0, _two(-9, 9), head=sp.Min, reference=min),
    *CLOSED_AVERAGES,
)
# fmt: on

FUNCTIONS: Mapping[str, FunctionEntry] = MappingProxyType({e.name: e for e in _ENTRIES})
"""Every function of generated code by its name."""

HEADS: Mapping[type[sp.Basic], FunctionEntry] = MappingProxyType(
    {entry.head: entry for entry in reversed(_ENTRIES) if entry.head is not sp.Pow}
)
"""The entry of each SymPy function class; powers are chosen by their exponent."""


def supported() -> str:
    """Return the list of what an expression may contain, for messages."""
    names = sorted(h.__name__ for h in HEADS if h.__module__.partition(".")[0] == "sympy")
    return f"+, *, **, sqrt, Piecewise, {', '.join(names)}, numbers, pi and E"


def entry_of(expression: sp.Basic) -> FunctionEntry:
    """Return the entry that computes the head of an applied function.

    Raises
    ------
    UnsupportedError
        If the head is not in the table.
    """
    entry = HEADS.get(type(expression))
    if entry is None:
        raise unsupported(expression, f"{type(expression).__name__} has no numerical function here")
    return entry


def unsupported(expression: sp.Basic, why: str) -> UnsupportedError:
    """Return the error that names an expression, the reason, and what would work."""
    try:
        text = str(expression)
    except RecursionError:
        # SymPy prints an unknown function that is called Add as a sum of itself.
        text = ascii(type(expression).__name__)
    shown = text if len(text) <= 200 else f"{text[:197]}..."
    return UnsupportedError(
        f"generated code for {shown}", why, f"an expression may contain {supported()}"
    )
