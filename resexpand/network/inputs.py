"""The covariance kernel at layer 0: validated as given, or computed from data by the read-in.

For inputs ``X`` of shape ``(D, d_in)`` and a read-in with weight variance ``s_w2 / d_in`` and bias
variance ``s_b2`` the kernel is ``K^0 = s_w2 X X^T / d_in + s_b2``.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resexpand.conventions import unwrapped
from resexpand.errors import HyperparameterError, KernelError
from resexpand.network.files import array_file
from resexpand.network.numbers import real_array

PSD_TOLERANCE = 1e-10
"""Most negative eigenvalue of a correlation matrix that is accepted unchanged."""

SYMMETRY_TOLERANCE = 1e-12
"""Largest asymmetry of a kernel, as a correlation, that is accepted unchanged."""

DOUBLE_ROUNDING = 1e-8
"""Error of a correlation in double precision that still counts as rounding: a length that was
rounded, a product summed in another order."""

UNITS = 8
"""Error of a correlation that counts as rounding, in units of the last place of its precision."""


def validated_kernel(
    value: ArrayLike, *, matrix: bool
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return a kernel as an array, with notes on corrections of rounding errors.

    Parameters
    ----------
    value : array_like
        ``(...,)`` non-negative numbers, or ``(..., D, D)`` symmetric positive semi-definite
        matrices if `matrix` is set.
    matrix : bool
        Whether a matrix over inputs is meant.

    Returns
    -------
    kernel : ndarray
        The kernel. A matrix that is indefinite or asymmetric by no more than the rounding of its
        precision is replaced by its symmetric part without negative eigenvalues; the variances
        stay.
    notes : tuple of str
        One sentence for each such change.

    Raises
    ------
    KernelError
        If the kernel is not finite, not of this shape, or indefinite beyond rounding.
    """
    try:
        kernel = real_array(value, "K0", finite=False)
    except HyperparameterError as error:
        raise KernelError(error.asked, error.why, error.remedy) from None
    given = np.asarray(unwrapped(value))
    if not np.isfinite(kernel).all():
        raise KernelError("K0", "it holds NaN or infinity", "give finite numbers")
    if not matrix:
        if (kernel < 0).any():
            raise KernelError(f"K0 = {kernel.min()}", "a variance is never negative", "give >= 0")
        return kernel, ()
    if kernel.ndim < 2 or kernel.shape[-1] != kernel.shape[-2] or kernel.shape[-1] == 0:
        raise KernelError(
            f"K0 of shape {kernel.shape}",
            "the recursion is of several inputs",
            "give D x D matrices in the last two axes",
        )
    return _covariance(kernel, rounding(given, kernel))


def rounding(given: NDArray[Any], kernel: NDArray[np.float64]) -> float:
    """Return the largest error of a correlation that the precision of an array explains.

    Parameters
    ----------
    given : ndarray
        Numbers of any type: of half, single or double precision, or one that NumPy does not know.
    kernel : ndarray
        The same in double precision. Numbers that are exact in single precision count as single.
    """
    unit = 2.0**-52
    if given.dtype.kind in "fV" and given.dtype.itemsize < 8:
        # Not from `numpy.finfo`, which knows no bfloat16.
        one = np.ones((), given.dtype)
        ulps = (2.0**-k for k in range(1, 53))
        unit = min(u for u in ulps if np.asarray(1.0 + u).astype(one.dtype).astype(float) > 1.0)
    elif given.dtype == np.float64 and _is_single(kernel):
        unit = 2.0**-23
    return max(DOUBLE_ROUNDING, UNITS * unit)


def _is_single(kernel: NDArray[np.float64]) -> bool:
    with np.errstate(over="ignore"):
        return bool((kernel == kernel.astype(np.float32)).all())


