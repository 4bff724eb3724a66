r"""Inverse trigonometric functions of double precision, without branches.

Arcsine and arccosine share one polynomial on :math:`[0, 1/2]`; larger arguments use
:math:`\arcsin a = \pi/2 - 2 \arcsin\sqrt{(1 - a)/2}`, whose inner difference is exact. The
arctangent of a ratio :math:`v/u` above :math:`\tan(\pi/8)` uses
:math:`\pi/4 + \arctan\frac{v - u}{v + u}`. Arguments outside [-1, 1] give NaN for arcsine and
arccosine. Signed zeros are not told apart: ``atan2(-0.0, -1.0)`` may be either of ±π.
"""

from __future__ import annotations

from resexpand.codegen.elementary.bits import sqrt
from resexpand.codegen.elementary.polynomials import (
    HALF_PI,
    HALF_PI_LOW,
    PI,
    PI_LOW,
    QUARTER_PI,
    QUARTER_PI_LOW,
    TAN_PI_8,
    asin_tail,
    atan_tail,
)

HUGE = 8.0e307


def asin(x: float) -> float:
    """Return the arcsine on [-1, 1]."""
    a = abs(x)
    near = a <= 0.5
    z = a * a if near else 0.5 - 0.5 * a
    s = a if near else sqrt(z)
    tail = s * (z * asin_tail(z))
    angle = HALF_PI - 2.0 * s
    lost = (HALF_PI - angle) - 2.0 * s
    y = s + tail if near else angle - (2.0 * tail - (HALF_PI_LOW + lost))
    return -y if x < 0.0 else y


def acos(x: float) -> float:
    """Return the arccosine on [-1, 1]."""
    a = abs(x)
    near = a <= 0.5
    z = a * a if near else 0.5 - 0.5 * a
    s = a if near else sqrt(z)
    y = s + s * (z * asin_tail(z))
    signed = -y if x < 0.0 else y
    outer = PI - (2.0 * y - PI_LOW) if x < 0.0 else 2.0 * y
    return HALF_PI - (signed - HALF_PI_LOW) if near else outer


def atan_of_ratio(v: float, u: float) -> float:
    """Return atan(v/u) for 0 <= v <= u, u > 0, v + u finite."""
    wide = v > TAN_PI_8 * u
    t = (v - u if wide else v) / (v + u if wide else u)
    z = t * t
    tail = t * (z * atan_tail(z))
    return QUARTER_PI + (t + (tail + QUARTER_PI_LOW)) if wide else t + tail


def atan(x: float) -> float:
    """Return the arctangent."""
    a = abs(x)
    steep = a > 1.0
    y = atan_of_ratio(1.0 if steep else a, a if steep else 1.0)
    y = HALF_PI - (y - HALF_PI_LOW) if steep else y
    return -y if x < 0.0 else y


def atan2(y: float, x: float) -> float:
    """Return the angle of the point (x, y) in (-pi, pi]; 0 at the origin."""
    along, across = abs(x), abs(y)
    steep = across > along
    u = across if steep else along
    v = along if steep else across
    scale = 0.25 if u > HUGE else 1.0
    u, v = scale * u, scale * v
    both_infinite = v > 1.7976931348623157e308
    v = 1.0 if both_infinite else v
    u = 1.0 if both_infinite or u == 0.0 else u
    angle = atan_of_ratio(v, u)
    angle = HALF_PI - (angle - HALF_PI_LOW) if steep else angle
    angle = PI - (angle - PI_LOW) if x < 0.0 else angle
    return -angle if y < 0.0 else angle
