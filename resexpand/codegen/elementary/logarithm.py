r"""Logarithm and power functions of double precision, without branches.

With :math:`x = 2^k (1 + f)`, :math:`1 + f \in [1/\sqrt2, \sqrt2)`, and :math:`s = f/(2 + f)`,

.. math:: \log x = k \log 2 + f - s\,(f - z P(z)), \qquad z = s^2,

because :math:`\log(1 + f) = 2 \,\mathrm{artanh}\, s` and :math:`2 s = f - s f`. The power carries
its logarithm in two doubles, for :math:`x^y = e^{y \log x}` magnifies the error by
:math:`|y \log x|`. Zero gives -inf, negative numbers NaN, NaN propagates.
"""

from __future__ import annotations

import math

from resexpand.codegen.elementary.bits import as_float, as_int
from resexpand.codegen.elementary.exponential import exp_of_sum
from resexpand.codegen.elementary.polynomials import LOG_2_HIGH, LOG_2_LOW, log_tail

SMALLEST_NORMAL = 2.2250738585072014e-308
TWO_54 = 18014398509481984.0
ONE_BITS = 0x3FF0000000000000
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
# The word of 2**52: a number below 2**52 put into its low bits becomes 2**52 + number.
WHOLE_BITS = 0x4330000000000000
WHOLE_SHIFT = 4503599627370496.0 + 1023.0
LOW_27_BITS_OFF = -134217728
FAR_EXPONENT = 1000.0


def exponent_and_fraction(x: float) -> tuple[float, float]:
    """Return k and f of |x| = 2**k (1 + f), for finite x that is not zero (subnormal too)."""
    x = abs(x)
    subnormal = x < SMALLEST_NORMAL
    y = x * TWO_54 if subnormal else x
    bits = as_int(y)
    biased = ((bits + (ONE_BITS - SQRT_HALF_BITS)) >> 52) & 0x7FF
    f = as_float(bits - ((biased - 1023) << 52)) - 1.0
    k = as_float(biased | WHOLE_BITS) - WHOLE_SHIFT
    return (k - 54.0 if subnormal else k), f


def log_plus(x: float, correction: float) -> float:
    """Return log(x) + correction for positive finite x and a correction far below one."""
    k, f = exponent_and_fraction(x)
    s = f / (2.0 + f)
    z = s * s
    return k * LOG_2_HIGH + (f + ((k * LOG_2_LOW + correction) - s * (f - z * log_tail(z))))


def log(x: float) -> float:
    """Return the natural logarithm of x >= 0."""
    y = log_plus(x, 0.0)
    y = x if x > 1.7976931348623157e308 else y
    y = y if x > 0.0 else math.nan
    return -math.inf if x == 0.0 else y


def log1p(x: float) -> float:
    """Return log(1 + x) of x >= -1, accurate near zero."""
    u = 1.0 + x
    lost = x - (u - 1.0) if x < 1.0 else 1.0 - (u - x)
    y = log_plus(u, lost / (u if u > 0.0 else 1.0))
    y = x if x > 1.7976931348623157e308 else y
    y = y if x > -1.0 else math.nan
    return -math.inf if x == -1.0 else y


def product_error(a: float, b: float, product: float) -> float:
    """Return a b - product exactly, where product is a b rounded, fused or not."""
    a_high = as_float(as_int(a) & LOW_27_BITS_OFF)
    b_high = as_float(as_int(b) & LOW_27_BITS_OFF)
    a_low, b_low = a - a_high, b - b_high
    return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def log_in_two_parts(x: float) -> tuple[float, float]:
    """Return log(x) as an unevaluated sum, relative error about 2**-60, for positive finite x."""
    k, f = exponent_and_fraction(x)
    divisor = 2.0 + f
    s = f / divisor
    back = s * divisor
    rest = ((f - back) - product_error(s, divisor, back)) - s * (f - (divisor - 2.0))
    z = s * s
    small = 2.0 * (rest / divisor) + s * (z * log_tail(z))
    large = k * LOG_2_HIGH
    high = large + 2.0 * s
    low = (2.0 * s - (high - large)) + (small + k * LOG_2_LOW)
    total = high + low
    return total, low - (total - high)


def power_of_two_parts(x: float, y: float, y_low: float) -> float:
    """Return x**(y + y_low) of x >= 0, for an exponent given as an unevaluated sum."""
    high, low = log_in_two_parts(x)
    product = y * high
    rest = product_error(y, high, product) + (y * low + y_low * high)
    # Far beyond the range of exp the product may overflow and leave no meaning in the rest.
    far = abs(product) > FAR_EXPONENT
    result = exp_of_sum(product, 0.0 if far else rest)
    result = result if x > 0.0 else math.nan
    at_zero = math.inf if y < 0.0 else y
    at_zero = 0.0 if y > 0.0 else at_zero
    at_inf = 0.0 if y < 0.0 else y
    at_inf = math.inf if y > 0.0 else at_inf
    result = at_zero if x == 0.0 else result
    result = at_inf if x > 1.7976931348623157e308 else result
    return 1.0 if y == 0.0 else result


def power(x: float, y: float) -> float:
    """Return x**y of x >= 0 and finite y; NaN for negative x, also where y is a whole number."""
    return power_of_two_parts(x, y, 0.0)
