"""From entries of Gram matrices to the arrays that are returned, and what is made of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resexpand.numbers.one_loop.tables import entry_index

Array = NDArray[np.float64]


def matrices(inputs: int, name: str, array: Array) -> Array:
    """Return entries as D x D matrices; as plain numbers for one input."""
    if name in ("K", "C"):
        return array[..., 0, 0] if inputs == 1 else array
    index = entry_index(inputs)
    if inputs == 1:
        return array[:, :, 0, :, 0] if name.endswith("_cov") else array[..., 0]
    square = np.array([[index[i, j] for j in range(inputs)] for i in range(inputs)])
    return array[:, :, square] if array.ndim == 3 else array[:, :, square][..., square]


def derived(inputs: int, arrays: dict[str, Array]) -> dict[str, Array]:
    """Return what is made of the others: cumulants of the outputs, and the validity.

    Takes ``weights_cov``, the fourth cumulants that weights of another law give the outputs, out of
    the arrays.
    """
    kernel, spread = arrays["K"], arrays["G_cov"]
    weights = arrays.pop("weights_cov", None)
    if inputs == 1:
        variance = np.diagonal(spread, axis1=1, axis2=2)
        last, final = arrays["C_cov"][:, -1, -1], arrays["C"][:, -1]
        four = 3 * last if weights is None else 3 * last + weights[:, 0, 0]
        return {
            "kurtosis": _relative(four, final**2),
            "validity": _relative(variance, kernel**2),
        }
    each, blocks = np.arange(inputs), np.arange(kernel.shape[1])
    own = np.moveaxis(spread[:, blocks, :, :, blocks], 0, 1)
    variance = own[..., each, each, each, each]
    covariance = arrays["C_cov"][:, -1, :, :, -1]
    four = covariance + covariance.swapaxes(2, 3) + covariance.transpose(0, 1, 4, 3, 2)
    if weights is not None:
        four = four + weights[:, 0, :, :, 0]
    final = arrays["C"][:, -1][..., each, each]
    relative = _relative(variance, kernel[..., each, each] ** 2)
    return {
        "four_point": four,
        "kurtosis": _relative(four[..., each, each, each, each], final**2),
        "validity": relative.max(axis=-1),
    }


def _relative(value: Array, scale: Array) -> Array:
    """Return a quotient, 0 where both vanish (an input of length zero)."""
    return np.divide(value, scale, out=np.zeros_like(value), where=scale != 0)
