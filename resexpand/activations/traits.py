"""Shape of a function: its pieces between the points at which it switches.

Between two such points every ``Abs``, ``Max``, ``Min``, ``sign``, ``Heaviside`` and ``Piecewise``
takes one side, known from any point in between. A function whose pieces are polynomials of degree 1
or less is piecewise linear; one that in addition is `a x` for `x > 0` and `b x` for `x < 0` is
positively homogeneous.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import sympy as sp

from resexpand.activations.activation_law import X
from resexpand.activations.singularities import SWITCHES, breakpoints


@dataclass(frozen=True)
class Piece:
    """An interval on which a function is ``slope * x + intercept``, exactly.

    Attributes
    ----------
    lower, upper : sympy.Expr
        Ends of the interval, possibly infinite.
    slope, intercept : sympy.Expr
    """

    lower: sp.Expr
    upper: sp.Expr
    slope: sp.Expr
    intercept: sp.Expr


@cache
def linear_pieces(expression: sp.Expr) -> tuple[Piece, ...] | str:
    """Return the pieces of a function of `X` from left to right, or words on one that is curved."""
    if any(node.free_symbols - {X} for node in expression.atoms(*SWITCHES)):
        return "it switches where a parameter says"
    breaks = breakpoints(expression, X)
    pieces: list[Piece] = []
    ends = pairwise((-sp.oo, *breaks, sp.oo))
    for (lower, upper), point in zip(ends, between(breaks), strict=True):
        piece = sp.expand(resolved(expression, point))
        if not piece.is_polynomial(X) or sp.degree(piece, X) > 1:
            return f"on ({lower}, {upper}) it equals {piece}"
        slope, intercept = piece.coeff(X, 1), piece.coeff(X, 0)
        if pieces and (pieces[-1].slope, pieces[-1].intercept) == (slope, intercept):
            pieces[-1] = replace(pieces[-1], upper=upper)
        else:
            pieces.append(Piece(lower, upper, slope, intercept))
    return tuple(pieces)


def is_piecewise_linear(expression: sp.Expr) -> bool:
    """Whether a function of `X` is linear between finitely many points, where it may jump."""
    return isinstance(linear_pieces(expression), tuple)


def is_homogeneous(expression: sp.Expr) -> bool:
    """Whether ``phi(c x) = c phi(x)`` for every c > 0: two slopes that meet at 0."""
    pieces = linear_pieces(expression)
    return isinstance(pieces, tuple) and all(piece.intercept == 0 for piece in pieces)


def between(breaks: Sequence[sp.Expr]) -> list[sp.Rational]:
    """Return a point on either side of every break."""
    if not breaks:
        return [sp.Integer(0)]
    values = [sp.Rational(str(b.evalf(30))) for b in breaks]
    middles = [(a + b) / 2 for a, b in pairwise(values)]
    return [values[0] - 1, *middles, values[-1] + 1]


def resolved(expression: sp.Expr, point: sp.Rational) -> sp.Expr:
    """Return an expression in `X` with every switch in the position that it has at a point."""
    if not expression.has(X):
        return expression
    if isinstance(expression, sp.Piecewise):
        for value, condition in expression.args:
            if condition.subs(X, point) == sp.true:
                return resolved(value, point)
        return sp.nan
    parts = [resolved(part, point) for part in expression.args]
    if isinstance(expression, sp.Max | sp.Min):
        choose = max if isinstance(expression, sp.Max) else min
        return choose(parts, key=lambda part: part.subs(X, point).evalf(30))
    if isinstance(expression, sp.Abs | sp.sign | sp.Heaviside):
        side = sp.sign(parts[0].subs(X, point))
        steps = {sp.Abs: side * parts[0], sp.sign: side, sp.Heaviside: (1 + side) / 2}
        return steps[type(expression)]
    return expression.func(*parts) if parts else expression
