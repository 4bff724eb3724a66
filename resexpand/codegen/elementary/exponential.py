r"""Exponential and hyperbolic functions of double precision, without branches.

Every function rests on :math:`x = k \log 2 + r` with whole :math:`k` and
:math:`|r| \le \tfrac12 \log 2`, so that :math:`e^x = 2^k (1 + q)` with
:math:`q = e^r - 1 = r + r^2/2 + r^3 P(r)`. Functions with a zero at the origin combine the parts as
:math:`2^k q + (2^k - 1)`, where the bracket is exact and no digits cancel.
Overflow gives inf, underflow 0 through the subnormal numbers, NaN propagates.
"""

from __future__ import annotations

from resexpand.codegen.elementary.bits import as_float, as_int
from resexpand.codegen.elementary.polynomials import (
    LOG2_E,
    LOG_2_HIGH,
    LOG_2_LOW,
    exp_tail,
    power_of_two,
    tanh_tail,
)

# Adding 1.5 * 2**52 rounds to a whole number and leaves it in the low bits of the word.
ROUNDER = 6755399441055744.0
# Beyond these arguments exp is inf or 0; the clamp keeps the exponent field from wrapping.
LARGEST, SMALLEST = 710.5, -746.0
SIGN_BIT = -9223372036854775808


def with_sign_of(x: float, size: float) -> float:
    """Return a number that is not negative with the sign of another."""
    return as_float(as_int(size) | (as_int(x) & SIGN_BIT))


def nearest_whole(x: float) -> float:
    """Return the nearest whole number, |x| < 2**51."""
    return (x + ROUNDER) - ROUNDER


def two_to(k: float) -> float:
    """Return 2**k for whole -1022 <= k <= 1023."""
    return two_to_shifted(k + ROUNDER)


def two_to_shifted(shifted: float) -> float:
    """Return 2**k for the same k when `ROUNDER` has been added already."""
    return as_float((as_int(shifted) + 1023) << 52)


def reduced_expm1(r: float) -> float:
    """Return exp(r) - 1 on the reduced interval."""
    return r + r * r * (0.5 + r * exp_tail(r))


def expm1_of_remainder(x: float, k: float) -> float:
    """Return exp(x - k log 2) - 1 with the digits that the subtraction of k log 2 loses."""
    first = x - k * LOG_2_HIGH
    r = first - k * LOG_2_LOW
    low = (first - r) - k * LOG_2_LOW
    return r + (r * r * (0.5 + r * exp_tail(r)) + low)


def exp_of_sum(x: float, correction: float) -> float:
    """Return exp(x + correction) for a correction far below one; x keeps all its digits."""
    x = LARGEST if x > LARGEST else x
    x = SMALLEST if x < SMALLEST else x
    k = nearest_whole(x * LOG2_E)
    r = (x - k * LOG_2_HIGH) - (k * LOG_2_LOW - correction)
    half = nearest_whole(0.5 * k)
    # Two steps of scaling: 2**k itself would overflow just below the largest double, and the
    # last multiplication alone rounds when the result is subnormal.
    return (1.0 + reduced_expm1(r)) * two_to(half) * two_to(k - half)


def exp(x: float) -> float:
    """Return the exponential function on the whole line."""
    return exp_of_sum(x, 0.0)


def exp_of_bounded(x: float) -> float:
    """Return exp(x) for |x| < 700: one scaling and no clamps."""
    shifted = x * LOG2_E + ROUNDER
    k = shifted - ROUNDER
    r = (x - k * LOG_2_HIGH) - k * LOG_2_LOW
    return (1.0 + reduced_expm1(r)) * two_to_shifted(shifted)


def exp2_of_bounded(x: float) -> float:
    """Return 2**x for |x| < 1000; splitting off the whole number is exact."""
    shifted = x + ROUNDER
    return two_to_shifted(shifted) * power_of_two(x - (shifted - ROUNDER))


def expm1(x: float) -> float:
    """Return exp(x) - 1, accurate near zero."""
    x = LARGEST if x > LARGEST else x
    x = -50.0 if x < -50.0 else x
    k = nearest_whole(x * LOG2_E)
    half_scale = two_to(k - 1.0)
    return 2.0 * (half_scale * expm1_of_remainder(x, k) + (half_scale - 0.5))


def sinh(x: float) -> float:
    """Return the hyperbolic sine."""
    a = abs(x)
    a = 712.0 if a > 712.0 else a
    k = nearest_whole(a * LOG2_E)
    q = expm1_of_remainder(a, k)
    eighth = two_to(k - 3.0)
    large = 4.0 * (eighth * q + eighth)
    m = 8.0 * (eighth * q + (eighth - 0.125))
    small = 0.5 * (m + m / (m + 1.0))
    y = small if a < 22.0 else large
    return -y if x < 0.0 else y


def cosh(x: float) -> float:
    """Return the hyperbolic cosine."""
    a = abs(x)
    a = 712.0 if a > 712.0 else a
    k = nearest_whole(a * LOG2_E)
    q = expm1_of_remainder(a, k)
    eighth = two_to(k - 3.0)
    half_exp = 4.0 * (eighth * q + eighth)
    return half_exp + 0.25 / half_exp


def exp_of_two(s: float, t: float) -> float:
    """Return exp(s + t) with the digits that the sum loses."""
    total = s + t
    back = total - s
    lost = (s - (total - back)) + (t - back)
    return exp_of_sum(total, lost if abs(lost) < 1.0 else 0.0)


def exp_cosh(s: float, t: float) -> float:
    """Return exp(s) cosh(t) where only the product need be a number."""
    return 0.5 * (exp_of_two(s, t) + exp_of_two(s, -t))


def exp_sinh(s: float, t: float) -> float:
    """Return exp(s) sinh(t) where only the product need be a number, accurate near t = 0."""
    size = abs(t)
    half = -0.5 * exp_of_two(s, size) * expm1(-2.0 * size)
    return -half if t < 0.0 else half


def tanh(x: float) -> float:
    """Return tanh: a polynomial where it is below 1/2, 1 - 2/(exp(2|x|) + 1) beyond."""
    a = abs(x)
    z = a * a
    inner = a + a * (z * tanh_tail(z))
    bounded = 20.0 if a > 20.0 else a
    outer = 1.0 - 2.0 / (exp_of_bounded(2.0 * bounded) + 1.0)
    return with_sign_of(x, inner if a < 0.55 else outer)
