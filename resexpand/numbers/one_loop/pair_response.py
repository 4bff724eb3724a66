r"""The covariance response of two inputs at finite width, as the limit of a difference of columns.

The response ``chi^l = dG_12^l/dK_12^0`` moves the second input along ``h_2^0 = c z_1 + s z_2`` at
fixed normals, ``c = K_12/sqrt(K_11)``, ``c^2 + s^2 = K_22``. With two copies of it, whose
covariance with the first input is ``K_12 + d`` and ``K_12 - d``, there are three columns in all,

    chi^l = [G_{1+}^l - G_{1-}^l]/(2 d) + O(d^2),

and the order 1/N of three inputs gives mean and variance. The error is even in d: two steps remove
its first term, and their difference is what is stated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.values import Values
from resexpand.errors import KernelError
from resexpand.numbers.one_loop.evaluation import evaluate_one_loop
from resexpand.theory.one_loop import OneLoop, one_loop

Array = NDArray[np.float64]

STEP = 0.08
"""Larger one of two steps, relative to how far the covariance is from that of parallel inputs."""

NAMES = ("K", "K_mean", "G_cov", "validity")


def pair_differences(
    theory: OneLoop, kernel: Array, given: Mapping[str, Any]
) -> tuple[dict[str, Array], Array, float, Values]:
    """Return the covariance response to order 1/N.

    Parameters
    ----------
    theory : OneLoop
        Of one input.
    kernel : ndarray, shape (..., 2, 2)
        Kernel of both inputs at layer 0.
    given : mapping
        The other hyperparameters.

    Returns
    -------
    arrays : dict of ndarray
        ``covariance_response`` with ``_shift`` and ``_var``, shape ``grid + (L + 1,)``.
    validity : ndarray
        Of the three inputs, or N times the relative variance of the response, the larger.
    error : float
        Error of the differences and of the averages, relative to value, shift and deviation.
    values : Values
        The order 1/N of three inputs.

    Raises
    ------
    KernelError
        If the inputs are dependent.
    """
    first, joint, second = kernel[..., 0, 0], kernel[..., 0, 1], kernel[..., 1, 1]
    room = np.sqrt(first * second) - np.abs(joint)
    if (room <= 0).any():
        raise KernelError(
            "the covariance response of dependent inputs",
            "their kernel is singular, so that K12 cannot move freely",
            "use K12^2 < K11 K22",
        )
    triple = one_loop(theory.net, inputs=3)
    coarse, fine = (_differences(triple, kernel, scale * room, given) for scale in (STEP, STEP / 2))
    arrays, error = {}, 0.0
    for name, (wide, narrow) in {n: (coarse[0][n], fine[0][n]) for n in fine[0]}.items():
        arrays[name] = (4 * narrow - wide) / 3
        size = np.max(np.abs(arrays["covariance_response"])) if "shift" in name else 0.0
        size = max(size, float(np.max(np.abs(arrays[name]))))
        # The first term of the error of the finer step is three times what the sum leaves of it.
        error = max(error, float(np.max(np.abs(narrow - wide))) / size / 12)
    values = fine[1]
    square = arrays["covariance_response"] ** 2
    relative = arrays["covariance_response_var"] / np.where(square > 0, square, np.inf)
    validity = np.maximum(np.asarray(values["validity"]), relative)
    return arrays, validity, error, values


def _differences(
    triple: OneLoop, kernel: Array, step: Array, given: Mapping[str, Any]
) -> tuple[dict[str, Array], Values]:
    """Return the central differences of one step, and what they are made of."""
    first, joint, second = kernel[..., 0, 0], kernel[..., 0, 1], kernel[..., 1, 1]
    ends = [joint + step, joint - step]
    along = [end / np.sqrt(first) for end in ends]
    across = [np.sqrt(second - c * c) for c in along]
    whole = np.empty((*np.shape(first), 3, 3))
    whole[..., 0, 0] = first
    whole[..., 1, 1] = whole[..., 2, 2] = second
    for k, end in enumerate(ends, start=1):
        whole[..., 0, k] = whole[..., k, 0] = end
    whole[..., 1, 2] = along[0] * along[1] + across[0] * across[1]
    whole[..., 2, 1] = whole[..., 1, 2]
    values = evaluate_one_loop(triple, outputs=NAMES, K0=whole, **given)
    width = np.asarray(2 * step)[..., None]

    def between(array: Array) -> Array:
        return np.asarray((array[..., 0, 1] - array[..., 0, 2]) / width)

    spread = np.asarray(values["G_cov"])
    layers = np.arange(spread.shape[-3])
    variance: Array = np.zeros(())
    for a, sign in ((1, 1.0), (2, -1.0)):
        for b, other in ((1, 1.0), (2, -1.0)):
            variance = variance + sign * other * spread[..., layers, 0, a, layers, 0, b]
    found = {
        "covariance_response": between(np.asarray(values["K"])),
        "covariance_response_shift": between(np.asarray(values["K_mean"])),
        "covariance_response_var": np.asarray(variance) / width**2,
    }
    return found, values
