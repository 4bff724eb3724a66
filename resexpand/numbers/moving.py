"""Second moments of columns together with their change to first order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moving:
    """Second moments of columns, and their change where one is followed.

    Attributes
    ----------
    value : ndarray, shape (..., n, n)
    change : ndarray or None
        Several changes have an axis in front.
    """

    value: Array
    change: Array | None = None

    def scaled(self, factor: Array | float) -> Moving:
        """Return them times a number."""
        return Moving(factor * self.value, None if self.change is None else factor * self.change)

    def part(self, rows: slice, columns: slice) -> Moving:
        """Return some rows and columns of them."""
        change = None if self.change is None else self.change[..., rows, columns]
        return Moving(self.value[..., rows, columns], change)

    def plus(self, other: Moving) -> Moving:
        """Return the sum of both."""
        if self.change is None or other.change is None:
            return Moving(self.value + other.value)
        return Moving(self.value + other.value, self.change + other.change)


def beside(train: Moving, test: Moving, across: Moving) -> Moving:
    """Return the moments of columns of training and of those behind, from the three parts.

    Parameters
    ----------
    train, test : Moving
        Shapes (..., m, m) and (..., t, t).
    across : Moving
        Shape (..., m, t).
    """
    changed = None
    if train.change is not None and test.change is not None and across.change is not None:
        changed = _whole(train.change, test.change, across.change)
    return Moving(_whole(train.value, test.value, across.value), changed)


def _whole(train: Array, test: Array, across: Array) -> Array:
    leading = np.broadcast_shapes(*(part.shape[:-2] for part in (train, test, across)))
    cut, size = train.shape[-1], train.shape[-1] + test.shape[-1]
    whole = np.empty((*leading, size, size))
    whole[..., :cut, :cut], whole[..., cut:, cut:] = train, test
    whole[..., :cut, cut:], whole[..., cut:, :cut] = across, across.swapaxes(-1, -2)
    return whole
