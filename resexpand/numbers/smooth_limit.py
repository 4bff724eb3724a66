"""Numbers of the limit of infinite depth of smooth weights.

The kernel of a network of L blocks is the Euler scheme of the equation of the kernel, with an error
in whole powers of 1/L; networks of five depths give its limit by Richardson extrapolation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.network.numbers import real_array
from resexpand.numbers.depth_limit import extrapolate_in_depth
from resexpand.numbers.layer_inputs import evaluate_layers
from resexpand.numbers.request import Request
from resexpand.theory.layer_kernel import layer_kernel
from resexpand.theory.smooth_limit import SmoothLimit

Array = NDArray[np.float64]

SHARES = 10
"""Parts of the depth at which the kernel is given."""

DEPTHS = (40, 80, 160, 320, 640)


@dataclass(frozen=True)
class SmoothSolution:
    """The kernel along an infinitely deep network with smooth weights.

    Attributes
    ----------
    times : ndarray, shape (n,)
        Shares of the depth.
    K : ndarray, shape (n,)
        Kernel ``K(t, t)`` of the stream.
    K_layers : ndarray, shape (n, n)
        Kernel of two shares.
    correction : float
        First order in 1/L at the end, ``L (K_L - K)``.
    error : float
        Largest change, relative to the kernel, when the smallest depth is left out.
    """

    times: Array
    K: Array
    K_layers: Array
    correction: float
    error: float


def solve_smooth_limit(theory: SmoothLimit, *, K0: float, **hyperparameters: Any) -> SmoothSolution:
    """Integrate the kernel of infinite depth.

    Parameters
    ----------
    theory : SmoothLimit
        From `depth_limit` of a network with smooth weights.
    K0 : float
        Kernel at layer 0.
    **hyperparameters
        One number per symbol of the network but the depth, by name.

    Returns
    -------
    SmoothSolution

    Raises
    ------
    HyperparameterError
        If numbers are missing, or K0 is not one positive number.
    UnsupportedError
        If the theory is none of smooth weights.
    """
    if not isinstance(theory, SmoothLimit):
        raise UnsupportedError(
            f"the solution of a {type(theory).__name__}",
            "it is no limit of weights that are smooth in the depth",
            "solve_depth_limit() takes the limit of independent layers",
        )
    given = real_array(K0, "K0")
    if given.ndim or not given > 0:
        raise HyperparameterError(f"K0={K0!r}", "one equation is integrated", "give one K0 > 0")
    start = float(given)
    found = []
    for depth in DEPTHS:
        whole = sp.Integer(depth)
        net = theory.net.altered(scale=theory.constant / whole, depth=whole)
        asked = Request(outputs="K_layers", given={"K0": start, **hyperparameters})
        values = evaluate_layers(layer_kernel(net), asked)["K_layers"]
        if values.ndim != 2:
            raise HyperparameterError(
                "several values of a hyperparameter", "one equation is integrated", "give one each"
            )
        step = depth // SHARES
        found.append(values[::step, ::step])
    limit, gap = extrapolate_in_depth(np.array(found), DEPTHS)
    ends = np.array(
        [
            depth * (values[-1, -1] - limit[-1, -1])
            for depth, values in zip(DEPTHS, found, strict=True)
        ]
    )
    slope, _ = extrapolate_in_depth(ends, DEPTHS)
    times = np.arange(SHARES + 1) / SHARES
    error = float((gap / np.abs(limit)).max())
    return SmoothSolution(times, np.diagonal(limit).copy(), limit, float(slope), error)
