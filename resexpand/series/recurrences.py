r"""Taylor coefficients of elementary functions of a series, by their differential equations.

For ``y = f(u(lambda))`` an equation ``f' = g(f, u)`` gives ``k y_k`` as a Cauchy sum of lower
coefficients, so that all coefficients to order k take O(k^2) operations (Knuth, TAOCP vol. 2, 4.7;
Griewank & Walther, Evaluating Derivatives, ch. 13):

    exp:   y' = y u'                           log:  u y' = u'
    sin:   s' = c u',  c' = -s u'              sinh: s' = c u',  c' = s u'
    tanh:  y' = s u',  s = 1 - y^2             tan:  y' = s u',  s = 1 + y^2
    logistic: y' = s u',  s = y - y^2          softplus: y' = logistic(u) u'
    erf:   y' = (2/sqrt(pi)) exp(-u^2) u'      atan: (1 + u^2) y' = u'
    asin:  sqrt(1 - u^2) y' = u'               asinh: sqrt(1 + u^2) y' = u'
    atan2: (u^2 + v^2) y' = v u' - u v'
    u^a:   u y' = a y u'

The coefficient zero is the function itself, and the slope ``s_0`` of the saturating ones is
computed directly: ``1/cosh(u)^2`` keeps its relative accuracy at large ``|u|``, where ``1 - y^2``
would keep none. From order one on the recurrence for s has no such difference.
"""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

from resexpand.series.program import Program, Series

Recurrence = Callable[[Program, Series], Series]


def exponential(p: Program, u: Series) -> Series:
    """Return exp(u)."""
    slopes, y = p.slopes(u), [p.let(sp.exp(u[0]))]
    for k in range(1, p.order + 1):
        y.append(p.integrated(k, slopes, y))
    return tuple(y)


def logarithm(p: Program, u: Series) -> Series:
    """Return log(u), for ``u_0 > 0``."""
    inverse = p.let(1 / u[0])
    y, slopes = [p.let(sp.log(u[0]))], [sp.S.Zero]
    for k in range(1, p.order + 1):
        known = p.let(sp.Add(*(slopes[j] * u[k - j] for j in range(1, k))))
        y.append(p.let(p.let(u[k] - p.let(known / k)) * inverse))
        slopes.append(p.let(k * y[k]))
    return tuple(y)


def _turning(p: Program, u: Series, sine: type, cosine: type, sign: int) -> tuple[Series, Series]:
    """Return a pair with ``s' = c u'``, ``c' = sign s u'``."""
    slopes = p.slopes(u)
    s, c = [p.let(sine(u[0]))], [p.let(cosine(u[0]))]
    for k in range(1, p.order + 1):
        s_k, c_k = p.integrated(k, slopes, c), p.integrated(k, slopes, s)
        s.append(s_k)
        c.append(p.let(sign * c_k))
    return tuple(s), tuple(c)


def sine_and_cosine(p: Program, u: Series) -> tuple[Series, Series]:
    """Return sin(u) and cos(u), computed together."""
    return p.once(("sin", u), lambda: _turning(p, u, sp.sin, sp.cos, -1))


def hyperbolic(p: Program, u: Series) -> tuple[Series, Series]:
    """Return sinh(u) and cosh(u), computed together."""
    return p.once(("sinh", u), lambda: _turning(p, u, sp.sinh, sp.cosh, 1))


