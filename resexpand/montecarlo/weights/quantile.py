r"""A law of weights given by its inverse distribution function (quantile function) Q.

If u is uniform in (0, 1), then Q(u) has the law with distribution function :math:`Q^{-1}`. Q is a
SymPy expression in one symbol, compiled into the sampler like an activation; a weight is
:math:`\sqrt{s/N}\,Q(u)/\sigma`, where :math:`\sigma^2 = \int_0^1 Q^2 du` is computed here. The mean
:math:`\int_0^1 Q\,du` must vanish and the variance be finite.

u takes the :math:`2^{32}` midpoints of a lattice, so a law with tails so heavy that a share of its
variance lies beyond the outermost points is refused; one of infinite variance is such a law. What
lies between :math:`2^{-64}` and :math:`2^{-32}` from the ends stands for all that lies beyond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import mpmath
import sympy as sp

from resexpand.codegen.source import scalar_function
from resexpand.conventions import exact
from resexpand.errors import DescriptionError, ExpressionError, UnsupportedError
from resexpand.expressions import parse_expression
from resexpand.montecarlo.weights.law import INDEPENDENT, LAWS, WeightLaw

DIGITS = 30
TOLERANCE = 1e-9
"""Largest relative deviation of an integral that counts as rounding."""

UNRESOLVED = 1e-6
"""Largest share of the variance that may lie beyond the outermost points of the lattice."""

DIVERGENT = 1e-2
"""Share of a fourth moment in those tails above which it counts as infinite."""

TAIL, LEAST = mpmath.mpf(2) ** -32, mpmath.mpf(2) ** -64

ENTRIES = '''
@scalar
def entries(x, y, xx, yy):
    """Return four entries of unit variance."""
    a = {unit} * quantile(unit_uniform(x))
    b = {unit} * quantile(unit_uniform(y))
    c = {unit} * quantile(unit_uniform(xx))
    d = {unit} * quantile(unit_uniform(yy))
    return a, b, c, d
'''


def weight_law(value: object) -> WeightLaw:
    """Return a law: itself, a registered one by name, or that of a quantile function.

    A quantile function is an expression in one symbol, or the text of one in u.

    Raises
    ------
    UnsupportedError
        If there is no law of that name, or it is neither a name, an expression nor a law.
    DescriptionError, UnsupportedError
        As for `quantile_law`.
    """
    if isinstance(value, WeightLaw):
        return value
    if isinstance(value, sp.Basic | sp.MatrixBase):
        return quantile_law(value)
    if isinstance(value, str) and value in LAWS:
        return LAWS[value]
    why = "not a law of weights"
    if isinstance(value, str):
        try:
            return quantile_law(parse_expression(value, ("u",)))
        except ExpressionError as error:
            why = f"neither the name of a law nor an expression in u ({error.why})"
    raise UnsupportedError(
        f"weights={value!r}",
        why,
        f"use {', '.join(map(repr, LAWS))}, or the inverse distribution function as an expression "
        "in u, 0 < u < 1",
    )


def quantile_law(expression: sp.Expr, *, variance: float | None = None) -> WeightLaw:
    """Return the law of weights whose inverse distribution function is given.

    Parameters
    ----------
    expression : sympy.Expr
        Q in exactly one symbol, which runs from 0 to 1. Its scale is of no importance.
    variance : float, optional
        Its variance as you know it; checked.

    Raises
    ------
    DescriptionError
        If there is not one symbol, Q is not real and finite, its mean is not zero, or the variance
        is zero or not the one stated.
    UnsupportedError
        If the variance is infinite, or a part of it lies in tails that 32 random bits do not reach.

    Examples
    --------
    >>> import sympy as sp
    >>> u = sp.Symbol("u")
    >>> law = quantile_law(sp.log(u / (1 - u)))  # logistic
    >>> round(law.kurtosis, 9)
    4.2
    """
    symbol = _symbol(expression)
    # Written first: it refuses what has no numerical function, before anything is evaluated.
    text = scalar_function("quantile", [symbol], [expression])
    asked = f"weights with the quantile function {expression}"
    with mpmath.workdps(DIGITS):
        halves = _halves(expression, symbol)
        (first, _), (second, share), (fourth, fourth_share) = (
            _moment(halves, power) for power in (1, 2, 4)
        )
        if share > UNRESOLVED:
            raise UnsupportedError(
                asked,
                f"a share of at least {_short(share)} of its variance lies in tails that 32 random "
                "bits do not resolve, or it is infinite",
                "use a law with lighter tails",
            )
        if second == 0:
            raise DescriptionError(asked, "its variance is zero", "use a law that fluctuates")
        # The sampler divides by the deviation, so that the scale of Q plays no role.
        deviation = mpmath.sqrt(second)
        if abs(first) > TOLERANCE * deviation:
            raise DescriptionError(
                asked,
                f"its mean is {_short(first)}, and weights of a nonzero mean give kernels that "
                "grow with the width",
                "subtract the mean",
            )
        if variance is not None and abs(second - variance) > TOLERANCE * second:
            raise DescriptionError(
                asked,
                f"its variance is {_short(second)}, not {variance}",
                "state that variance, or none",
            )
        # A fourth moment that lives in unresolved tails counts as infinite.
        kurtosis = float(fourth / second**2) if fourth_share < DIVERGENT else float("inf")
    return WeightLaw(
        f"quantile {expression.xreplace({symbol: sp.Symbol('u')})}",
        {"dense": "loops.dense"},
        INDEPENDENT,
        kurtosis,
        "entries",
        (
            text,
            ENTRIES.format(unit=repr(float(1 / deviation))),
        ),
    )


def _symbol(expression: sp.Expr) -> sp.Symbol:
    try:
        symbols = sorted(exact(expression).free_symbols, key=sp.default_sort_key)
    except TypeError as error:
        raise DescriptionError(
            f"weights with the quantile function {expression}",
            str(error),
            "give an expression in one symbol, which runs from 0 to 1",
        ) from None
    if len(symbols) != 1:
        raise DescriptionError(
            f"weights with the quantile function {expression}",
            f"it has {len(symbols)} symbols",
            "give an expression in one, which runs from 0 to 1",
        )
    return symbols[0]


Half = tuple[Callable[[mpmath.mpf], mpmath.mpf], list[mpmath.mpf]]
"""A function of the distance to an end, 0 or 1, and points between which it is smooth."""


def _halves(expression: sp.Expr, symbol: sp.Symbol) -> tuple[Half, Half]:
    """Return Q(v) and Q(1 - v), each on (0, 1/2): near 1 the distance keeps its digits."""
    u = sp.Symbol("u")
    function = sp.lambdify(u, expression.xreplace({symbol: u}), "mpmath")

    def value_at(u: mpmath.mpf) -> mpmath.mpf:
        try:
            # Close to an end the expression may form differences with 1 or 1/2.
            with mpmath.workdps(2 * DIGITS):
                value = mpmath.mpmathify(function(u))
        except ZeroDivisionError:
            value = mpmath.nan
        if isinstance(value, mpmath.mpc) or not mpmath.isfinite(value):
            raise DescriptionError(
                f"weights with the quantile function {expression}",
                f"at {symbol} = {_short(u)} its value is {value}",
                "use a function that is real and finite between 0 and 1",
            )
        return value

    def mirrored(v: mpmath.mpf) -> mpmath.mpf:
        with mpmath.workdps(2 * DIGITS):
            return value_at(1 - v)

    points = _points(expression, symbol)
    half = mpmath.mpf(1) / 2
    return (
        (value_at, [x for x in points if x <= half]),
        (mirrored, [1 - x for x in reversed(points) if x >= half]),
    )


def _points(expression: sp.Expr, symbol: sp.Symbol) -> list[mpmath.mpf]:
    """Return 0, 1/2, 1 and the points where cases of the expression meet."""
    # A quadrature across a kink converges slowly: every border of a case starts a panel.
    borders = [relation.lhs - relation.rhs for relation in expression.atoms(sp.Rel)]
    borders += [f.args[0] for f in expression.atoms(sp.Abs, sp.sign, sp.Heaviside)]
    found = {sp.Integer(0), sp.Rational(1, 2), sp.Integer(1)}
    for border in borders:
        found |= {x for x in sp.solve(border, symbol) if x.is_real and 0 < x < 1}
    return [mpmath.mpf(sp.N(x, DIGITS)) for x in sorted(found)]


def _moment(halves: Iterable[Half], power: int) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Return the integral of Q^power, and the share of that of |Q|^power in the outermost tails."""
    total = size = tails = mpmath.mpf(0)
    for function, points in halves:

        def integrand(v: mpmath.mpf, f: Callable[..., mpmath.mpf] = function) -> mpmath.mpf:
            return f(v) ** power

        # Panels shrink towards the ends in geometric steps, since Q may grow there like a power.
        ends = [LEAST, mpmath.sqrt(LEAST * TAIL), TAIL]
        inner = [TAIL, *(mpmath.mpf(2) ** -k for k in (16, 8, 4)), *points]
        beyond = mpmath.quad(integrand, ends)
        part = mpmath.quad(integrand, sorted(x for x in set(inner) if x >= TAIL))
        total, size, tails = total + part + beyond, size + abs(part), tails + abs(beyond)
    return total, tails / size if size else mpmath.mpf(0)


def _short(value: mpmath.mpf) -> str:
    return str(mpmath.nstr(value, 6))
