"""Digits that double precision leaves of an output that is a difference of larger terms.

The remainder of an order profile is ``K - 2 sum_j <h.T_j> + sum_jk <T_j.T_k>``, a small number left
over from terms of the size of the kernel. Each of these carries the rounding of its layers, so that
the remainder at layer ``l`` of orders up to ``k`` is known to

    4 eps (l + (k + 1)^2) K,     K <= (sqrt(K^0) + sqrt(R_0))^2,

and what is smaller is rounding, of either sign. Where the orders beyond ``k`` that were derived
fall fast, their own sum takes its place: with ``T`` the sum of ``<T_i.T_j>``, ``k < i, j <= n``,
what lies beyond the last order ``n`` has about the second moment
``t = <T_n.T_n>^2 / <T_(n-1).T_(n-1)>``, and the remainder is ``T`` up to ``2 sqrt(T t) + t``.
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
    found = (
        _unresolved(o, arrays[o.name], arrays.get("profile"), start)
        for o in outputs
        if o.difference
    )
    return tuple(sentence for sentence in found if sentence)


SMALL = 1e-2
"""Relative error up to which the sum of the derived orders stands for a remainder."""


def _sums_of_orders(profile: Array) -> tuple[Array, Array]:
    """Return sums of the orders beyond each, and their errors: shape ``(..., L + 1, n)``.

    The error is infinite where it is not known or not small.
    """
    count = profile.shape[-1]
    sums = np.stack(
        [profile[..., k + 1 :, k + 1 :].sum(axis=(-2, -1)) for k in range(count)], axis=-1
    )
    own = np.diagonal(profile, axis1=-2, axis2=-1)
    fall = np.full(own.shape[:-1], np.inf)
    if count > 2:
        # Order zero is the input, which no scale is in.
        fall = np.where(own[..., -2] > 0, own[..., -1] / own[..., -2], np.inf)
    beyond = (fall * own[..., -1])[..., None]
    with np.errstate(invalid="ignore", over="ignore"):
        errors = 2 * np.sqrt(sums * beyond) + beyond
        known = (fall[..., None] < SMALL**2) & (sums > 0) & (errors <= SMALL * sums)
    return sums, np.where(known, errors, np.inf)


def _unresolved(output: Output, values: Array, profile: Array | None, start: Array) -> str:
    """Return what one output does not resolve, empty if nothing."""
    layers, orders = np.arange(values.shape[-2])[:, None], np.arange(values.shape[-1])
    with np.errstate(invalid="ignore", over="ignore"):
        first = np.maximum(values[..., :1], 0.0)
        size = (np.sqrt(np.asarray(start)[..., None, None]) + np.sqrt(first)) ** 2
        error = 4 * EPSILON * (layers + (orders + 1) ** 2) * size
        below = np.abs(values) <= error
        if profile is not None and profile.shape[:-1] == values.shape:
            sums, errors = _sums_of_orders(profile)
            # Where both are known the more accurate one is given.
            better = errors < error
            np.copyto(values, sums, where=better)
            below &= ~better
    np.maximum(values, 0.0, out=values, where=below)
    # Nothing is left out, exactly, of the input and of one block, nor of finite series.
    below &= (layers > orders) if output.finite else (layers > 1)
    if not below.any():
        return ""
    return (
        f"{output.name} is rounding at {int(below.sum())} of {values.size} entries: differences of "
        f"terms of the size of K are only good to {error[below].max():.1g} there; "
        "remainders after an order below the highest are resolved at small scales"
    )
