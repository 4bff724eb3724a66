r"""Functions of two correlated normal variables: probabilities of quadrants and their derivatives.

For a centred pair ``(y_1, y_2)`` of covariance ``C`` with diagonal ``a, b`` and off-diagonal ``c``,
and thresholds ``t, u``,

    Orthant(a, b, c, t, u)         = P(y_1 > t, y_2 > u),
    ConditionalTail(a, b, c, t, u) = P(y_2 > u | y_1 = t),
    PairExponential(a, b, c, t, u) = exp(-(t, u) C^{-1} (t, u) / 2).

By Plackett (1954) ``d Orthant / dc`` is the density ``PairExponential / (2 pi Area)``, and
``d Orthant / da`` half the second derivative with respect to ``t``, so that the three, with `Area`
and elementary functions, are closed under differentiation. At equal variables they take the values
of their limits.
"""

from __future__ import annotations

from typing import Any

import mpmath
import sympy as sp

from resexpand.activations.arcsine import ArcCorrelation, Area
from resexpand.activations.rewritten import Rewritten

HALF = sp.Rational(1, 2)


def tail(variance: sp.Expr, threshold: sp.Expr) -> sp.Expr:
    """Return ``P(y > threshold)`` of a centred normal variable."""
    return sp.erfc(threshold / sp.sqrt(2 * variance)) / 2


def density(variance: sp.Expr, threshold: sp.Expr) -> sp.Expr:
    """Return the density of a centred normal variable."""
    return sp.exp(-(threshold**2) / (2 * variance)) / sp.sqrt(2 * sp.pi * variance)


def pair_density(a: sp.Expr, b: sp.Expr, c: sp.Expr, t: sp.Expr, u: sp.Expr) -> sp.Expr:
    """Return the density of a centred normal pair."""
    return PairExponential(a, b, c, t, u) / (2 * sp.pi * Area(a, b, c))


class PairFunction(Rewritten):
    """A function of the covariance of a pair and of two thresholds."""

    nargs = 5


def _ordered(
    function: type[PairFunction], a: sp.Expr, b: sp.Expr, c: sp.Expr, t: sp.Expr, u: sp.Expr
) -> sp.Expr | None:
    """Return a function that is symmetric in its variables with the two in order."""
    first, second = ([sp.default_sort_key(x) for x in pair] for pair in ((a, t), (b, u)))
    return function(b, a, c, u, t) if second < first else None


class Orthant(PairFunction):
    """``Orthant(a, b, c, t, u) = P(y_1 > t, y_2 > u)``."""

    is_nonnegative = True

    @classmethod
    def eval(cls, a: sp.Expr, b: sp.Expr, c: sp.Expr, t: sp.Expr, u: sp.Expr) -> sp.Expr | None:
        """Evaluate at the centre, for independent, for equal and for opposite variables."""
        if c == 0:
            return tail(a, t) * tail(b, u)
        if a == b == c:
            return tail(a, sp.Max(t, u))
        if a == b == -c:
            return sp.Integer(0) if (t + u).is_nonnegative else None
        if t == u == 0:
            return sp.Rational(1, 4) + ArcCorrelation(a, b, c) / (2 * sp.pi)
        return _ordered(cls, a, b, c, t, u)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """Return the derivative with respect to one of the five arguments."""
        a, b, c, t, u = self.args
        if argindex in (2, 5):
            a, b, t, u = b, a, u, t
        joint = pair_density(a, b, c, t, u)
        if argindex == 3:
            return joint
        edge = density(a, t) * ConditionalTail(a, b, c, t, u)
        return -edge if argindex in (4, 5) else t * edge / (2 * a) - c * joint / (2 * a)

    def written(self, text: Any) -> str:
        """Return the LaTeX of the function: the bivariate normal distribution function."""
        a, b, c, t, u = self.args
        limits = ", ".join(text(-x / sp.sqrt(v)) for x, v in ((t, a), (u, b)))
        correlation = text(c / a if a == b else c / sp.sqrt(a * b))
        return rf"\Phi_2\left({limits}; {correlation}\right)"

    def _eval_evalf(self, prec: int) -> sp.Expr:
        with mpmath.workprec(prec + 20):
            arguments = [mpmath.mpf(sp.N(x, mpmath.mp.dps + 10)) for x in self.args]
            value = orthant_probability(*arguments)
        return sp.Float(value, precision=prec)


