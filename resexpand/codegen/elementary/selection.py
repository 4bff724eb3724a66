"""Root, quotient, modulus, signs and comparisons with the values at ties that the package fixes.

``sign(0) = 0``, ``heaviside(0) = 1/2`` (SymPy's default since 1.9 and the mean of both sides);
NaN propagates through all of them, also through the maximum and minimum of two numbers.
"""

from __future__ import annotations

import math

from resexpand.codegen.elementary.bits import sqrt as root


def sqrt(x: float) -> float:
    """Return the square root; NaN for negative numbers."""
    return root(x)


def quotient(x: float, y: float) -> float:
    """Return x / y as one of a chain of divisions, none of which leaves the range of doubles."""
    return x / y


def absolute(x: float) -> float:
    """Return the modulus of a real number."""
    return abs(x)


def sign(x: float) -> float:
    """Return -1, 0 or 1."""
    y = 1.0 if x > 0.0 else x
    return -1.0 if x < 0.0 else y


def heaviside(x: float) -> float:
    """Return the step from 0 to 1 with the value 1/2 at the step."""
    y = 1.0 if x > 0.0 else x + 0.5
    return 0.0 if x < 0.0 else y


def maximum(x: float, y: float) -> float:
    """Return the larger of two numbers."""
    larger = x if x > y else y
    return x if math.isnan(x) else larger


def minimum(x: float, y: float) -> float:
    """Return the smaller of two numbers."""
    smaller = x if x < y else y
    return x if math.isnan(x) else smaller
