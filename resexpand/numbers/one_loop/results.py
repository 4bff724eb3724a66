"""From entries of Gram matrices to the arrays that are returned, and what is made of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resexpand.numbers.one_loop.tables import entry_index

Array = NDArray[np.float64]


LENGTH = 2.0
"""N times the relative variance of the mean square of N normals."""


def matrices(inputs: int, name: str, array: Array) -> Array:
    """Return entries as D x D matrices."""
    index = entry_index(inputs)
    square = np.array([[index[i, j] for j in range(inputs)] for i in range(inputs)])
    whole = array[:, :, square]
    return np.asarray(whole[..., square] if name.endswith("_cov") else whole)


def alone(name: str, array: Array) -> Array:
    """Return a result of one input without axes for inputs."""
    if name == "validity":
        return array
    if name == "kurtosis":
        return array[..., 0]
    return array[:, :, 0, 0, :, 0, 0] if name.endswith("_cov") else array[:, :, 0, 0]


def derived(arrays: dict[str, Array], *, normalised: bool = False) -> dict[str, Array]:
    """Return what is made of the others: cumulants of the outputs, and the validity.

    The validity is the relative variance of the kernel of the stream, times N. Where the stream is
    normalised, that is 2, of the length that the normalisation meets, and that of C is added.
    Takes ``weights_cov``, the fourth cumulants that weights of another law give the outputs, out of
    the arrays.
    """
    kernel, spread = (arrays[name] for name in (("C", "C_cov") if normalised else ("K", "G_cov")))
    weights = arrays.pop("weights_cov", None)
    each, blocks = np.arange(kernel.shape[-1]), np.arange(kernel.shape[1])
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
        "validity": relative.max(axis=-1) + (LENGTH if normalised else 0.0),
    }


def _relative(value: Array, scale: Array) -> Array:
    """Return a quotient, 0 where both vanish (an input of length zero)."""
    return np.divide(value, scale, out=np.zeros_like(value), where=scale != 0)