class ConditionalTail(PairFunction):
    """``ConditionalTail(a, b, c, t, u) = P(y_2 > u | y_1 = t)``."""

    is_nonnegative = True

    @classmethod
    def eval(cls, a: sp.Expr, b: sp.Expr, c: sp.Expr, t: sp.Expr, u: sp.Expr) -> sp.Expr | None:
        """Evaluate at the centre, for independent, for equal and for opposite variables."""
        if t == u == 0:
            return HALF
        if c == 0:
            return tail(b, u)
        if a == b and c in (a, -a):
            return sp.Heaviside((t if c == a else -t) - u, HALF)
        return None

    @property
    def score(self) -> sp.Expr:
        """Distance of the conditional mean from the threshold, in conditional deviations."""
        a, b, c, t, u = self.args
        return (c * t - a * u) / (sp.sqrt(a) * Area(a, b, c))

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """Return the derivative with respect to one of the five arguments."""
        a, b, c, t, u = self.args
        exponential = PairExponential(*self.args) * sp.exp(t**2 / (2 * a)) / sp.sqrt(2 * sp.pi)
        area = Area(a, b, c)
        root = sp.sqrt(a) * area
        # The derivative of (c t - a u) / (sqrt(a) Area) with respect to the arguments.
        slope = {
            1: (-u - (c * t - a * u) * (1 / (2 * a) + b / (2 * area**2))) / root,
            2: -(c * t - a * u) * a / (2 * area**2) / root,
            3: (t + (c * t - a * u) * c / area**2) / root,
            4: c / root,
            5: -a / root,
        }[argindex]
        return exponential * slope

    def rewritten(self) -> sp.Expr:
        """Return the same in SymPy's own functions."""
        score = self.score.replace(Area, lambda *args: Area(*args).rewritten())
        return sp.erfc(-score / sp.sqrt(2)) / 2

    def written(self, text: Any) -> str:
        """Return the LaTeX of the function: the normal distribution function."""
        return rf"\Phi\left({text(self.score)}\right)"


class PairExponential(PairFunction):
    """``PairExponential(a, b, c, t, u) = exp(-(t, u) C^{-1} (t, u) / 2)``."""

    is_nonnegative = True

    @classmethod
    def eval(cls, a: sp.Expr, b: sp.Expr, c: sp.Expr, t: sp.Expr, u: sp.Expr) -> sp.Expr | None:
        """Evaluate at the centre, for independent, for equal and for opposite variables."""
        if t == u == 0:
            return sp.Integer(1)
        if c == 0:
            return sp.exp(-(t**2) / (2 * a) - u**2 / (2 * b))
        if a == b and c in (a, -a):
            meeting = t == (u if c == a else -u)
            return sp.exp(-(t**2) / (2 * a)) if meeting else sp.Integer(0)
        return _ordered(cls, a, b, c, t, u)

    @property
    def exponent(self) -> sp.Expr:
        """The quadratic form in the exponent."""
        a, b, c, t, u = self.args
        return -(b * t**2 - 2 * c * t * u + a * u**2) / (2 * Area(a, b, c) ** 2)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """Return the derivative with respect to one of the five arguments."""
        dummies = sp.symbols("a b c t u", cls=sp.Dummy, positive=True)
        exponent = PairExponential(*dummies).exponent
        slope = exponent.diff(dummies[argindex - 1])
        return self * slope.xreplace(dict(zip(dummies, self.args, strict=True)))

    def rewritten(self) -> sp.Expr:
        """Return the same in SymPy's own functions."""
        return sp.exp(self.exponent.replace(Area, lambda *args: Area(*args).rewritten()))


def orthant_probability(
    a: mpmath.mpf, b: mpmath.mpf, c: mpmath.mpf, t: mpmath.mpf, u: mpmath.mpf
) -> mpmath.mpf:
    """Return ``P(y_1 > t, y_2 > u)`` in the precision in force, by Plackett's integral.

    Parameters
    ----------
    a, b, c : mpmath.mpf
        Variances, positive, and covariance.
    t, u : mpmath.mpf
        Thresholds.
    """
    h, k = t / mpmath.sqrt(a), u / mpmath.sqrt(b)
    sine = c / mpmath.sqrt(a * b)

    def plackett(angle: mpmath.mpf) -> mpmath.mpf:
        s = mpmath.sin(angle)
        return mpmath.exp(-(h * h + k * k - 2 * h * k * s) / (2 * mpmath.cos(angle) ** 2))

    panels = mpmath.linspace(0, mpmath.asin(sine), 9)
    return mpmath.ncdf(-h) * mpmath.ncdf(-k) + mpmath.quad(plackett, panels) / (2 * mpmath.pi)


def conditional_probability(
    a: mpmath.mpf, b: mpmath.mpf, c: mpmath.mpf, t: mpmath.mpf, u: mpmath.mpf
) -> mpmath.mpf:
    """Return ``P(y_2 > u | y_1 = t)`` in the precision in force; arguments as above."""
    return mpmath.ncdf((c * t - a * u) / mpmath.sqrt(a * (a * b - c * c)))


def pair_factor(
    a: mpmath.mpf, b: mpmath.mpf, c: mpmath.mpf, t: mpmath.mpf, u: mpmath.mpf
) -> mpmath.mpf:
    """Return ``exp(-(t, u) C^{-1} (t, u) / 2)`` in the precision in force; arguments as above."""
    return mpmath.exp(-(b * t * t - 2 * c * t * u + a * u * u) / (2 * (a * b - c * c)))
