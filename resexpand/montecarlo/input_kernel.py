"""The input of a sampled network: its covariance kernel, and the factor that produces `h^0`.

The rows of `h^0` are i.i.d. `N(0, K^0)`. They are drawn as `h^0 = z F^T` with z standard normal and
the lower triangular `F F^T = K^0`. For data behind a Gaussian read-in this is exact in law at every
width, with the kernel of `resexpand.network.inputs`. K^0 may be singular (equal inputs): a pivot
that is zero to rounding gives a zero column in F.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resexpand.errors import HyperparameterError
from resexpand.montecarlo.concrete import Law
from resexpand.network.inputs import kernel_from_inputs, validated_kernel

SINGULAR = 1e-13
"""Share of the diagonal below which a pivot counts as zero."""


def input_kernel(
    K0: ArrayLike | None,
    inputs: ArrayLike | str | os.PathLike[str] | None,
    read_in: Law | None,
) -> NDArray[np.float64]:
    """Return the kernel at layer 0 as a (D, D) matrix; see `noted_kernel`."""
    return noted_kernel(K0, inputs, read_in)[0]


def noted_kernel(
    K0: ArrayLike | None,
    inputs: ArrayLike | str | os.PathLike[str] | None,
    read_in: Law | None,
    positions: tuple[int, ...] = (),
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the kernel at layer 0 as a (D, D) matrix, and what was rounded about it.

    Parameters
    ----------
    K0 : float or array_like, shape (D, D), optional
        The kernel itself.
    inputs : array_like, shape (D, d), or path-like, optional
        Data, one input per row, or a file that holds them; needs a read-in.
        Exactly one of both must be given.
    read_in : (float, float) or None
        Variances of the read-in.
    positions : tuple of int, optional
        Shape of an input, of which data may hold every position: ``(D, P, d)``.

    Raises
    ------
    HyperparameterError
        If both or none are given, there is no read-in for data, or the data have the wrong shape or
        are not finite.
    KernelError
        If the kernel is not a finite, symmetric, positive semi-definite matrix, to rounding.
    """
    if (K0 is None) == (inputs is None):
        raise HyperparameterError(
            "sampling", "exactly one of K0 and inputs must be given", "pass K0=1.0, for instance"
        )
    if K0 is None:
        return kernel_from_inputs(() if inputs is None else inputs, read_in, positions), ()
    kernel, notes = validated_kernel(K0, matrix=np.ndim(K0) > 0)
    return kernel if kernel.ndim else kernel.reshape(1, 1), notes


def triangular_root(kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lower triangular F with F F^T = kernel, for semi-definite kernels too."""
    root = np.zeros_like(kernel)
    for j in range(len(kernel)):
        rest = kernel[j:, j] - root[j:, :j] @ root[j, :j]
        if rest[0] > SINGULAR * kernel[j, j]:
            root[j:, j] = rest / np.sqrt(rest[0])
    return root
