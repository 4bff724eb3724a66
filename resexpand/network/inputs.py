"""The covariance kernel at layer 0: validated as given, or computed from data by the read-in.

For inputs ``X`` of shape ``(D, d_in)`` and a read-in with weight variance ``s_w2 / d_in`` and bias
variance ``s_b2`` the kernel is ``K^0 = s_w2 X X^T / d_in + s_b2``.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resexpand.errors import HyperparameterError, KernelError
from resexpand.network.files import array_file
from resexpand.network.numbers import real_array

PSD_TOLERANCE = 1e-10
"""Most negative eigenvalue of a correlation matrix that counts as rounding."""

SYMMETRY_TOLERANCE = 1e-12
"""Largest difference of a kernel from its transpose, as a correlation, that counts as rounding."""


def kernel_numbers(value: ArrayLike) -> NDArray[np.float64]:
    """Return a kernel as an array of doubles, not yet looked at.

    Raises
    ------
    KernelError
        If it is not made of real numbers.
    """
    try:
        return real_array(value, "K0", finite=False)
    except HyperparameterError as error:
        raise KernelError(error.asked, error.why, error.remedy) from None


def validated_kernel(value: ArrayLike, *, matrix: bool) -> NDArray[np.float64]:
    """Return a kernel as an array, or say why it is none.

    Parameters
    ----------
    value : array_like
        ``(...,)`` non-negative numbers, or ``(..., D, D)`` symmetric positive semi-definite
        matrices if `matrix` is set.
    matrix : bool
        Whether a matrix over inputs is meant.

    Raises
    ------
    KernelError
        If the kernel is not finite, not of this shape, or not positive semi-definite.
    """
    kernel = kernel_numbers(value)
    if not np.isfinite(kernel).all():
        raise KernelError("K0", "it holds NaN or infinity", "give finite numbers")
    if not matrix:
        if (kernel < 0).any():
            raise KernelError(f"K0 = {kernel.min()}", "a variance is never negative", "give >= 0")
        return kernel
    if kernel.ndim < 2 or kernel.shape[-1] != kernel.shape[-2] or kernel.shape[-1] == 0:
        raise KernelError(
            f"K0 of shape {kernel.shape}",
            "the recursion is of several inputs",
            "give D x D matrices in the last two axes",
        )
    _check_covariance(kernel)
    return kernel


def _check_covariance(kernel: NDArray[np.float64]) -> None:
    """Raise unless matrices in the last two axes are covariances.

    Correlations are compared, not covariances: a rounding error is relative to the two inputs it
    belongs to, and inputs may differ in length by orders of magnitude.
    """
    variances = np.diagonal(kernel, axis1=-2, axis2=-1)
    if (variances < 0).any():
        raise KernelError(
            f"K0 with the variance {variances.min()}", "a variance is never negative", "give >= 0"
        )
    lengths = np.sqrt(variances)
    product = lengths[..., :, None] * lengths[..., None, :]
    scale = np.where(product > 0, product, 1.0)
    if (np.abs(kernel - kernel.swapaxes(-1, -2)) > SYMMETRY_TOLERANCE * scale).any():
        raise KernelError("K0", "it is not symmetric", "give (K0 + K0.T) / 2")
    lowest = np.linalg.eigvalsh(kernel / scale).min(initial=np.inf)
    # An input of zero length is correlated with nothing.
    if lowest < -PSD_TOLERANCE or (kernel[product == 0] != 0).any():
        raise KernelError(
            "K0",
            f"it is not positive semi-definite (smallest eigenvalue of the correlations "
            f"{lowest:.3g})",
            "a covariance of inputs always is: check |K0_12| <= sqrt(K0_11 K0_22)",
        )


def kernel_from_inputs(
    inputs: ArrayLike | str | os.PathLike[str], read_in: tuple[ArrayLike, ArrayLike] | None
) -> NDArray[np.float64]:
    """Return the kernel that a read-in gives to data.

    Parameters
    ----------
    inputs : array_like, shape (D, d_in), or path-like
        One input per row, or the name of a file that holds them (`resexpand.network.files`).
    read_in : tuple of array_like or None
        Weight variance (times fan-in) and bias variance of the read-in; arrays broadcast.

    Returns
    -------
    ndarray, shape (..., D, D)

    Raises
    ------
    HyperparameterError
        If the inputs are not a finite two-dimensional array, their kernel overflows, or the network
        has no read-in.
    StoreError
        If a file cannot be read.
    """
    if read_in is None:
        raise HyperparameterError(
            "the kernel of inputs",
            "the network has no read_in to map them to layer 0",
            "describe it with read_in=Linear(...), or give K0",
        )
    rows = _rows(inputs)
    if rows.ndim != 2 or 0 in rows.shape:
        raise HyperparameterError(
            f"inputs of shape {rows.shape}", "one row per input is needed", "give D x d_in"
        )
    if not np.isfinite(rows).all():
        raise HyperparameterError("inputs", "they hold NaN or infinity", "give finite numbers")
    weight, bias = (np.asarray(variance, dtype=np.float64)[..., None, None] for variance in read_in)
    with np.errstate(over="ignore", invalid="ignore"):
        kernel: NDArray[np.float64] = weight * (rows @ rows.T) / rows.shape[1] + bias
    if not np.isfinite(kernel).all():
        raise HyperparameterError(
            f"the kernel of inputs of magnitude {np.abs(rows).max():.3g}",
            "their products leave the range of double precision",
            "divide the inputs by a constant",
        )
    return kernel


def _rows(inputs: ArrayLike | str | os.PathLike[str]) -> NDArray[np.float64]:
    """Return data as an array: as given, or out of a file."""
    if isinstance(inputs, str | os.PathLike):
        return array_file(inputs)
    try:
        return real_array(inputs, "inputs", finite=False)
    except HyperparameterError as error:
        raise HyperparameterError(
            "inputs", f"they are not numbers: {error.why}", "give a D x d_in array, or a file"
        ) from None
