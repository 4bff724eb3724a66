"""Numbers for an `OptimalScale`: the kernel ``K*``, the constant ``c``, the finite-depth optimum.

``K*`` is found by scanning the condition from the input kernel (upward where the response rises
there, downward where it falls) and bisecting; ``c`` by Gauss-Legendre in ``ln K``; the finite-depth
optimum by bisecting the exact derivative of the logarithmic response, beginning around
``c / sqrt(L)``. All three work on whole grids.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.binding import Point, bind
from resexpand.codegen.routine import Routine, Target, compile_routine
from resexpand.codegen.schedule import chosen_names
from resexpand.codegen.values import Values
from resexpand.errors import HyperparameterError, KernelError
from resexpand.theory.optimal_scale import OptimalScale

Array = NDArray[np.float64]

SCAN = np.geomspace(1e-6, 1e8, 561)
"""Kernels at which the sign of the condition is looked up, before bisecting between two."""

SCALE_FACTORS = np.geomspace(0.1, 10.0, 41)
"""Multiples of ``c / sqrt(L)`` between which the finite-depth optimum is looked for."""

OUTPUTS = ("K_star", "c", "rho")

BISECTIONS = 80
INTEGRATION_ORDER = 64


@dataclass(frozen=True)
class Curves:
    """The functions of one grid of hyperparameters, each over arrays ``(..., points)``."""

    still: Routine
    slope: Routine
    depth: int
    scale_name: str
    values: dict[str, Array]
    start: Array

    def growth(self, kernel: Array) -> Array:
        """Return ``B(K)``."""
        return self.still(K0=kernel, **self.values)["growth"]

    def condition(self, kernel: Array) -> Array:
        """Return the condition, positive where the response rises with the last kernel.

        A response below zero, as that of a bump, rises in magnitude where the condition is
        negative: ``d ln|eta| / dK`` is the condition over ``A B``, and ``B`` is positive.
        """
        found = self.still(K0=kernel, **self.values)
        return np.where(found["amplitude"] < 0, -found["condition"], found["condition"])

    def log_slope(self, scale: Array) -> Array:
        """Return ``d ln(eta) / d rho`` at the depth of the network."""
        given = {**self.values, self.scale_name: scale, "depth": self.depth}
        return self.slope(K0=self.start, **given)["slope"]


def evaluate_optimal_scale(
    theory: OptimalScale,
    *,
    target: Target = "cpu",
    outputs: str | Iterable[str] | None = None,
    **hyperparameters: Any,
) -> Values:
    """Evaluate an optimal scale on a grid of hyperparameters.

    Parameters
    ----------
    theory : OptimalScale
        What to evaluate.
    target : {"cpu", "cuda", "auto"}
        Where the condition and the slope are computed.
    outputs : str or iterable of str, optional
        Which of the three to compute; ``c`` needs ``K_star``, and ``rho`` needs both.
    **hyperparameters
        ``K0 > 0``, ``depth`` unless the network has a number, and every symbol by name except the
        residual scale. Arrays broadcast.

    Returns
    -------
    Values
        ``K_star`` (NaN where no kernel maximises the response), ``c`` and ``rho`` (zero where the
        response falls from the start, NaN where it grows without bound), each of the shape of the
        grid. Every NaN and zero has its sentence in ``problems``.

    Raises
    ------
    HyperparameterError
        If a residual scale is given, or something is missing or outside its range.
    KernelError
        If ``K0`` is not positive.
    """
    names = chosen_names(outputs, OUTPUTS, "an optimal scale")
    point, start = _bound(theory, hyperparameters)
    if theory.trend != "interior":
        arrays = dict.fromkeys(names, np.full(point.grid, np.nan)[()])
        return Values(arrays, point.depth, (theory.reason,), citations=theory.citations)
    curves = _curves(theory, point, start, target)
    rising = curves.condition(curves.start) > 0
    star, complete = _kernel_star(curves, rising)
    constant = scale = np.zeros(star.shape)
    if names != OUTPUTS[:1]:
        constant = np.where(rising, _constant(curves, star), 0.0)
    if "rho" in names:
        scale = np.where(rising, _finite_depth(curves, constant), 0.0)
    arrays = dict(zip(OUTPUTS, (star, constant, scale), strict=True))
    shaped = {name: arrays[name].reshape(point.grid)[()] for name in names}
    reasons = _reasons(theory.kind, star, rising, scale, complete)
    place = curves.still.place
    return Values(shaped, curves.depth, reasons, citations=theory.citations, target=place)


def _bound(theory: OptimalScale, hyperparameters: dict[str, Any]) -> tuple[Point, Array]:
    """Return the hyperparameters as arrays, and the kernel at layer 0 at every point."""
    net, name = theory.net, str(theory.net.scale)
    if name in hyperparameters:
        raise HyperparameterError(
            f"{name} = {hyperparameters[name]}", "it is what is looked for", "leave it out"
        )
    bound = dict(theory.slope.bindings)
    point = bind(net, bound, {}, {**hyperparameters, name: 0.0}, matrix=False)
    start = np.broadcast_to(point.kernel, point.grid).ravel()
    if (start <= 0).any():
        raise KernelError("K0 = 0", "the optimum is relative to a signal", "give K0 > 0")
    return point, start


def _curves(theory: OptimalScale, point: Point, start: Array, target: Target) -> Curves:
    net = theory.net
    values = {
        symbol.name: np.broadcast_to(point.values[symbol], point.grid).ravel()
        for symbol in net.free_symbols - net.depth.free_symbols - {net.scale}
        if symbol in point.values
    }
    still, slope = compile_routine(theory.curves, target), compile_routine(theory.slope, target)
    return Curves(still, slope, point.depth, str(net.scale), values, start)


def _kernel_star(curves: Curves, rising: NDArray[np.bool_]) -> tuple[Array, NDArray[np.bool_]]:
    """Return the kernel nearest to the input's at which the condition turns negative.

    Also whether the condition was a number wherever it was looked up.

    Where the response rises at the input, the first such kernel above, which is where a growing
    scale gets to; where it falls, the last one below, which the input has already passed. What
    lies on the other side is out of reach, and far above the signs are those of rounding.
    """
    condition = curves.condition(SCAN[:, None] * np.ones_like(curves.start))
    # A condition that is not a number changes no sign.
    turning = (condition[:-1] > 0) & (condition[1:] <= 0)
    ahead = turning & (SCAN[1:, None] > curves.start)
    passed = turning & (SCAN[:-1, None] < curves.start)
    last_passed = len(turning) - 1 - passed[::-1].argmax(axis=0)
    index = np.where(rising, ahead.argmax(axis=0), last_passed)
    found = np.where(rising, ahead.any(axis=0), passed.any(axis=0))
    low, high = np.log(SCAN[index]), np.log(SCAN[index + 1])
    root = _bisect(lambda x: curves.condition(np.exp(x)), low, high)
    star = np.where(found, np.exp(root), np.nan)
    return star, np.asarray(np.isfinite(condition).all(axis=0))


def _constant(curves: Curves, star: Array) -> Array:
    """Return ``c``, the square root of the integral of ``1/B`` from ``K0`` to ``K*``."""
    nodes, weights = np.polynomial.legendre.leggauss(INTEGRATION_ORDER)
    length = np.log(star / curves.start)
    kernels = curves.start * np.exp(np.outer((nodes + 1) / 2, length))
    safe = np.where(np.isfinite(kernels), kernels, 1.0)
    integrand = kernels / curves.growth(safe)
    squared = (weights[:, None] / 2 * integrand).sum(axis=0) * length
    return np.sqrt(np.where(squared > 0, squared, np.nan))


def _finite_depth(curves: Curves, constant: Array) -> Array:
    """Return the scale at which the response of a network of this depth is largest."""
    guess = constant / np.sqrt(curves.depth)
    known = np.where(np.isfinite(guess) & (guess > 0), guess, 1.0)
    scales = SCALE_FACTORS[:, None] * known
    slopes = curves.log_slope(scales)
    turning = (slopes[:-1] > 0) & (slopes[1:] <= 0)
    index = turning.argmax(axis=0)
    columns = np.arange(index.size)
    root = _bisect(curves.log_slope, scales[index, columns], scales[index + 1, columns])
    return np.where(turning.any(axis=0) & np.isfinite(guess), root, np.nan)


def _bisect(function: Any, low: Array, high: Array) -> Array:
    """Return the place between `low` (positive) and `high` where a function changes sign."""
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        positive = function(middle) > 0
        low, high = np.where(positive, middle, low), np.where(positive, high, middle)
    return (low + high) / 2


def _reasons(
    kind: str,
    star: Array,
    rising: NDArray[np.bool_],
    scale: Array,
    complete: NDArray[np.bool_],
) -> tuple[str, ...]:
    """Return one sentence for every way in which points have no interior optimum."""
    some = np.isfinite(star)
    local = "so rho = 0 is a local maximum"
    cases = {
        f"the {kind} response falls at every kernel up to K0, {local}": ~rising & ~some,
        f"K0 is not below K*: the {kind} response falls from the start, {local}": ~rising & some,
        f"the {kind} response grows with the residual scale without bound": (
            rising & ~some & complete
        ),
        f"no K* was found, but the condition of the {kind} response is not a number at every "
        "kernel": rising & ~some & ~complete,
        f"no optimum of the {kind} response within a factor 10 of c/sqrt(L)": (
            rising & some & np.isnan(scale)
        ),
    }
    count = star.size
    return tuple(
        f"{text} (at {int(where.sum())} of {count} points)" if count > 1 else text
        for text, where in cases.items()
        if where.any()
    )