def _covariance(
    kernel: NDArray[np.float64], allowed: float
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return matrices in the last two axes as covariances, with a note on what was changed.

    Correlations are compared, not covariances: a rounding error is relative to the two inputs it
    belongs to, and inputs may differ in length by orders of magnitude.
    """
    variances = np.diagonal(kernel, axis1=-2, axis2=-1)
    if (variances < 0).any():
        raise KernelError(
            f"K0 with the variance {variances.min()}", "a variance is never negative", "give >= 0"
        )
    lengths = np.sqrt(variances)
    scale = lengths[..., :, None] * lengths[..., None, :]
    # An input of zero length is correlated with nothing.
    apart = scale == 0
    scale[apart] = 1.0
    notes = []
    asymmetry = float((np.abs(kernel - kernel.swapaxes(-1, -2)) / scale).max())
    if asymmetry > allowed:
        raise KernelError("K0", "it is not symmetric", "give (K0 + K0.T) / 2")
    if asymmetry > SYMMETRY_TOLERANCE:
        kernel = (kernel + kernel.swapaxes(-1, -2)) / 2
        notes.append(f"K0 was asymmetric by {asymmetry:.1g} and was replaced by its symmetric part")
    correlations = kernel / scale
    correlated = (kernel[apart] != 0).any()
    if not correlated and _is_semidefinite(correlations):
        return kernel, tuple(notes)
    values, vectors = np.linalg.eigh((correlations + correlations.swapaxes(-1, -2)) / 2)
    lowest = float(values.min())
    # Errors of the entries add up to an eigenvalue like a random walk.
    if lowest < -allowed * np.sqrt(kernel.shape[-1]) or correlated:
        raise KernelError(
            "K0",
            f"it is not positive semi-definite (smallest eigenvalue of the correlations "
            f"{lowest:.3g})",
            "a covariance of inputs always is: check |K0_12| <= sqrt(K0_11 K0_22)",
        )
    notes.append(
        f"K0 had an eigenvalue of {lowest:.1g} (of its correlations), which is rounding, and was "
        "clipped to zero; the variances are as given"
    )
    indefinite = values[..., :1, None] < -PSD_TOLERANCE
    kernel = np.where(indefinite, _clipped(values, vectors, apart) * scale, kernel)
    own = np.arange(kernel.shape[-1])
    kernel[..., own, own] = variances
    return kernel, tuple(notes)


def _is_semidefinite(correlations: NDArray[np.float64]) -> bool:
    """Whether no eigenvalue lies below `PSD_TOLERANCE`, by a factorisation, which is cheaper."""
    try:
        np.linalg.cholesky(correlations + PSD_TOLERANCE * np.eye(correlations.shape[-1]))
    except np.linalg.LinAlgError:
        return False
    return True


def _clipped(
    values: NDArray[np.float64], vectors: NDArray[np.float64], apart: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return correlations without negative eigenvalues, scaled to ones on the diagonal again."""
    clipped = (vectors * np.maximum(values, 0.0)[..., None, :]) @ vectors.swapaxes(-1, -2)
    lengths = np.sqrt(np.diagonal(clipped, axis1=-2, axis2=-1))
    norms = lengths[..., :, None] * lengths[..., None, :]
    norms[apart] = 1.0
    correlations = np.asarray(np.clip(clipped / norms, -1.0, 1.0))
    correlations[apart] = 0.0
    return correlations


def kernel_from_inputs(
    inputs: ArrayLike | str | os.PathLike[str],
    read_in: tuple[ArrayLike, ArrayLike] | None,
    positions: tuple[int, ...] = (),
) -> NDArray[np.float64]:
    """Return the kernel that a read-in gives to data.

    Parameters
    ----------
    inputs : array_like, shape (D, d_in), or path-like
        One input per row, or the name of a file that holds them (`resexpand.network.files`).
    read_in : tuple of array_like or None
        Weight variance (times fan-in) and bias variance of the read-in; arrays broadcast.
    positions : tuple of int, optional
        Shape of an input: then inputs may have the shape ``(D, P, d_in)`` or ``(D, rows, columns,
        d_in)``, and the read-in acts on each position.

    Returns
    -------
    ndarray, shape (..., D, D), or (..., D P, D P)

    Raises
    ------
    HyperparameterError
        If the inputs are not a finite two-dimensional array, or the network has no read-in.
    KernelError
        If the kernel overflows.
    StoreError
        If a file cannot be read.
    """
    weight, bias = _variances(read_in)
    rows = rows_of(inputs, "inputs", positions)
    with np.errstate(over="ignore", invalid="ignore"):
        products = rows @ rows.T
        return _in_range(weight[..., None, None] * products / rows.shape[1] + bias[..., None, None])


def kernel_between(
    inputs: ArrayLike, others: ArrayLike, read_in: tuple[ArrayLike, ArrayLike] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the kernel between two sets of data, and the variances of both.

    Parameters
    ----------
    inputs, others : array_like, shape (D1, d_in) and (D2, d_in)
        One input per row.
    read_in : tuple of array_like or None
        As for `kernel_from_inputs`.

    Returns
    -------
    kernel : ndarray, shape (..., D1, D2)
    first, second : ndarray, shape (..., D1) and (..., D2)

    Raises
    ------
    HyperparameterError
        As `kernel_from_inputs`, and if the two sets differ in ``d_in``.
    KernelError
        If the kernel overflows.
    """
    weight, bias = _variances(read_in)
    rows, columns = rows_of(inputs, "inputs"), rows_of(others, "others")
    size = rows.shape[1]
    if columns.shape[1] != size:
        raise HyperparameterError(
            f"others of shape {columns.shape}",
            f"the inputs have {size} numbers each",
            f"give D2 x {size}",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        kernel = weight[..., None, None] * (rows @ columns.T) / size + bias[..., None, None]
        first, second = (
            weight[..., None] * np.einsum("ij,ij->i", data, data) / size + bias[..., None]
            for data in (rows, columns)
        )
    return _in_range(kernel), _in_range(first), _in_range(second)


def _variances(
    read_in: tuple[ArrayLike, ArrayLike] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if read_in is None:
        raise HyperparameterError(
            "the kernel of inputs",
            "the network has no read_in to map them to layer 0",
            "describe it with read_in=Linear(...), or give K0",
        )
    weight, bias = read_in
    return np.asarray(weight, dtype=np.float64), np.asarray(bias, dtype=np.float64)


def rows_of(
    inputs: ArrayLike | str | os.PathLike[str], name: str, positions: tuple[int, ...] = ()
) -> NDArray[np.float64]:
    """Return data, a row per input or position, as an array: as given, or out of a file.

    Raises
    ------
    HyperparameterError
        If they are not a finite two-dimensional array.
    StoreError
        If a file cannot be read.
    """
    if isinstance(inputs, str | os.PathLike):
        rows = array_file(inputs)
    else:
        try:
            rows = real_array(inputs, name, finite=False)
        except HyperparameterError as error:
            raise HyperparameterError(
                name, f"they are not numbers: {error.why}", "give a D x d_in array, or a file"
            ) from None
    given = rows.shape
    if positions and given[1:-1] in (positions, (math.prod(positions),)):
        rows = rows.reshape(-1, given[-1])
    if rows.ndim != 2 or 0 in given:
        count = " x ".join(map(str, positions))
        raise HyperparameterError(
            f"{name} of shape {given}",
            f"one row per position, {count} of each input, is needed"
            if positions
            else "one row per input is needed",
            f"give D x {count} x d_in" if positions else "give D x d_in",
        )
    if not np.isfinite(rows).all():
        raise HyperparameterError(name, "they hold NaN or infinity", "give finite numbers")
    return rows


def _in_range(kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(kernel).all():
        raise KernelError(
            "the kernel of inputs",
            "it leaves the range of double precision",
            "give inputs of smaller numbers, or a read-in with smaller variances",
        )
    return kernel
