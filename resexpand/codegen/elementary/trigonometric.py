r"""Sine and cosine of double precision, without branches.

:math:`x = n \pi/2 + r` with :math:`|r| \le \pi/4`. The half-pi is subtracted in four parts; the
products of the first three with :math:`n` are exact while :math:`|x| \le 10^7`, and the digits that
the subtraction loses are carried along. Beyond :math:`10^7` the result is that of an argument
wrong by about one unit in its last place; beyond :math:`2^{50}`, where neighbouring doubles lie a
quarter apart, it is NaN rather than a random number.
"""

from __future__ import annotations

import math

from resexpand.codegen.elementary.bits import as_float, as_int
from resexpand.codegen.elementary.exponential import ROUNDER
from resexpand.codegen.elementary.polynomials import (
    HALF_PI_FIRST,
    HALF_PI_FOURTH,
    HALF_PI_SECOND,
    HALF_PI_THIRD,
    TWO_OVER_PI,
    cos_tail,
    sin_tail,
)

UNRESOLVED = 1125899906842624.0


def sine_of_quadrant(x: float, shift: int) -> float:
    """Return sin(x + shift pi/2)."""
    turned = x * TWO_OVER_PI + ROUNDER
    quadrant = as_int(turned) + shift
    n = turned - ROUNDER
    first = x - n * HALF_PI_FIRST
    second = first - n * HALF_PI_SECOND
    third = second - n * HALF_PI_THIRD
    lost = (first - second) - n * HALF_PI_SECOND + ((second - third) - n * HALF_PI_THIRD)
    rest = n * HALF_PI_FOURTH - lost
    r = third - rest
    low = (third - r) - rest
    z = r * r
    sine = r + (r * (z * sin_tail(z)) + low)
    near_one = 1.0 - 0.5 * z
    cosine = near_one + (((1.0 - near_one) - 0.5 * z) + (z * z * cos_tail(z) - r * low))
    y = cosine if (quadrant & 1) == 1 else sine
    y = as_float(as_int(y) ^ ((quadrant & 2) << 62))
    return y if abs(x) <= UNRESOLVED else math.nan


def sin(x: float) -> float:
    """Return the sine, full accuracy for |x| <= 1e7."""
    return sine_of_quadrant(x, 0)


def cos(x: float) -> float:
    """Return the cosine, full accuracy for |x| <= 1e7."""
    return sine_of_quadrant(x, 1)


def tan(x: float) -> float:
    """Return the tangent, full accuracy for |x| <= 1e7."""
    return sine_of_quadrant(x, 0) / sine_of_quadrant(x, 1)
