r"""How fast an activation grows, which decides which of its Gaussian averages exist.

For ``x ~ N(0, K)`` and ``|phi(x)| ~ exp(c x^2)`` at large ``|x|`` the average ``<phi^p>`` exists
for ``p c < 1/(2K)`` alone; what grows faster has none of them, what grows slower all. At finite
width a neuron is Gaussian with a variance that fluctuates itself: if ``phi`` grows faster than
every power, so do the tails of that variance, and the exact mean of ``<phi^2>`` behind the first
block is infinite, although each coefficient of its expansion in 1/N exists.

Read off numerically at large arguments, where numbers have the exponents that it takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import inf, log

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw
from resexpand.activations.at_point import value_at

NEAR, FAR = sp.Rational(100073, 10), sp.Rational(10000731, 10)
"""Arguments at which growth is read off; no zeros of periodic factors."""

FIRST = (sp.Rational(1037, 100), sp.Rational(10037, 100))
"""Arguments at which a tower of exponentials shows itself before it costs anything."""

STEEP = 6.0
"""Exponent ``p`` of ``log|phi| ~ x^p`` between the first arguments that needs no further look."""

SQUARE = (1.99, 2.01)
"""Exponents that count as 2."""

POWERS = 3.0
"""Growth of ``log|phi|`` from near to far up to which a power bounds ``phi``; 1.75 for a power."""


@dataclass(frozen=True)
class Growth:
    """Growth of an activation at large arguments.

    Attributes
    ----------
    rate : float
        ``c`` of ``exp(c x^2)``; 0 for slower, infinite for faster growth.
    polynomial : bool
        Whether it is bounded by a power.
    """

    rate: float
    polynomial: bool

    def largest_variance(self, power: int) -> float:
        """Return the variance of `x` at which ``<phi(x)^power>`` ceases to exist.

        Parameters
        ----------
        power : int
            ``>= 1``.
        """
        return inf if self.rate == 0 else 1 / (2 * power * self.rate)


@cache
def growth(law: ActivationLaw) -> Growth:
    """Return how fast an activation grows on its steeper side."""
    sides = [_side(law.expression, side) for side in (1, -1)]
    return Growth(max(s.rate for s in sides), all(s.polynomial for s in sides))


@cache
def growth_rate(expression: sp.Expr) -> float:
    """Return ``c`` of a function of `X` that grows like ``exp(c x^2)``; 0 for slower growth."""
    return max(_side(expression, side).rate for side in (1, -1))


def _side(expression: sp.Expr, side: int) -> Growth:
    first, second = (_logarithm(expression, side * x) for x in FIRST)
    if second == inf or (0 < first < second and _exponent(first, second, FIRST) > STEEP):
        return Growth(inf, False)
    near, far = (_logarithm(expression, side * x) for x in (NEAR, FAR))
    # A decaying or bounded function has a logarithm that is negative or small.
    if near <= 1 or far <= near:
        return Growth(0.0, True)
    exponent = _exponent(near, far, (NEAR, FAR))
    if exponent > SQUARE[1]:
        return Growth(inf, False)
    rate = 0.0
    if exponent >= SQUARE[0]:
        # A linear term in the exponent drops out of the slope of log|phi| / x.
        rate = (far / float(FAR) - near / float(NEAR)) / float(FAR - NEAR)
    return Growth(rate, far / near < POWERS)


def _exponent(near: float, far: float, at: tuple[sp.Rational, sp.Rational]) -> float:
    return log(far / near) / log(float(at[1] / at[0]))


def _logarithm(expression: sp.Expr, x: sp.Expr) -> float:
    """Return ``log |phi(x)|``, minus infinity where it vanishes or is no number."""
    try:
        value = sp.Abs(value_at(expression, sp.Float(x, 30)))
        if value is sp.oo:
            return inf
        logarithm = sp.log(value).evalf(20) if value.is_Float and value != 0 else -sp.oo
        return float(logarithm) if logarithm.is_Float else -inf
    except OverflowError:
        return inf
