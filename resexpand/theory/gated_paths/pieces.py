"""Piecewise-linear activations: gates and intercepts, from their pieces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sympy as sp

from resexpand.activations.traits import Piece, linear_pieces
from resexpand.errors import UnsupportedError
from resexpand.network.operation import Map

Array = npt.NDArray[np.float64]


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
    pieces = linear_pieces(activation.expression)
    if isinstance(pieces, str):
        raise UnsupportedError(
            asked,
            f"it is curved: {pieces}",
            "use residual_expansion() for smooth blocks, or a piecewise-linear activation",
        )
    return PiecewiseLinear(pieces)
