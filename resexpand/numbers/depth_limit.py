"""Numbers of the limit of infinite depth: the kernel equation integrated, and extrapolation in L.

The growth ``B(K)`` is what a block of scale one adds, from the routine of the network itself, so
that every activation has it, by closed forms or quadrature. SciPy integrates ``dK/dt = B(K)`` with
``d ln|v|^2 / dt = M(K)`` beside it, by an eighth-order method at two tolerances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray

from resexpand.codegen.routine import compile_routine
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.network.numbers import real_array
from resexpand.network.values import read_values, value_of
from resexpand.theory.depth_limit import DepthLimit
from resexpand.theory.response import response

Array = NDArray[np.float64]

TOLERANCES = (1e-12, 1e-9)
"""Relative tolerances of the integration: the answer, and its check."""

SMALLEST_RATE = 1e-14
"""Growth per unit of time, relative to K, below which a kernel counts as constant."""


@dataclass(frozen=True)
class DepthSolution:
    """The network of infinite depth along its depth.

    Attributes
    ----------
    times : ndarray, shape (n,)
        Shares l/L of the depth.
    K : ndarray, shape (n,)
        Kernel of the stream.
    chi_0 : ndarray, shape (n,)
        Response ``dK_t/dK0``.
    tangent : ndarray, shape (n,)
        Growth of the squared length of a tangent.
    correction : float
        First order in 1/L at the end: ``L (K_L - K_T) -> correction``.
    error : float
        Largest relative difference of K at two tolerances of the integration.
    path_error : float
        Constant of the strong error of a branch with one `Linear`: ``L E|h_L - X|^2 / N`` tends to
        it, if network and limit X have their weights from one Brownian motion
        (`resexpand.montecarlo.depth_paths`). It obeys ``de = M e dt + M B T dt / 2``. NaN for
        several linear operations.
    """

    times: Array
    K: Array
    chi_0: Array
    tangent: Array
    correction: float
    error: float
    path_error: float


def single_values(limit: DepthLimit, given: dict[str, Any]) -> dict[sp.Symbol, Array]:
    """Return the number of every symbol but the depth."""
    whole = limit.net.altered(scale=limit.constant, depth=sp.Integer(1))
    values = read_values(whole, given, whole.free_symbols)
    if many := [symbol.name for symbol, value in values.items() if value.ndim]:
        raise HyperparameterError(
            f"several values of {many[0]}", "one equation is solved", "give one number each"
        )
    return values


def require_independent_limit(limit: object, asked: str) -> None:
    """Raise the one error of another limit than that of independent blocks at c/sqrt(L)."""
    if not isinstance(limit, DepthLimit):
        raise UnsupportedError(
            f"{asked} of a {type(limit).__name__}",
            "it is no limit of independent blocks at scale c/sqrt(L)",
            "solve_smooth_limit() takes smooth weights; the equations of a JointLimit are formulas "
            "in r and N",
        )


def solve_depth_limit(
    theory: DepthLimit, *, K0: float, times: ArrayLike = (0.0, 1.0), **hyperparameters: Any
) -> DepthSolution:
    """Integrate the kernel equation of a network of infinite depth.

    Parameters
    ----------
    theory : DepthLimit
        From `depth_limit`.
    K0 : float
        Kernel at layer 0.
    times : array_like, shape (n,)
        Shares l/L of the depth, increasing, in [0, 1].
    **hyperparameters
        One number per symbol of the network but the depth, by name.

    Returns
    -------
    DepthSolution

    Raises
    ------
    HyperparameterError
        If numbers are missing or times lie outside of [0, 1].
    UnsupportedError
        If the kernel leaves the range of double precision, or the theory is another limit.
    """
    require_independent_limit(theory, "the solution")
    net, at = theory.net, real_array(times, "times")
    if at.ndim != 1 or not at.size or at.min() < 0 or at.max() > 1 or (np.diff(at) <= 0).any():
        raise HyperparameterError(
            "times of the depth", "they are no increasing shares of it", "give some in [0, 1]"
        )
    start = float(real_array(K0, "K0"))
    unit = net.altered(scale=sp.Integer(1), depth=sp.Integer(1))
    values = single_values(theory, hyperparameters)
    length = float(value_of(theory.constant, values)) ** 2
    named = {s.name: float(v) for s, v in values.items() if s in unit.free_symbols}
    routine = compile_routine(response(unit, "tangent"), "cpu", ["K", "chi_0"])

    def rates(_: float, state: Array) -> Array:
        found = routine(K0=max(state[0], 0.0), **named)
        growth, tangent = found["K"][1] - found["K"][0], found["chi_0"][1] - 1
        strong = tangent * (state[2] + length * growth / 2)
        return length * np.array([growth, tangent, strong])

    runs = [_integrated(rates, start, at, tolerance) for tolerance in TOLERANCES]
    kernel, logarithm, strong = runs[0]
    first, last = rates(0, np.array([start, 0, 0]))[0], rates(0, runs[0][:, -1])[0]
    growth = np.array([rates(0, state)[0] for state in runs[0].T])
    still = abs(first) <= SMALLEST_RATE * max(start, 1.0)
    chi = np.exp(logarithm) if still else growth / first
    correction = 0.0 if still else -last / 2 * np.log(last / first)
    gap = float(np.abs(runs[1][0] / kernel - 1).max()) if kernel.all() else np.nan
    single = sum(op.contracts for op in net.branch.ops) == 1
    path_error = float(strong[-1]) if single else np.nan
    return DepthSolution(at, kernel, chi, np.exp(logarithm), float(correction), gap, path_error)


def _integrated(rates: Any, start: float, times: Array, tolerance: float) -> Array:
    """Return kernel, logarithm of the tangent and strong error at some times, shape (3, n)."""
    from scipy.integrate import solve_ivp

    end = float(times[-1])
    if end == 0:
        return np.array([[start], [0.0], [0.0]])
    found = solve_ivp(
        rates,
        (0.0, end),
        [start, 0.0, 0.0],
        method="DOP853",
        t_eval=times,
        rtol=tolerance,
        atol=tolerance * 1e-3,
    )
    if not found.success or not np.isfinite(found.y).all():
        raise UnsupportedError(
            "the limit of infinite depth", str(found.message), "take a smaller scale"
        )
    return np.asarray(found.y)


def extrapolate_in_depth(
    values: ArrayLike, depths: Sequence[int], order: float = 1.0
) -> tuple[Array, Array]:
    """Extrapolate to infinite depth what has an expansion in ``L**(-order)`` (Richardson).

    Parameters
    ----------
    values : array_like, shape (n, ...)
        At every depth.
    depths : sequence of int
        At least three, increasing.
    order : float
        Exponent of the expansion.

    Returns
    -------
    value, error : ndarray
        The limit, and its change when the smallest depth is left out.

    Raises
    ------
    HyperparameterError
        If there are fewer than three depths, or they do not increase.
    """
    found = real_array(values, "values")
    steps = np.asarray(depths, dtype=np.float64)
    if len(steps) < 3 or len(found) != len(steps) or (np.diff(steps) <= 0).any() or steps[0] < 1:
        raise HyperparameterError(
            f"an extrapolation from depths {list(depths)}",
            "three or more increasing depths with a value each are needed",
            "give them",
        )
    ends = [_at_zero(steps[k:] ** -order, found[k:]) for k in (0, 1)]
    return ends[0], np.abs(ends[0] - ends[1])


def _at_zero(x: Array, y: Array) -> Array:
    """Return the value at zero of the polynomial through some points."""
    column = [np.asarray(value) for value in y]
    for k in range(1, len(x)):
        column = [
            (x[j] * column[j + 1] - x[j + k] * column[j]) / (x[j] - x[j + k])
            for j in range(len(x) - k)
        ]
    return np.asarray(column[0])
