"""Minimax polynomials and split constants of the elementary functions.

Written by ``numerics/elementary_coefficients.py``, which states the method and regenerates this
file; not edited by hand. Valid on the stated interval alone; the error is that of the rounded
coefficients, weighted such that it is the relative error it causes in the function. A constant is
split where a product with a whole number must be exact (``HIGH``, ``FIRST`` to ``THIRD``), or where
its rounding error is added back (``LOW``).
"""

from __future__ import annotations

LOG2_E = 1.4426950408889634
LOG_2_HIGH = 0.6931471805592082
LOG_2_LOW = 7.371002565167799e-13
TWO_OVER_PI = 0.6366197723675814
HALF_PI_FIRST = 1.570796325802803
HALF_PI_SECOND = 9.920935791635221e-10
HALF_PI_THIRD = 5.17018297889025e-19
HALF_PI_FOURTH = 2.9038559739793605e-28
TAN_PI_8 = 0.41421356237309503
PI = 3.141592653589793
PI_LOW = 1.2246467991473532e-16
HALF_PI = 1.5707963267948966
HALF_PI_LOW = 6.123233995736766e-17
QUARTER_PI = 0.7853981633974483
QUARTER_PI_LOW = 3.061616997868383e-17


def exp_tail(r: float) -> float:
    """P of exp(r) = 1 + r + r²/2 + r³ P(r).

    Interval [-log(2)/2, log(2)/2], largest weighted error 2.4e-17.
    """
    r2 = r * r
    even = 2.5045918978904087e-08
    even = 2.7557425023550423e-06 + r2 * even
    even = 0.00019841269709393452 + r2 * even
    even = 0.008333333333388366 + r2 * even
    even = 0.16666666666666602 + r2 * even
    odd = 2.762222092328991e-07
    odd = 2.4801516361788582e-05 + r2 * odd
    odd = 0.0013888888920499413 + r2 * odd
    odd = 0.04166666666662 + r2 * odd
    return even + r * odd


def power_of_two(r: float) -> float:
    """P of 2**r = P(r).

    Interval [-1/2, 1/2], largest weighted error 3.4e-17.
    """
    r2 = r * r
    r4 = r2 * r2
    p0 = 1.3215433089684921e-06 + r * 1.0178198014825514e-07
    p1 = 7.074105592607416e-09 + r * 4.4352831108883696e-10
    p = p0 + r2 * p1
    p0 = 0.009618129107588335 + r * 0.001333355814678987
    p1 = 0.00015403530462514752 + r * 1.5252733490018435e-05
    p = (p0 + r2 * p1) + r4 * p
    p0 = 1.0 + r * 0.6931471805599453
    p1 = 0.24022650695910155 + r * 0.055504108664819925
    return (p0 + r2 * p1) + r4 * p


def log_tail(z: float) -> float:
    """P of log((1 + s)/(1 - s)) = 2 s + s z P(z), z = s².

    Interval [0, (sqrt(2)-1)**4], largest weighted error 3.0e-19.
    """
    p1_0 = 0.6666666666666666 + z * 0.4000000000000625
    p1_1 = 0.2857142856908599 + z * 0.2222222264677877
    p1_2 = 0.1818177566708816 + z * 0.15387090683790722
    p1_3 = 0.13250119879832717 + z * 0.13251312615468996
    z2 = z * z
    p2_0 = p1_0 + z2 * p1_1
    p2_1 = p1_2 + z2 * p1_3
    z4 = z2 * z2
    return p2_0 + z4 * p2_1


def asin_tail(z: float) -> float:
    """P of asin(s) = s + s z P(z), z = s².

    Interval [0, 1/4], largest weighted error 1.7e-17.
    """
    p1_0 = 0.16666666666665383 + z * 0.07500000000343064
    p1_1 = 0.04464285682347073 + z * 0.030381959331583826
    p1_2 = 0.02237175351837953 + z * 0.01735977114540483
    p1_3 = 0.013884598351519622 + z * 0.012173278895014012
    p1_4 = 0.006510858781025088 + z * 0.019573883911321047
    p1_5 = -0.01629402981291154 + z * 0.031958930801310154
    z2 = z * z
    p2_0 = p1_0 + z2 * p1_1
    p2_1 = p1_2 + z2 * p1_3
    p2_2 = p1_4 + z2 * p1_5
    z4 = z2 * z2
    p3_0 = p2_0 + z4 * p2_1
    z8 = z4 * z4
    return p3_0 + z8 * p2_2


def atan_tail(z: float) -> float:
    """P of atan(t) = t + t z P(z), z = t².

    Interval [0, tan(pi/8)**2], largest weighted error 2.1e-18.
    """
    p1_0 = -0.333333333333332 + z * 0.1999999999995404
    p1_1 = -0.14285714280244244 + z * 0.11111110785914372
    p1_2 = -0.09090897829755551 + z * 0.07692061513700137
    p1_3 = -0.0666311893546874 + z * 0.058479980702657225
    p1_4 = -0.05039795353871201 + z * 0.03807701600150786
    z2 = z * z
    p2_0 = p1_0 + z2 * p1_1
    p2_1 = p1_2 + z2 * p1_3
    p2_2 = p1_4 + z2 * -0.01792081871309278
    z4 = z2 * z2
    p3_0 = p2_0 + z4 * p2_1
    z8 = z4 * z4
    return p3_0 + z8 * p2_2


