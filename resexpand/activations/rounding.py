"""Arguments below which a function is the rounding of terms that cancel.

``x - tanh(x)`` is of the size of ``x^3/3``, a difference of two numbers of the size of ``x``: no
digit of it is left below 1e-8, and its averages at such variances are no numbers. Double precision
is compared with fifty digits at one small argument, and at larger ones where it fails there.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import sympy as sp

from resexpand.activations.activation_law import X
from resexpand.activations.at_point import DIGITS, value_at
from resexpand.expressions.accurate import with_log1p
from resexpand.expressions.arrays import array_values

SIZES = 10.0 ** np.arange(-10, 0, 0.5)
"""Arguments that are looked at, either sign."""

ALLOWED = 1e-8
"""Relative error of a value that has its digits."""


@lru_cache(maxsize=256)
def lost_below(expression: sp.Expr) -> float:
    """Return an argument below which a function of `X` has lost its digits, 0 if there is none."""
    function = with_log1p(expression)
    if not _is_lost(function, SIZES[0]):
        return 0.0
    kept = (size for size in SIZES if not _is_lost(function, size))
    return float(next(kept, 0.0))


def _is_lost(function: sp.Expr, size: float) -> bool:
    ends = np.array([-size, size])
    found = array_values(function, X, ends)
    return any(map(_differ, found, [value_at(function, sp.Float(x, DIGITS)) for x in ends]))


def _differ(found: float, right: sp.Basic) -> bool:
    """Whether a double is far from a number; where there is none, nothing is known."""
    if not (right.is_Float or right.is_Rational):
        return False
    return bool(abs(sp.Float(found, DIGITS) - right) > ALLOWED * abs(right))
