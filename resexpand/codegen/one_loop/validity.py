"""Where the order 1/N can be trusted, and what is said where it cannot.

The order that is neglected is about ``v/N`` of the one that is given, ``v = N Var G/K^2``. In
linear networks and ``V relu(W h)``, which are solvable at every width, it is 0.2 to 0.5 of that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LIMIT = 0.25
"""Relative size ``v/N`` of the next order above which results are marked."""


def judged(validity: Array, width: int | None) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return the relative size of the next order at a width, and a sentence where it is large.

    Parameters
    ----------
    validity : ndarray, shape grid + (layers,)
        ``v = N Var G / K^2``.
    width : int or None
        Neurons per layer, if it is known where the results will be used.
    """
    if width is None:
        return {}, ()
    error = validity / width
    beyond = error > LIMIT
    if not beyond.any():
        return {"relative_error": error}, ()
    layers = beyond.any(axis=tuple(range(beyond.ndim - 1)))
    first = int(np.nonzero(layers)[0][0])
    needed = int(np.ceil(validity.max() / LIMIT))
    return {"relative_error": error}, (
        f"the expansion in 1/N is not valid at width {width} from layer {first} on: the next "
        f"order is {float(error.max()):.2g} of the first; it needs a width of at least {needed}",
    )
