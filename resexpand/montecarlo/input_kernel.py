"""The input of a sampled network: its covariance kernel, and the factor that produces `h^0`.

The rows of `h^0` are i.i.d. `N(0, K^0)`. They are drawn as `h^0 = z F^T` with z standard normal and
the lower triangular `F F^T = K^0`. For data X (D inputs of d components) behind a Gaussian read-in
with variances `s/d` and `t` this is exact in law at every width, with

    K^0 = s X X^T / d + t.

K^0 may be singular (equal inputs): a pivot that is zero to rounding gives a zero column in F.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resexpand.errors import HyperparameterError, KernelError, UnsupportedError
from resexpand.montecarlo.concrete import Law

TOLERANCE = 1e-10
"""Relative asymmetry or negative eigenvalue that counts as rounding."""

SINGULAR = 1e-13
"""Share of the diagonal below which a pivot counts as zero."""


def input_kernel(
    K0: ArrayLike | None, inputs: ArrayLike | None, read_in: Law | None
) -> NDArray[np.float64]:
    """Return the kernel at layer 0 as a (D, D) matrix.

    Parameters
    ----------
    K0 : float or array_like, shape (D, D), optional
        The kernel itself.
    inputs : array_like, shape (D, d), optional
        Data, one input per row; needs a read-in. Exactly one of both must be given.
    read_in : (float, float) or None
        Variances of the read-in.

    Raises
    ------
    HyperparameterError
        If both or none are given, or the data have the wrong shape or are not finite.
    UnsupportedError
        If data are given for a network without read-in.
    KernelError
        If the kernel is not a finite, symmetric, positive semi-definite matrix.
    """
    if (K0 is None) == (inputs is None):
        raise HyperparameterError(
            "sampling", "exactly one of K0 and inputs must be given", "pass K0=1.0, for instance"
        )
    if K0 is not None:
        return checked_kernel(K0)
    if read_in is None:
        raise UnsupportedError(
            "inputs of a network without read-in",
            "the kernel at layer 0 is not defined by the data alone",
            "give the network read_in=Linear(...), or pass K0=",
        )
    data = np.asarray(inputs, dtype=np.float64)
    if data.ndim != 2 or 0 in data.shape:
        raise HyperparameterError(
            f"inputs of shape {data.shape}", "data have shape (D, d)", "give one input per row"
        )
    if not np.isfinite(data).all():
        raise HyperparameterError("inputs", "they contain NaN or inf", "remove these entries")
    return checked_kernel(read_in[0] * (data @ data.T) / data.shape[1] + read_in[1])


def checked_kernel(K0: ArrayLike) -> NDArray[np.float64]:
    """Return a covariance kernel as a symmetric (D, D) matrix, or say what is wrong with it.

    Raises
    ------
    KernelError
        If it is not square, not finite, not symmetric, or has a negative eigenvalue.
    """
    try:
        kernel = np.asarray(K0, dtype=np.float64)
    except (TypeError, ValueError):
        raise KernelError(f"K0 = {K0!r}", "not an array of numbers", "give K0=1.0") from None
    if kernel.ndim == 0:
        kernel = kernel.reshape(1, 1)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or not kernel.size:
        raise KernelError(
            f"K0 of shape {kernel.shape}", "not a number or square matrix", "give shape (D, D)"
        )
    if not np.isfinite(kernel).all():
        raise KernelError("K0", "it contains NaN or inf", "give finite covariances")
    size = float(np.abs(kernel).max())
    if np.abs(kernel - kernel.T).max() > TOLERANCE * size:
        raise KernelError("K0", "not symmetric", "give (K0 + K0.T)/2")
    kernel = (kernel + kernel.T) / 2
    lowest = float(np.linalg.eigvalsh(kernel)[0])
    if lowest < -TOLERANCE * size:
        raise KernelError(
            "K0",
            f"not positive semi-definite (eigenvalue {lowest:.3g})",
            "a covariance has K12^2 <= K11 K22",
        )
    return kernel


def triangular_root(kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lower triangular F with F F^T = kernel, for semi-definite kernels too."""
    root = np.zeros_like(kernel)
    for j in range(len(kernel)):
        rest = kernel[j:, j] - root[j:, :j] @ root[j, :j]
        if rest[0] > SINGULAR * kernel[j, j]:
            root[j:, j] = rest / np.sqrt(rest[0])
    return root
