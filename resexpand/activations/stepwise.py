r"""Polynomials behind steps and error functions: closed averages by Gaussian integration by parts.

An activation of this class is

    phi(x) = P_0(x) + sum_j P_j(x) H_j(x),    H_j(x) = P( sign_j x + s_j z > t_j ),

with polynomials ``P``: the step functions have no noise, ``s_j = 0``, and the functions ``erf(b x +
c)`` are steps of ``x`` plus independent Gaussian noise of deviation ``s_j = 1/(sqrt(2) |b|)``. All
piecewise polynomials with finitely many breaks are of this kind, GELU, too. `P_0` is the polynomial
around the origin and every step points away from it, so that at small variance no piece cancels
another.

With ``y = sign x + s z`` the average of ``x_1^m x_2^n`` behind two steps obeys, by Stein's lemma,

    F(m, n) = (m-1) K11 F(m-2, n) + n K12 F(m-1, n-1)
              + <x_1 y_1> G_1(m-1, n) + <x_1 y_2> G_2(m-1, n),

where ``G_k`` has ``delta(y_k - t_k)`` in place of a step; conditioned on it the same lemma holds,
and conditioned on both the moments are those of a Gaussian. `Orthant`, `ConditionalTail` and
`PairExponential` are what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import sympy as sp

from resexpand.activations.collection import collected
from resexpand.activations.in_range import InRange
from resexpand.activations.orthant import ConditionalTail, Orthant, density, pair_density, tail

Polynomial = tuple[sp.Expr, ...]
"""Coefficients, the constant first."""

ZERO, HALF = sp.Integer(0), sp.Rational(1, 2)
EPSILON = 2.0**-52


@dataclass(frozen=True)
class Step:
    """The probability that ``sign x + noise z > threshold`` as a function of ``x``.

    Attributes
    ----------
    sign : int
        1 or -1.
    threshold : sympy.Expr
        A number.
    noise : sympy.Expr
        Variance of the noise, a number, 0 for a step function.
    """

    sign: int
    threshold: sp.Expr
    noise: sp.Expr


Part = tuple[Polynomial, Step | None]
"""A polynomial and the step behind which it stands, if any."""


def pair_average(parts: Sequence[Part], k11: sp.Expr, k12: sp.Expr, k22: sp.Expr) -> sp.Expr:
    """Return ``<phi(x_1) phi(x_2)>`` for the covariance entries 11, 12 and 22."""
    averages = (
        _Moments((k11, k12, k22), (left, right)).average(first, second)
        for first, left in parts
        for second, right in parts
    )
    return _limited(parts, collected(sp.Add(*averages)), k11, k22)


def variance(parts: Sequence[Part], k: sp.Expr) -> sp.Expr:
    """Return ``<phi(x)^2>``."""
    return pair_average(parts, k, k, k)


def mean(parts: Sequence[Part], k: sp.Expr) -> sp.Expr:
    """Return ``<phi(x)>``."""
    one = (sp.Integer(1),)
    averages = (
        _Moments((k, k, k), (step, None)).average(polynomial, one) for polynomial, step in parts
    )
    return _limited(parts, collected(sp.Add(*averages)), k)


LOST = 1e-11
"""Relative error of rounding up to which a difference of growing terms is used."""


def is_limited(parts: Sequence[Part]) -> bool:
    """Whether the averages have digits up to some variance alone."""
    return _largest_variance(parts) is not None


def _limited(parts: Sequence[Part], average: sp.Expr, *variances: sp.Expr) -> sp.Expr:
    """Return an average that is no number at variances where its terms cancel."""
    limit = _largest_variance(parts)
    if limit is None or average == 0:
        return average
    return average * sp.Mul(*(InRange(k, limit) for k in dict.fromkeys(variances)))


def _largest_variance(parts: Sequence[Part]) -> sp.Expr | None:
    """Return the variance at which the parts are ``eps/LOST`` times their sum; None for all."""
    degree = max(len(polynomial) for polynomial, _ in parts) - 1
    ends = [
        [
            sp.Add(
                *(p[n] for p, step in parts if n < len(p) and (step is None or step.sign == side))
            )
            for n in range(degree + 1)
        ]
        for side in (1, -1)
    ]
    outer = max((n for end in ends for n, value in enumerate(end) if value != 0), default=-HALF)
    if outer == degree:
        return None
    steepest = max(abs(p[-1]) for p, _ in parts if len(p) == degree + 1)
    height = max(abs(end[outer]) for end in ends) if outer >= 0 else 1
    ratio = LOST / EPSILON * float(height / steepest) ** 2
    return sp.Float(ratio ** float(1 / (degree - outer)))


class _Moments:
    """Averages of ``x_1^m x_2^n`` behind the steps of two parts."""

    def __init__(
        self, covariance: tuple[sp.Expr, sp.Expr, sp.Expr], steps: tuple[Step | None, Step | None]
    ) -> None:
        self.k = covariance
        self.steps = steps
        self.powers = cache(self._powers)
        self.at_edge = cache(self._at_edge)
        self.at_corner = cache(self._at_corner)

    def average(self, first: Polynomial, second: Polynomial) -> sp.Expr:
        """Return the average of two polynomials behind the steps."""
        return sp.Add(
            *(
                a * b * self.powers(m, n)
                for m, a in enumerate(first)
                for n, b in enumerate(second)
                if a != 0 and b != 0
            )
        )

    def step(self, j: int) -> Step:
        """Return a step that is known to be there."""
        step = self.steps[j]
        if step is None:
            raise TypeError(f"no step in front of variable {j + 1}")
        return step

    def x(self, i: int, j: int) -> sp.Expr:
        """Return ``<x_i x_j>``."""
        return self.k[i + j]

    def xy(self, i: int, j: int) -> sp.Expr:
        """Return ``<x_i y_j>``."""
        return self.step(j).sign * self.k[i + j]

    def y(self) -> tuple[sp.Expr, sp.Expr, sp.Expr, sp.Expr, sp.Expr]:
        """Return the covariance of ``(y_1, y_2)`` and the thresholds."""
        first, second, (a, c, b) = self.step(0), self.step(1), self.k
        cross = first.sign * second.sign * c
        return a + first.noise, b + second.noise, cross, first.threshold, second.threshold

    def _powers(self, m: int, n: int) -> sp.Expr:
        """Return ``F(m, n)``."""
        if m < 0 or n < 0:
            return ZERO
        if m == n == 0:
            return self._probability()
        i, (p, q) = (0, (m - 1, n)) if m else (1, (m, n - 1))
        value = self.x(i, 0) * p * self.powers(p - 1, q) if p else ZERO
        value += self.x(i, 1) * q * self.powers(p, q - 1) if q else ZERO
        for j in (0, 1):
            if self.steps[j] is not None:
                value += self.xy(i, j) * self.at_edge(j, p, q)
        return value

    def _probability(self) -> sp.Expr:
        first, second = self.steps
        if first is not None and second is not None:
            return Orthant(*self.y())
        i, step = (0, first) if second is None else (1, second)
        if step is None:
            return sp.Integer(1)
        return tail(self.x(i, i) + step.noise, step.threshold)

    def _at_edge(self, j: int, m: int, n: int) -> sp.Expr:
        """Return ``G_j(m, n)``: the average with ``delta(y_j - t_j)`` in place of step ``j``."""
        if m < 0 or n < 0:
            return ZERO
        step, other = self.step(j), self.steps[1 - j]
        size = self.x(j, j) + step.noise
        if m == n == 0:
            return density(size, step.threshold) * self._beyond_edge(j)
        i, (p, q) = (0, (m - 1, n)) if m else (1, (m, n - 1))

        def rest(value: sp.Expr, left: sp.Expr, right: sp.Expr) -> sp.Expr:
            return sp.cancel(value - left * right / size)

        value = sp.cancel(self.xy(i, j) / size) * step.threshold * self.at_edge(j, p, q)
        for to, power, lowered in ((0, p, (p - 1, q)), (1, q, (p, q - 1))):
            if power:
                spread = rest(self.x(i, to), self.xy(i, j), self.xy(to, j))
                value += spread * power * self.at_edge(j, *lowered)
        if other is not None:
            cross = other.sign * step.sign * self.k[1]
            spread = rest(self.xy(i, 1 - j), self.xy(i, j), cross)
            value += spread * self.at_corner(p, q) if spread != 0 else ZERO
        return value

    def _beyond_edge(self, j: int) -> sp.Expr:
        if self.steps[1 - j] is None:
            return sp.Integer(1)
        a, b, c, t, u = self.y()
        return ConditionalTail(*((a, b, c, t, u) if j == 0 else (b, a, c, u, t)))

    def _at_corner(self, m: int, n: int) -> sp.Expr:
        """Return the average with delta functions in place of both steps."""
        if m < 0 or n < 0:
            return ZERO
        a, b, c, t, u = self.y()
        if m == n == 0:
            return pair_density(a, b, c, t, u)
        i, (p, q) = (0, (m - 1, n)) if m else (1, (m, n - 1))
        weights = self._regression(i)
        value = (weights[0] * t + weights[1] * u) * self.at_corner(p, q)
        for to, power, lowered in ((0, p, (p - 1, q)), (1, q, (p, q - 1))):
            explained = weights[0] * self.xy(to, 0) + weights[1] * self.xy(to, 1)
            spread = sp.cancel(self.x(i, to) - explained)
            if power and spread != 0:
                value += spread * power * self.at_corner(*lowered)
        return value

    def _regression(self, i: int) -> tuple[sp.Expr, sp.Expr]:
        """Return the weights of ``(y_1, y_2)`` in the mean of ``x_i``, given both."""
        a, b, c, *_ = self.y()
        first, second = self.xy(i, 0), self.xy(i, 1)
        determinant = a * b - c**2
        if self.step(i).noise == 0:
            sign = sp.Integer(self.step(i).sign)
            return (sign, ZERO) if i == 0 else (ZERO, sign)
        return (b * first - c * second) / determinant, (a * second - c * first) / determinant
