r"""Functions of two correlated normal variables in double precision, without branches.

A covariance has diagonal ``a, b`` and off-diagonal ``c``; it is first scaled by powers of two, so
that nothing overflows where the result is finite. ``a b - c^2`` and its like are differences of
products whose halves are multiplied exactly: they keep their digits at full correlation and vanish
for equal variables, fused multiplications or not.

The probability :math:`P(y_1 > t, y_2 > u)` is a sum of two functions of Owen (1956),

.. math:: T(h, r) = \frac{1}{2\pi} \int_0^r \frac{e^{-h^2 (1 + x^2)/2}}{1 + x^2} dx,

at ``0 <= r <= 1`` by the Gauss-Legendre rule of twelve nodes: in the ellipse around ``[0, r]`` that
ends at the poles ``x = i`` and ``x = -i`` the integrand is bounded for every ``h``, so the error is
below 2e-17. Larger ``r`` are reflected to ``1/r``.
"""

from __future__ import annotations

from resexpand.codegen.elementary.bits import as_float, as_int, sqrt
from resexpand.codegen.elementary.error_function import erfc
from resexpand.codegen.elementary.exponential import exp, exp_of_bounded

LOW_27_BITS_OFF = -134217728
EXPONENT_BITS = 0x7FF0000000000000
SMALLEST_NORMAL = 2.2250738585072014e-308
SQRT_HALF = 0.7071067811865476
# Thresholds, in units of the scaled deviation (1 to 2), beyond which a tail is no double.
FAR = 80.0
# Thresholds below this are at the centre: only the ratio of the two would matter, and it does not.
CENTRE = 1e-150
# Relative difference of numbers that are the same up to rounding.
LAST_DIGITS = 2e-15
# Largest exponent of the part of Owen's integrand that varies; its exponential is 0 beside 1.
DEEP = 600.0


def product_difference(a: float, b: float, c: float, d: float) -> float:
    """Return a b - c d with the digits that cancellation would lose; products of order one."""
    a_high = as_float(as_int(a) & LOW_27_BITS_OFF)
    b_high = as_float(as_int(b) & LOW_27_BITS_OFF)
    c_high = as_float(as_int(c) & LOW_27_BITS_OFF)
    d_high = as_float(as_int(d) & LOW_27_BITS_OFF)
    a_low, b_low, c_low, d_low = a - a_high, b - b_high, c - c_high, d - d_high
    high = a_high * b_high - c_high * d_high
    middle = (a_high * b_low + a_low * b_high) - (c_high * d_low + c_low * d_high)
    return high + (middle + (a_low * b_low - c_low * d_low))


def not_zero(x: float) -> float:
    """Return a number that may be divided by; NaN for NaN."""
    return SMALLEST_NORMAL if x < SMALLEST_NORMAL else x


def binary_root(a: float) -> float:
    """Return the power of two below the square root of a number that is not negative."""
    return as_float(as_int(sqrt(not_zero(a))) & EXPONENT_BITS)


def scaled_area(a: float, b: float, c: float) -> float:
    """Return sqrt(a b - c^2) for numbers of order one, 0 where the matrix is not definite."""
    determinant = product_difference(a, b, c, c)
    determinant = 0.0 if determinant < 0.0 else determinant
    return sqrt(determinant)


def area(a: float, b: float, c: float) -> float:
    """Return sqrt(a b - c^2), 0 where the matrix is not positive definite."""
    a = 0.0 if a < 0.0 else a
    b = 0.0 if b < 0.0 else b
    first, second = binary_root(a), binary_root(b)
    p, q = 1.0 / first, 1.0 / second
    return scaled_area(a * p * p, b * q * q, c * p * q) * first * second


def hypotenuse(x: float, y: float) -> float:
    """Return sqrt(x^2 + y^2) where the squares need not be numbers."""
    x, y = abs(x), abs(y)
    large, small = (x if x > y else y), (y if x > y else x)
    ratio = small / not_zero(large)
    return large * sqrt(1.0 + ratio * ratio)


def upper_tail(h: float) -> float:
    """Return the probability that a standard normal variable exceeds h."""
    return 0.5 * erfc(SQRT_HALF * h)


def owen_term(falling: float, ratio_square: float, weight: float, node: float) -> float:
    """Return one term of the rule for Owen's function without the factor exp(-h^2 / 2)."""
    return weight * exp_of_bounded(-falling * node) / (1.0 + ratio_square * node)