def sin_tail(z: float) -> float:
    """P of sin(r) = r + r z P(z), z = r².

    Interval [0, (pi/4)**2], largest weighted error 1.1e-17.
    """
    p1_0 = -0.1666666666666663 + z * 0.008333333333322113
    p1_1 = -0.00019841269829585064 + z * 2.7557313619767902e-06
    p1_2 = -2.5050747500146478e-08 + z * 1.589621442093209e-10
    z2 = z * z
    p2_0 = p1_0 + z2 * p1_1
    z4 = z2 * z2
    return p2_0 + z4 * p1_2


def cos_tail(z: float) -> float:
    """P of cos(r) = 1 - z/2 + z² P(z), z = r².

    Interval [0, (pi/4)**2], largest weighted error 1.1e-18.
    """
    p1_0 = 0.041666666666666595 + z * -0.001388888888887305
    p1_1 = 2.4801587288846713e-05 + z * -2.7557314177810224e-07
    p1_2 = 2.087570063435955e-09 + z * -1.1358525501271303e-11
    z2 = z * z
    p2_0 = p1_0 + z2 * p1_1
    z4 = z2 * z2
    return p2_0 + z4 * p1_2


def tanh_tail(z: float) -> float:
    """P of tanh(a) = a + a z P(z), z = a².

    Interval [0, 0.55**2], largest weighted error 2.3e-18.
    """
    z2 = z * z
    even = -1.949471675423005e-05
    even = -0.00023338159793734694 + z2 * even
    even = -0.001455542848789041 + z2 * even
    even = -0.008863232601485692 + z2 * even
    even = -0.0539682539637607 + z2 * even
    even = -0.333333333333333 + z2 * even
    odd = 8.33164945696807e-05
    odd = 0.0005884444988989379 + z2 * odd
    odd = 0.0035920920308977694 + z2 * odd
    odd = 0.02186948838585845 + z2 * odd
    odd = 0.13333333333326622 + z2 * odd
    return even + z * odd


def erf_inner(z: float) -> float:
    """P of erf(x) = x + x P(z), z = x².

    Interval [0, 0.75**2], largest weighted error 1.6e-17.
    """
    z2 = z * z
    even = 1.1463745087979134e-08
    even = 1.643038772920557e-06 + z2 * even
    even = 0.00012055288775760019 + z2 * even
    even = 0.0052239776151216865 + z2 * even
    even = 0.11283791670952481 + z2 * even
    even = 0.1283791670955126 + z2 * even
    odd = -1.593759620359506e-07
    odd = -1.492417660283383e-05 + z2 * odd
    odd = -0.0008548326169053 + z2 * odd
    odd = -0.026866170644402425 + z2 * odd
    odd = -0.37612638903183715 + z2 * odd
    return even + z * odd


def erf_outer(u: float) -> float:
    """P of erf(3/4 + u) = 1 - 2**P(u).

    Interval [0, 5.25], largest weighted error 1.7e-17.
    """
    u2 = u * u
    u4 = u2 * u2
    p0 = 1.1107738583464036e-09 + u * -7.989338704551576e-11
    p1 = 2.669849959544589e-12
    p = p0 + u2 * p1
    p0 = 6.827518797863444e-07 + u * -2.3538604233088078e-07
    p1 = 5.604353246605589e-08 + u * -9.522580444944742e-09
    p = (p0 + u2 * p1) + u4 * p
    p0 = -7.836019242596965e-05 + u * 2.070690172256903e-05
    p1 = -2.0694089062113584e-06 + u * -1.0193709014046121e-06
    p = (p0 + u2 * p1) + u4 * p
    p0 = 0.018330342328469917 + u * -0.003275561395008962
    p1 = 0.0001869938805633968 + u * 0.00015278373741466381
    p = (p0 + u2 * p1) + u4 * p
    p0 = -1.791635738423792 + u * -3.211256902441052
    p1 = -1.1654834133022247 + u * -0.07631855261204473
    return (p0 + u2 * p1) + u4 * p


def erfc_tail(t: float) -> float:
    """P of erfc(x) = exp(-x²) P(t)/(1 + 2x), t = (x - 4)/(x + 4).

    Interval [-1, 1], largest weighted error 5.3e-17.
    """
    p1_0 = 1.2329951186255526 + t * -0.13962111684056208
    p1_1 = 0.015379652102610964 + t * 0.06809705425465187
    p1_2 = -0.10103906603588385 + t * 0.09373283499953838
    p1_3 = -0.06633036582003833 + t * 0.03716751552127268
    p1_4 = -0.0161977339835261 + t * 0.0050319701025771935
    p1_5 = -0.0007577736978836428 + t * -0.00019925728762526187
    p1_6 = 0.0001506230717701245 + t * -2.439738067093772e-05
    p1_7 = -1.1225056535456983e-05 + t * 5.705982445220978e-06
    p1_8 = 2.979615004390996e-07 + t * -8.204041337462521e-07
    p1_9 = 7.119053530104021e-08 + t * 1.05858093107445e-07
    p1_10 = -1.638680066034129e-08 + t * -1.2156042310521962e-08
    p1_11 = 1.5764549873524165e-09 + t * 8.982121784020576e-10
    t2 = t * t
    p2_0 = p1_0 + t2 * p1_1
    p2_1 = p1_2 + t2 * p1_3
    p2_2 = p1_4 + t2 * p1_5
    p2_3 = p1_6 + t2 * p1_7
    p2_4 = p1_8 + t2 * p1_9
    p2_5 = p1_10 + t2 * p1_11
    t4 = t2 * t2
    p3_0 = p2_0 + t4 * p2_1
    p3_1 = p2_2 + t4 * p2_3
    p3_2 = p2_4 + t4 * p2_5
    t8 = t4 * t4
    p4_0 = p3_0 + t8 * p3_1
    t16 = t8 * t8
    return p4_0 + t16 * p3_2
