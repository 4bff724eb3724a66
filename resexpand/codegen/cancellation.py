"""Digits that double precision leaves of an output that is a difference of larger terms.

The remainder of an order profile is ``K - 2 sum_j <h.T_j> + sum_jk <T_j.T_k>``, a small number left
over from terms of the size of the kernel. Each of these carries the rounding of its layers, so that
the remainder at layer ``l`` of orders up to ``k`` is known to

    4 eps (l + (k + 1)^2) K,     K <= (sqrt(K^0) + sqrt(R_0))^2,

and what is smaller is rounding, of either sign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from resexpand.theory.recursion import Output

Array = NDArray[np.float64]
EPSILON = float(np.finfo(np.float64).eps)


def unresolved(
    outputs: Sequence[Output], arrays: Mapping[str, Array], start: Array
) -> tuple[str, ...]:
    """Set small values below zero to zero, and return sentences on what is not resolved.

    Parameters
    ----------
    outputs : sequence of Output
        Those that are a `difference` are looked at.
    arrays : mapping of str to ndarray, shape (..., L + 1, n)
        By output, changed in place.
    start : ndarray, shape (...)
        The kernel at layer 0.
    """
    found = (_unresolved(o, arrays[o.name], start) for o in outputs if o.difference)
    return tuple(sentence for sentence in found if sentence)


def _unresolved(output: Output, values: Array, start: Array) -> str:
    """Return what one output does not resolve, empty if nothing."""
    layers, orders = np.arange(values.shape[-2])[:, None], np.arange(values.shape[-1])
    with np.errstate(invalid="ignore", over="ignore"):
        first = np.maximum(values[..., :1], 0.0)
        size = (np.sqrt(np.asarray(start)[..., None, None]) + np.sqrt(first)) ** 2
        error = 4 * EPSILON * (layers + (orders + 1) ** 2) * size
        below = np.abs(values) <= error
    np.maximum(values, 0.0, out=values, where=below)
    # Nothing is left out, exactly, of the input and of one block, nor of finite series.
    below &= (layers > orders) if output.finite else (layers > 1)
    if not below.any():
        return ""
    return (
        f"{output.name} is rounding at {int(below.sum())} of {values.size} entries: differences of "
        f"terms of the size of K are only good to {error[below].max():.1g} there"
    )
