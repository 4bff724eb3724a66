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
from resexpand.network.resnet import ResNet
from resexpand.numbers.one_loop.evaluation import evaluate_one_loop
from resexpand.theory.one_loop import OneLoop, one_loop

Array = NDArray[np.float64]

STEP = 0.08
"""Larger one of two steps, relative to how far the covariance is from that of parallel inputs."""

NAMES = ("K", "K_mean", "G_cov", "validity")


def pair_differences(
    net: ResNet, kernel: Array, given: Mapping[str, Any]
) -> tuple[dict[str, Array], float, Values]:
    """Return the covariance response to order 1/N.

    Parameters
    ----------
    net : ResNet
        The network.
    kernel : ndarray, shape (..., 2, 2)
        Kernel of both inputs at layer 0.
    given : mapping
        The other hyperparameters.

    Returns
    -------
    arrays : dict of ndarray
        ``covariance_response`` with ``_shift`` and ``_var``, shape ``grid + (L + 1,)``; and
        ``validity``, that of the three inputs, or N times the relative variance of the response,
        the larger.
    error : float
        Error of the differences and of the averages, relative to value, shift and deviation.
    values : Values
        The order 1/N of three inputs.

    Raises
    ------
    KernelError
        If the inputs are dependent.
    """
    room = np.sqrt(kernel[..., 0, 0] * kernel[..., 1, 1]) - np.abs(kernel[..., 0, 1])
    if (room <= 0).any():
        raise KernelError(
            "the covariance response of dependent inputs",
            "their kernel is singular, so that K12 cannot move freely",
            "use K12^2 < K11 K22",
        )
    triple = one_loop(net, inputs=3)
    coarse, fine = (_differences(triple, kernel, scale * room, given) for scale in (STEP, STEP / 2))
    arrays, error = {}, 0.0
    for name, narrow in fine[0].items():
        arrays[name] = (4 * narrow - coarse[0][name]) / 3
        both = arrays["covariance_response"] if "shift" in name else 0.0, arrays[name]
        size = max(float(np.max(np.abs(array))) for array in both)
        # The first term of the error of the finer step is three times what the sum leaves of it.
        error = max(error, float(np.max(np.abs(narrow - coarse[0][name]))) / size / 12)
    square = arrays["covariance_response"] ** 2
    relative = arrays["covariance_response_var"] / np.where(square > 0, square, np.inf)
    arrays["validity"] = np.maximum(np.asarray(fine[1]["validity"]), relative)
    return arrays, error, fine[1]


def _differences(
    triple: OneLoop, kernel: Array, step: Array, given: Mapping[str, Any]
) -> tuple[dict[str, Array], Values]:
    """Return the central differences of one step, and what they are made of."""
    first, joint, second = kernel[..., 0, 0], kernel[..., 0, 1], kernel[..., 1, 1]
    # Rows: the first input and both copies of the second one, by the normals of either.
    along = np.stack([first, joint + step, joint - step], axis=-1) / np.sqrt(first)[..., None]
    across = np.sqrt(np.maximum(second[..., None] - along**2, 0.0))
    across[..., 0] = 0.0
    whole = along[..., :, None] * along[..., None, :] + across[..., :, None] * across[..., None, :]
    values = evaluate_one_loop(triple, outputs=NAMES, K0=whole, **given)
    width = np.asarray(2 * step)[..., None]

    def between(array: Any) -> Array:
        return np.asarray((np.asarray(array)[..., 0, 1] - np.asarray(array)[..., 0, 2]) / width)

    spread = np.asarray(values["G_cov"])
    layers = np.arange(spread.shape[-3])
    # Layers of both ends are the same: (layers, ..., entry, entry) of the first input with copies.
    own = np.moveaxis(spread, -3, -6)[..., layers, layers, :, :, :, :][..., 0, 1:, 0, 1:]
    signs = np.array([1.0, -1.0])
    found = {
        "covariance_response": between(values["K"]),
        "covariance_response_shift": between(values["K_mean"]),
        "covariance_response_var": np.asarray(signs @ own @ signs) / width**2,
    }
    return found, values