def _riccati(p: Program, u: Series, start: sp.Expr, slope: sp.Expr, b: int, c: int) -> Series:
    """Return y with ``y' = s u'``, ``s = const + b y + c y^2``, from ``y_0`` and ``s_0``."""
    slopes, y, s = p.slopes(u), [p.let(start)], [p.let(slope)]
    twice = p.let(b + 2 * c * y[0])
    for k in range(1, p.order + 1):
        y.append(p.integrated(k, slopes, s))
        mixed = p.let(sp.Add(*(y[i] * y[k - i] for i in range(1, (k + 1) // 2))))
        middle = y[k // 2] ** 2 if k % 2 == 0 else sp.S.Zero
        s.append(p.let(twice * y[k] + c * p.let(2 * mixed + middle)))
    return tuple(y)


def hyperbolic_tangent(p: Program, u: Series) -> Series:
    """Return tanh(u)."""
    return _riccati(p, u, sp.tanh(u[0]), 1 / p.let(sp.cosh(u[0])) ** 2, 0, -1)


def tangent(p: Program, u: Series) -> Series:
    """Return tan(u)."""
    return _riccati(p, u, sp.tan(u[0]), 1 / p.let(sp.cos(u[0])) ** 2, 0, 1)


def logistic(p: Program, u: Series) -> Series:
    """Return 1/(1 + exp(-u)), without overflow at either end."""
    start = 1 / (1 + p.let(sp.exp(-u[0])))
    slope = 1 / (2 * p.let(sp.cosh(p.let(u[0] / 2)))) ** 2
    return p.once(("logistic", u), lambda: _riccati(p, u, start, slope, 1, -1))


def softplus(p: Program, u: Series) -> Series:
    """Return log(1 + exp(u)), without overflow at either end."""
    start = sp.Max(0, u[0]) + sp.log(1 + p.let(sp.exp(-sp.Abs(u[0]))))
    return _antiderivative(p, u, start, logistic(p, u))


def _antiderivative(p: Program, u: Series, start: sp.Expr, weight: Series) -> Series:
    """Return y with ``y' = weight u'``."""
    slopes = p.slopes(u)
    steps = (p.integrated(k, slopes, weight) for k in range(1, p.order + 1))
    return (p.let(start), *steps)


def _bell(p: Program, u: Series) -> Series:
    """Return exp(-u^2), without its constant in front of u'."""
    return p.once(("bell", u), lambda: exponential(p, p.scaled(sp.S.NegativeOne, p.product(u, u))))


def error_function(p: Program, u: Series) -> Series:
    """Return erf(u)."""
    weight = p.scaled(2 / sp.sqrt(sp.pi), _bell(p, u))
    return _antiderivative(p, u, sp.erf(u[0]), weight)


def complementary_error_function(p: Program, u: Series) -> Series:
    """Return erfc(u), accurate where erf(u) is one."""
    weight = p.scaled(-2 / sp.sqrt(sp.pi), _bell(p, u))
    return _antiderivative(p, u, sp.erfc(u[0]), weight)


def square_root(p: Program, u: Series) -> Series:
    """Return sqrt(u), for ``u_0 > 0``."""
    y = [p.let(sp.sqrt(u[0]))]
    inverse = p.let(1 / (2 * y[0]))
    for k in range(1, p.order + 1):
        mixed = p.let(sp.Add(*(y[i] * y[k - i] for i in range(1, (k + 1) // 2))))
        middle = y[k // 2] ** 2 if k % 2 == 0 else sp.S.Zero
        y.append(p.let(p.let(u[k] - p.let(2 * mixed + middle)) * inverse))
    return tuple(y)


def power(p: Program, u: Series, exponent: sp.Expr) -> Series:
    """Return u to a constant power, for ``u_0 > 0``."""
    inverse = p.let(1 / u[0])
    y = [p.let(u[0] ** exponent)]
    for k in range(1, p.order + 1):
        weights = ((sp.Rational(j, k) * (exponent + 1) - 1) * u[j] for j in range(1, k + 1))
        total = sp.Add(*(p.let(w) * y[k - j] for j, w in enumerate(weights, start=1)))
        y.append(p.let(p.let(total) * inverse))
    return tuple(y)


def _inverse_function(p: Program, u: Series, start: sp.Expr, slope: Series) -> Series:
    """Return y with ``slope y' = u'``."""
    return _antiderivative(p, u, start, p.quotient(p.constant(sp.S.One), slope))


def _one_and(p: Program, u: Series, sign: int) -> Series:
    """Return ``1 + sign u^2``, its coefficient zero in factors where it may vanish."""
    square = p.scaled(sp.Integer(sign), p.product(u, u))
    first = (1 - u[0]) * (1 + u[0]) if sign < 0 else 1 + square[0]
    return (p.let(first), *square[1:])


def arctangent(p: Program, u: Series) -> Series:
    """Return atan(u)."""
    return _inverse_function(p, u, sp.atan(u[0]), _one_and(p, u, 1))


def angle(p: Program, y: Series, x: Series) -> Series:
    """Return atan2(y, x), off the origin: ``(x^2 + y^2) z' = x y' - y x'``."""
    square = p.sum([p.product(x, x), p.product(y, y)])
    inverse, rises, runs = p.let(1 / square[0]), p.slopes(y), p.slopes(x)
    z, slopes = [p.let(sp.atan2(y[0], x[0]))], [sp.S.Zero]
    for k in range(1, p.order + 1):
        turn = p.let(sp.Add(*(rises[j] * x[k - j] - runs[j] * y[k - j] for j in range(1, k + 1))))
        known = p.let(sp.Add(*(slopes[j] * square[k - j] for j in range(1, k))))
        slopes.append(p.let(p.let(turn - known) * inverse))
        z.append(p.let(slopes[k] / k))
    return tuple(z)


def arcsine(p: Program, u: Series) -> Series:
    """Return asin(u), for ``|u_0| < 1``."""
    return _inverse_function(p, u, sp.asin(u[0]), square_root(p, _one_and(p, u, -1)))


def arccosine(p: Program, u: Series) -> Series:
    """Return acos(u), for ``|u_0| < 1``."""
    falling = p.scaled(sp.S.NegativeOne, arcsine(p, u))
    return (p.let(sp.acos(u[0])), *falling[1:])


def area_sine(p: Program, u: Series) -> Series:
    """Return asinh(u), written with log(1 + w) so that small arguments keep their digits."""
    slope = square_root(p, _one_and(p, u, 1))
    size = p.let(sp.Abs(u[0]))
    start = sp.sign(u[0]) * sp.log(1 + size + p.let(size**2 / (1 + slope[0])))
    return _inverse_function(p, u, start, slope)


RECURRENCES: dict[type[sp.Basic], Recurrence] = {
    sp.exp: exponential,
    sp.log: logarithm,
    sp.sin: lambda p, u: sine_and_cosine(p, u)[0],
    sp.cos: lambda p, u: sine_and_cosine(p, u)[1],
    sp.tan: tangent,
    sp.sinh: lambda p, u: hyperbolic(p, u)[0],
    sp.cosh: lambda p, u: hyperbolic(p, u)[1],
    sp.tanh: hyperbolic_tangent,
    sp.asin: arcsine,
    sp.acos: arccosine,
    sp.atan: arctangent,
    sp.asinh: area_sine,
    sp.erf: error_function,
    sp.erfc: complementary_error_function,
}
"""The recurrence of each SymPy function of one argument that is smooth where it is defined."""