def owen(h: float, r: float) -> float:
    """Return Owen's T(h, r) for h >= 0 and 0 <= r <= 1, to 2e-17 exp(-h^2 / 2)."""
    half = 0.5 * h * h
    s = r * r
    z = half * s
    z = DEEP if z > DEEP else z
    total = owen_term(z, s, 0.003754093988968155, 8.500255234581576e-05)
    total += owen_term(z, s, 0.008509961171535274, 0.002298375131481311)
    total += owen_term(z, s, 0.012738628634780997, 0.013236194835733074)
    total += owen_term(z, s, 0.016167550119118188, 0.04257661771354559)
    total += owen_term(z, s, 0.018580745682572076, 0.09990925341472196)
    total += owen_term(z, s, 0.019826491948972981, 0.19130414739611566)
    total += owen_term(z, s, 0.019826491948972981, 0.31653755590758457)
    total += owen_term(z, s, 0.018580745682572076, 0.4677407524129022)
    total += owen_term(z, s, 0.016167550119118188, 0.629894572000163)
    total += owen_term(z, s, 0.012738628634780997, 0.7831388690300378)
    total += owen_term(z, s, 0.008509961171535274, 0.9064156315019562)
    total += owen_term(z, s, 0.003754093988968155, 0.9816456367990651)
    return r * exp(-half) * total


def owen_of_slope(h: float, tail: float, rise: float, run: float, z: float) -> float:
    """Return Owen's T(h, rise/run), h >= 0, given the tail at h and z = h |rise| / run."""
    size = abs(rise)
    steep = size > run
    large, small = (size if steep else run), (run if steep else size)
    ratio = small / not_zero(large)
    z = FAR if z > FAR else z
    inner = owen(z if steep else h, ratio)
    beyond = upper_tail(z)
    y = 0.5 * (tail + beyond) - tail * beyond - inner if steep else inner
    return -y if rise < 0.0 else y


def bounded_threshold(t: float) -> float:
    """Return a threshold kept within the range beyond which nothing changes."""
    t = FAR if t > FAR else t
    return -FAR if t < -FAR else t


def orthant(a: float, b: float, c: float, t: float, u: float) -> float:
    """Return P(y_1 > t, y_2 > u) for a centred pair of covariance a, b, c."""
    a, b = not_zero(a), not_zero(b)
    p, q = 1.0 / binary_root(a), 1.0 / binary_root(b)
    a, b, c = a * p * p, b * q * q, c * p * q
    t, u = bounded_threshold(t * p), bounded_threshold(u * q)
    x, y = abs(t), abs(u)
    central = x < CENTRE and y < CENTRE
    x, y = (CENTRE if central else x), (CENTRE if central else y)
    # With both thresholds turned positive the correlation changes sign with one of them.
    c = -c if (t < 0.0) != (u < 0.0) else c
    root, first, second = scaled_area(a, b, c), sqrt(a), sqrt(b)
    h, k = x / first, y / second
    above_t, above_u = upper_tail(h), upper_tail(k)
    rise, turn = product_difference(y, a, c, x), product_difference(x, b, c, y)
    both = 0.5 * (above_t + above_u)
    both -= owen_of_slope(h, above_t, rise, x * root, abs(rise) / not_zero(first * root))
    both -= owen_of_slope(k, above_u, turn, y * root, abs(turn) / not_zero(second * root))
    # At full correlation (or beyond it, by rounding) one threshold decides.
    both = min(above_t, above_u) if root == 0.0 and c > 0.0 else both
    right = above_u - both if t < 0.0 else both
    left = 1.0 - above_t - above_u + both if t < 0.0 else above_t - both
    value = left if u < 0.0 else right
    return 0.0 if value < 0.0 else value


def conditional_score(a: float, b: float, c: float, t: float, u: float) -> float:
    """Return the distance of the mean of y_2, given y_1 = t, from u in conditional deviations."""
    a, b = not_zero(a), not_zero(b)
    p, q = 1.0 / binary_root(a), 1.0 / binary_root(b)
    a, b, c = a * p * p, b * q * q, c * p * q
    t, u = bounded_threshold(t * p), bounded_threshold(u * q)
    root, full = scaled_area(a, b, c), sqrt(a) * sqrt(b)
    # Beyond full correlation, by rounding, there is no deviation that a distance is divided by:
    # there the distance is that at full correlation, and none where it is rounding as well.
    beyond = root == 0.0
    c = (full if c > 0.0 else -full) if beyond and abs(c) > full else c
    rise = product_difference(c, t, a, u)
    rise = 0.0 if beyond and abs(rise) <= LAST_DIGITS * a * abs(u) else rise
    return rise / not_zero(sqrt(a) * root)


def conditional_tail(a: float, b: float, c: float, t: float, u: float) -> float:
    """Return P(y_2 > u) given y_1 = t for a centred pair; 1/2 at equal variables and thresholds."""
    return upper_tail(-conditional_score(a, b, c, t, u))


def pair_exponential(a: float, b: float, c: float, t: float, u: float) -> float:
    """Return exp(-(t, u) C^{-1} (t, u) / 2), the density of a pair without its factor."""
    z = conditional_score(a, b, c, t, u)
    z = FAR if abs(z) > FAR else z
    a = not_zero(a)
    p = 1.0 / binary_root(a)
    t = bounded_threshold(t * p)
    return exp(-0.5 * (t * t / (a * p * p) + z * z))
