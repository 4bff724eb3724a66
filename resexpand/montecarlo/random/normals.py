"""Standard normal numbers from counters: Box-Muller on Philox words, in float64.

Two words `x, y` of 32 bits give the midpoints `u = (x + 1/2)/2^32`, `v = (y + 1/2)/2^32` of a
uniform lattice and two independent standard normals

    z_cos = sqrt(-2 ln u) cos(2 pi v),     z_sin = sqrt(-2 ln u) sin(2 pi v).

One Philox call has four words `x, y, x', y'` and gives `z_cos, z_sin, z'_cos, z'_sin`.

Resolution. Radius and angle take 2^32 values each, so a normal takes 2^64. Since `u >= 2^-33`,
`|z| <= sqrt(66 ln 2) = 6.7637`; the probability beyond is 1.3e-11 and the missing tail lowers the
variance by about 7e-10, while 1e9 draws resolve a variance to 4e-5.

The formula is evaluated without branches and without the mathematics library, so that LLVM
vectorises the loop around it:

* `u` is an odd integer over 2^33, exact in float64. Its bits give `u = 2^k m` with
  `m in [sqrt(1/2), sqrt(2))` and `ln m = 2 artanh(s)`, `s = (m-1)/(m+1)`, odd polynomial in `s`.
* the top bits of `y` are the quadrant; the rest is an exact `r in (-1/2, 1/2)`, and `sin`, `cos` of
  `(pi/2) r` are polynomials in `r^2`.

The polynomials interpolate at the Chebyshev nodes of their range (computed with 60 digits);
relative truncation errors 1e-18 (logarithm), 3e-18 (sine), 4e-20 (cosine).

Source: G. E. P. Box, M. E. Muller, "A note on the generation of random normal deviates",
Ann. Math. Stat. 29 (1958) 610, doi:10.1214/aoms/1177706645.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.jit import inlined, loop
from resexpand.montecarlo.lanes import barrier, is_leader, lane_entry, lane_share
from resexpand.montecarlo.random.philox import philox4x32

LARGEST_NORMAL = math.sqrt(66 * math.log(2))
BLOCK = 4
"""Normals per Philox call."""

LN2 = math.log(2.0)

# 2 artanh(s) / s in powers of s^2, for s^2 <= (3 - 2 sqrt 2)^2.
L0, L1, L2, L3 = 2.0, 0.6666666666666765, 0.3999999999930234, 0.2857142876064168
L4, L5, L6, L7 = 0.22222197056726048, 0.18183631680229329, 0.1531252814836419, 0.14809710360655276

# sin(pi r / 2) / r and cos(pi r / 2) in powers of r^2, for r^2 <= 1/4.
S0, S1, S2, S3 = 1.5707963267948966, -0.6459640975062443, 0.07969262624604301, -0.004681754132340976
S4, S5, S6 = 0.0001604411507421909, -3.59864335298231e-06, 5.633933781537854e-08
C1, C2, C3 = -1.2337005501361697, 0.2536695079010467, -0.02086348076331121
C4, C5 = 0.0009192602741831558, -2.520203677046026e-05
C6, C7 = 4.710609726757823e-07, -6.321256869628588e-09

ONE = np.uint64(1)
TWO = np.uint64(2)
ALL_BITS = np.uint64(2**64 - 1)
# An integer below 2^52 written into the mantissa of 2^52 is that integer plus 2^52, exactly:
# cheaper on most machines than their conversion of 64-bit integers.
INTEGER_BITS = np.uint64(0x4330000000000000)
INTEGER_SHIFT = 2.0**52
# Adding CUT_BITS moves the cut between two exponents from m = 1 to m = sqrt(1/2).
ROOT_HALF_BITS = np.uint64(0x3FE6A09E00000000)
CUT_BITS = np.uint64(0x3FF0000000000000 - 0x3FE6A09E00000000)
MANTISSA_MASK = np.uint64(0x000FFFFFFFFFFFFF)
MANTISSA_WIDTH = np.uint64(52)
EXPONENT_SHIFT = INTEGER_SHIFT + 1023.0 + 33.0
EIGHTH_TURN = np.uint64(1 << 29)
QUADRANT_SHIFT = np.uint64(30)
ANGLE_MASK = np.uint64((1 << 30) - 1)
ANGLE_SHIFT = INTEGER_SHIFT + 2.0**29
ANGLE_UNIT = 2.0**-30
HALF_ANGLE_UNIT = 2.0**-31
SIGN_SHIFT = np.uint64(62)


@inlined
def bits_of(value: np.float64) -> np.uint64:
    """Return the 64 bits of a float64."""
    return np.float64(value).view(np.uint64)


@inlined
def float_of(bits: np.uint64) -> np.float64:
    """Return the float64 that has the given bits."""
    return np.uint64(bits).view(np.float64)


@inlined
def minus_two_log(word: np.uint64) -> np.float64:
    """Return -2 ln u, u = (word + 1/2) / 2^32."""
    odd = float_of((word + word + ONE) | INTEGER_BITS) - INTEGER_SHIFT
    bits = bits_of(odd) + CUT_BITS
    exponent = float_of((bits >> MANTISSA_WIDTH) | INTEGER_BITS) - EXPONENT_SHIFT
    m = float_of((bits & MANTISSA_MASK) + ROOT_HALF_BITS)
    s = (m - 1.0) / (m + 1.0)
    t = s * s
    series = L0 + t * (L1 + t * (L2 + t * (L3 + t * (L4 + t * (L5 + t * (L6 + t * L7))))))
    return -2.0 * (exponent * LN2 + s * series)


@inlined
def cos_sin(word: np.uint64) -> tuple[np.float64, np.float64]:
    """Return cos(2 pi v) and sin(2 pi v), v = (word + 1/2) / 2^32."""
    turned = word + EIGHTH_TURN
    quadrant = turned >> QUADRANT_SHIFT
    step = float_of((turned & ANGLE_MASK) | INTEGER_BITS) - ANGLE_SHIFT
    r = step * ANGLE_UNIT + HALF_ANGLE_UNIT
    t = r * r
    cosine = 1.0 + t * (C1 + t * (C2 + t * (C3 + t * (C4 + t * (C5 + t * (C6 + t * C7))))))
    sine = r * (S0 + t * (S1 + t * (S2 + t * (S3 + t * (S4 + t * (S5 + t * S6))))))
    # In the odd quadrants cosine and sine change places: exchange their bits under a mask.
    cosine_bits, sine_bits = bits_of(cosine), bits_of(sine)
    exchange = (cosine_bits ^ sine_bits) & (ALL_BITS * (quadrant & ONE))
    cosine_bits ^= exchange ^ (((quadrant + ONE) & TWO) << SIGN_SHIFT)
    sine_bits ^= exchange ^ ((quadrant & TWO) << SIGN_SHIFT)
    return float_of(cosine_bits), float_of(sine_bits)


@inlined
def normals_of_words(
    x: np.uint64, y: np.uint64, xx: np.uint64, yy: np.uint64
) -> tuple[np.float64, np.float64, np.float64, np.float64]:
    """Return the four standard normals of four random words."""
    radius = math.sqrt(minus_two_log(x))
    cosine, sine = cos_sin(y)
    radius2 = math.sqrt(minus_two_log(xx))
    cosine2, sine2 = cos_sin(yy)
    return radius * cosine, radius * sine, radius2 * cosine2, radius2 * sine2


@inlined
def normals4(
    c0: np.uint64, c1: np.uint64, c2: np.uint64, c3: np.uint64, key0: np.uint64, key1: np.uint64
) -> tuple[np.float64, np.float64, np.float64, np.float64]:
    """Return the four standard normals of a counter under a key."""
    x, y, xx, yy = philox4x32(c0, c1, c2, c3, key0, key1)
    return normals_of_words(x, y, xx, yy)


@inlined
def write_first(
    out: NDArray[np.float64], at: int, count: int, a: float, b: float, c: float
) -> None:
    """Write the first one, two or three of some numbers.

    No loop over a tuple: an index into one may be wrong, which would be a way out of the function
    for one lane while the others wait for it.
    """
    out[at] = a
    if count > 1:
        out[at + 1] = b
    if count > 2:
        out[at + 2] = c


@loop
def fill_normals(
    key0: np.uint64,
    key1: np.uint64,
    c1: np.uint64,
    c2: np.uint64,
    c3: np.uint64,
    out: NDArray[np.float64],
    n: int,
) -> None:
    """Write the first n entries of the vector of normals with counter words c1, c2, c3.

    Entry `4 k + p` is normal number `p` of the counter (k, c1, c2, c3).
    """
    blocks = n // BLOCK
    for turn in range(lane_share(blocks)):
        k = lane_entry(turn)
        a, b, c, d = normals4(np.uint64(k), c1, c2, c3, key0, key1)
        out[4 * k] = a
        out[4 * k + 1] = b
        out[4 * k + 2] = c
        out[4 * k + 3] = d
    rest = n - BLOCK * blocks
    if rest and is_leader():
        a, b, c, _ = normals4(np.uint64(blocks), c1, c2, c3, key0, key1)
        write_first(out, BLOCK * blocks, rest, a, b, c)
    barrier()


@loop
def fill_piece(
    key0: np.uint64,
    key1: np.uint64,
    block: int,
    c1: np.uint64,
    c2: np.uint64,
    c3: np.uint64,
    out: NDArray[np.float64],
    n: int,
) -> None:
    """Write n entries of a vector of normals, from entry `4 * block` on; n is a multiple of 4."""
    for turn in range(lane_share(n // BLOCK)):
        k = lane_entry(turn)
        a, b, c, d = normals4(np.uint64(block + k), c1, c2, c3, key0, key1)
        out[4 * k] = a
        out[4 * k + 1] = b
        out[4 * k + 2] = c
        out[4 * k + 3] = d
    barrier()


@loop
def add_normals(
    key0: np.uint64,
    key1: np.uint64,
    c1: np.uint64,
    c2: np.uint64,
    c3: np.uint64,
    out: NDArray[np.float64],
    n: int,
    factor: float,
) -> None:
    """Add factor times the first n entries of a vector of normals; n is a multiple of 4."""
    for turn in range(lane_share(n // BLOCK)):
        k = lane_entry(turn)
        a, b, c, d = normals4(np.uint64(k), c1, c2, c3, key0, key1)
        out[4 * k] += factor * a
        out[4 * k + 1] += factor * b
        out[4 * k + 2] += factor * c
        out[4 * k + 3] += factor * d
    barrier()


@loop
def add_in_quarters(
    key0: np.uint64,
    key1: np.uint64,
    block: int,
    c2: np.uint64,
    c3: np.uint64,
    out: NDArray[np.float64],
    factor: float,
    words: NDArray[np.float64],
) -> None:
    """Add factor times entries `4 * block ...` of vector 0 of normals, in another order.

    The order in which the four normals of neighbouring counters come out of the vector units: entry
    `4 k + p` is added to entry `p n/4 + k` of `out`, whose size n is a multiple of 4.

    `words` is scratch. If it has n entries, the random words are made first and lie there as bits,
    and the transform is a loop of its own: a number passes a chain of some fifty operations that
    wait for each other, and of two short bodies a processor has more passes at work at once than
    of a long one. A GPU has other threads for that, and gives no scratch.
    """
    n, vector = out.size // BLOCK, np.uint64(0)
    w, x, y, z = out[:n], out[n:], out[2 * n :], out[3 * n :]
    if words.size < out.size:
        for turn in range(lane_share(n)):
            k = lane_entry(turn)
            a, b, c, d = normals4(np.uint64(block + k), vector, c2, c3, key0, key1)
            w[k] += factor * a
            x[k] += factor * b
            y[k] += factor * c
            z[k] += factor * d
        barrier()
        return
    first, second, third, fourth = words[:n], words[n:], words[2 * n :], words[3 * n :]
    for turn in range(lane_share(n)):
        k = lane_entry(turn)
        i, j, ii, jj = philox4x32(np.uint64(block + k), vector, c2, c3, key0, key1)
        first[k] = float_of(i)
        second[k] = float_of(j)
        third[k] = float_of(ii)
        fourth[k] = float_of(jj)
    for turn in range(lane_share(n)):
        k = lane_entry(turn)
        a, b, c, d = normals_of_words(
            bits_of(first[k]), bits_of(second[k]), bits_of(third[k]), bits_of(fourth[k])
        )
        w[k] += factor * a
        x[k] += factor * b
        y[k] += factor * c
        z[k] += factor * d
    barrier()
