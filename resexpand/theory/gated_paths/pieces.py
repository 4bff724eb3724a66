"""Piecewise-linear activations: their pieces, found and proved from the expression.

Between two switching points every ``Abs``, ``Max``, ``Min``, ``sign``, ``Heaviside`` and
``Piecewise`` takes one side, known from any point in between. What is left there must be a
polynomial of degree 1 or less.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from resexpand.activations.singularities import SWITCHES, breakpoints
from resexpand.errors import UnsupportedError
from resexpand.network.operation import Map

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Piece:
    """An interval on which the activation is ``slope * h + intercept``, exactly.

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


@dataclass(frozen=True)
class PiecewiseLinear:
    """An activation as its pieces, from left to right.

    Attributes
    ----------
    pieces : tuple of Piece
        They cover the line and join continuously.
    """

    pieces: tuple[Piece, ...]

    @property
    def is_homogeneous(self) -> bool:
        """Whether no piece has an intercept, so that paths start at the input alone."""
        return all(piece.intercept == 0 for piece in self.pieces)

    @property
    def is_linear(self) -> bool:
        """Whether there is one piece, so that no gate ever flips."""
        return len(self.pieces) == 1

    def slope(self, h: npt.ArrayLike) -> Array:
        """Return the gates: the slope at each preactivation, that on the right at a kink."""
        return self._looked_up(h, [piece.slope for piece in self.pieces])

    def intercept(self, h: npt.ArrayLike) -> Array:
        """Return what the activation adds to ``slope * h`` at each preactivation."""
        return self._looked_up(h, [piece.intercept for piece in self.pieces])

    def _looked_up(self, h: npt.ArrayLike, values: list[sp.Expr]) -> Array:
        kinks = np.array([float(piece.upper) for piece in self.pieces[:-1]], dtype=np.float64)
        table = np.array([float(value) for value in values], dtype=np.float64)
        places = np.searchsorted(kinks, np.asarray(h, dtype=np.float64), side="right")
        return np.asarray(table[places])


def piecewise_linear(activation: Map) -> PiecewiseLinear:
    """Return the pieces of a piecewise-linear activation.

    Raises
    ------
    UnsupportedError
        If it is curved somewhere, or jumps.

    Examples
    --------
    >>> from resexpand import Activation
    >>> [(p.slope, p.intercept) for p in piecewise_linear(Activation("relu")).pieces]
    [(0, 0), (1, 0)]
    """
    asked = f"the gated path sum of {activation.name}"
    if activation.jumps:
        points = ", ".join(map(str, activation.jumps))
        raise UnsupportedError(
            asked,
            f"it jumps at {points}, where no gate gives its value",
            "use a continuous activation such as relu, leaky_relu, Abs(x) or Max(-1, Min(1, x))",
        )
    expression, x = activation.expression, activation.variable
    ends = (-sp.oo, *breakpoints(expression, x), sp.oo)
    pieces: list[Piece] = []
    for lower, upper in pairwise(ends):
        resolved = sp.expand(_resolved(expression, x, _between(lower, upper)))
        if not resolved.is_polynomial(x) or sp.degree(resolved, x) > 1:
            raise UnsupportedError(
                asked,
                f"it is curved: on ({lower}, {upper}) it equals {resolved}",
                "use residual_expansion() for smooth blocks, or a piecewise-linear activation",
            )
        slope, intercept = resolved.coeff(x, 1), resolved.coeff(x, 0)
        if pieces and (pieces[-1].slope, pieces[-1].intercept) == (slope, intercept):
            pieces[-1] = Piece(pieces[-1].lower, upper, slope, intercept)
        else:
            pieces.append(Piece(lower, upper, slope, intercept))
    return PiecewiseLinear(tuple(pieces))


def _between(lower: sp.Expr, upper: sp.Expr) -> sp.Expr:
    if lower == -sp.oo:
        return sp.Integer(0) if upper == sp.oo else upper - 1
    return lower + 1 if upper == sp.oo else (lower + upper) / 2


def _resolved(expression: sp.Expr, x: sp.Symbol, point: sp.Expr) -> sp.Expr:
    """Replace every switch by the side it takes at a point; inner switches first."""

    def at(value: Any) -> Any:
        return value.subs(x, point)

    def side(node: sp.Expr) -> sp.Expr:
        if isinstance(node, sp.Piecewise):
            return next(value for value, condition in node.args if at(condition) == sp.true)
        if isinstance(node, sp.Max | sp.Min):
            best = max if isinstance(node, sp.Max) else min
            return best(node.args, key=at)
        if isinstance(node, sp.Abs):
            return node.args[0] if at(node.args[0]) >= 0 else -node.args[0]
        return at(node)

    return expression.replace(lambda node: isinstance(node, SWITCHES), side)
