"""Numbers for an `OptimalScale`: the kernel ``K*``, the constant ``c``, the finite-depth optimum.

In a deep network ``ln|eta|`` is a function of the kernel of the last layer,

    ln|A(K)| + int_{K^0}^K  G/B dK',

and at finite depth one of the residual scale, given by the recursion itself. Both are scanned over
the whole range, from a kernel that has hardly moved to one of `LARGEST_KERNEL`, and the largest
maximum counts (`resexpand.numbers.largest`); ``c`` comes by Gauss-Legendre in ``ln K``. All of it
works on whole grids. Where a quadrature is not accurate, the scan ends, and what was found before
it is called local.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.binding import Point, bind
from resexpand.codegen.routine import Routine, Target, compile_routine
from resexpand.codegen.schedule import chosen_names
from resexpand.codegen.values import Values
from resexpand.errors import HyperparameterError, KernelError
from resexpand.gaussian.quadrature import unit_rule
from resexpand.network.values import value_of
from resexpand.numbers.largest import Largest, bisected, largest
from resexpand.numbers.request import Request
from resexpand.theory.optimal_scale import OptimalScale

Array = NDArray[np.float64]

LARGEST_KERNEL = 1e6
"""End of the range, in units of ``max(K^0, 1)``."""

SMALLEST_CHANGE = 1e-10
"""Relative change of the kernel at which the range begins."""

OUTPUTS = ("K_star", "c", "rho")

CELLS = 400
"""Cells of a scan, equal in the logarithm."""

BLOCK = 20
"""Rows evaluated together, whose quadratures are trusted together."""

ACCURACY = 1e-2
"""Error of ``ln|eta|``, and of its slope per factor e of the kernel, up to which it is trusted."""

FLAT = 1e-3
"""Slope of ``ln|eta|`` per factor e of the kernel below which it rises to a limit."""

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

    def condition(self, kernel: Array) -> Array:
        """Return the condition, positive where ``ln|eta|`` rises with the last kernel.

        A response below zero, as that of a bump, rises in magnitude where the condition is
        negative: ``d ln|eta| / dK`` is the condition over ``A B``, and ``B`` is positive.
        """
        values = self.still(K0=kernel, **self.values)
        return np.where(values["amplitude"] < 0, -values["condition"], values["condition"])

    def shape(self, kernel: Array) -> tuple[Array, Array]:
        """Return ``ln|A|`` and ``G/B`` at kernels in rows; NaN where they are not accurate."""
        rows = [self._block(kernel[k : k + BLOCK]) for k in range(0, len(kernel), BLOCK)]
        amplitude, ratio = (np.concatenate(parts) for parts in zip(*rows, strict=True))
        return amplitude, ratio

    def _block(self, kernel: Array) -> tuple[Array, Array]:
        values = self.still(K0=kernel, **self.values)
        errors = values.quadrature_error
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio, amplitude = (
                values["rate"] / values["growth"],
                np.log(np.abs(values["amplitude"])),
            )
            wrong = max((errors.get(n, 0.0) for n in ("growth", "amplitude")), default=0.0)
            steep = errors.get("rate", 0.0) * np.abs(kernel * ratio).max()
        if max(wrong, steep) > ACCURACY:
            return np.full(kernel.shape, np.nan), np.full(kernel.shape, np.nan)
        return amplitude, ratio

    def at_scale(self, scale: Array, name: str) -> Array:
        """Return ``slope``, ``level`` or ``last`` at the depth of the network."""
        given = {**self.values, self.scale_name: scale, "depth": self.depth}
        return self.slope(K0=self.start, **given)[name]

    def levels(self, scale: Array) -> Array:
        """Return ``ln|eta|`` at scales in rows; NaN where it is not accurate."""
        blocks = []
        for k in range(0, len(scale), BLOCK):
            given = {**self.values, self.scale_name: scale[k : k + BLOCK], "depth": self.depth}
            values = self.slope(K0=self.start, **given)
            level = values["level"]
            finite = np.abs(level[np.isfinite(level)])
            error = values.quadrature_error.get("level", 0.0) * (finite.max() if finite.size else 0)
            blocks.append(level if error <= ACCURACY else np.full(level.shape, np.nan))
        return np.concatenate(blocks)


def evaluate_optimal_scale(theory: OptimalScale, asked: Request) -> Values:
    """Evaluate an optimal scale on a grid of hyperparameters.

    Parameters
    ----------
    theory : OptimalScale
        The theory to evaluate.
    asked : Request
        The target computes the condition and the slope. Given are ``K0 > 0``, ``depth`` unless the
        network has a number, and every symbol by name except the residual scale. Arrays broadcast.

    Returns
    -------
    Values
        ``K_star`` (NaN where no kernel maximises the response), ``c`` and ``rho`` (zero where no
        scale gives a larger response than none, NaN where it grows without bound), each of the
        shape of the grid. They belong to the largest maximum over all scales, in the limit of
        depth for ``K_star`` and ``c``, at the depth of the network for ``rho``. Every NaN and zero
        has its sentence in ``problems``, and so has a maximum that may be only local.

    Raises
    ------
    HyperparameterError
        If a residual scale is given, or something is missing or outside its range.
    KernelError
        If ``K0`` is not positive.
    """
    names = chosen_names(asked.outputs, OUTPUTS, "an optimal scale")
    point, start = _bound(theory, asked.given)
    _require_known(theory, point)
    if theory.trend != "interior":
        arrays = dict.fromkeys(names, np.full(point.grid, np.nan)[()])
        return Values(arrays, point.depth, (theory.reason,), citations=theory.citations)
    curves = _curves(theory, point, start, asked.target)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        limit, slope = _in_the_limit(curves)
        finite = _at_finite_depth(curves)
        passed = _passed(curves)
        star = np.where(limit.at_start, passed, np.exp(limit.place))
        constant = np.where(limit.at_start, 0.0, _constant(curves, star))
    scale = np.where(finite.at_start, 0.0, np.exp(finite.place))
    arrays = {"K_star": star, "c": constant, "rho": scale}
    shaped = {name: arrays[name].reshape(point.grid)[()] for name in names}
    reasons = _reasons(theory.kind, passed, limit, slope, finite)
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


def _require_known(theory: OptimalScale, point: Point) -> None:
    """Raise if what is added to a variance is a symbol whose value is zero.

    Whether a response vanishes there is decided from the formula; its value is rounding error.
    """
    net = theory.net
    maps = (*net.branch.maps, *(step.op for step in net.head))
    for parameter, value in (pair for op in maps if op.averages for pair in op.pairs):
        zero = parameter.minimum == 0 and not value.is_number
        if zero and not np.all(value_of(value, point.symbols)):
            raise HyperparameterError(
                f"{value} = 0 in a normalisation",
                "a response may vanish there, which is decided where it is derived",
                f"describe the network with {parameter.name}=0",
            )


def _curves(theory: OptimalScale, point: Point, start: Array, target: Target) -> Curves:
    net = theory.net
    values = {
        symbol.name: np.broadcast_to(point.values[symbol], point.grid).ravel()
        for symbol in net.free_symbols - net.depth.free_symbols - {net.scale}
        if symbol in point.values
    }
    still, slope = compile_routine(theory.curves, target), compile_routine(theory.slope, target)
    return Curves(still, slope, point.depth, str(net.scale), values, start)


def _in_the_limit(curves: Curves) -> tuple[Largest, Array]:
    """Return where ``ln|eta|`` is largest in ``ln K``, and its slope at the end of the range."""
    start = np.log(curves.start)
    width = (np.log(LARGEST_KERNEL * np.maximum(curves.start, 1.0)) - start) / CELLS
    half = start + np.arange(2 * CELLS + 1)[:, None] / 2 * width
    amplitude, ratio = curves.shape(np.exp(half))
    flow = np.exp(half) * ratio
    # Simpson's rule for the integral of G/B over each cell.
    cell = (flow[:-2:2] + 4 * flow[1::2] + flow[2::2]) * width / 6
    integral = np.concatenate([np.zeros_like(cell[:1]), cell.cumsum(axis=0)])
    values = amplitude[::2] + integral
    columns = np.arange(start.size)

    def value(place: Array) -> Array:
        """Return ``ln|A|`` and the integral, a cubic between two places of the scan."""
        index = np.clip(np.nan_to_num((place - start) / width).astype(int), 0, CELLS - 1)
        t = (place - start) / width - index
        low, high = integral[index, columns], integral[index + 1, columns]
        rise, end = (width * flow[2 * (index + k), columns] for k in (0, 1))
        bent = (1 - t) * (rise - (high - low)) - t * (end - (high - low))
        part: Array = low + t * (high - low) + t * (1 - t) * bent
        return curves.shape(np.exp(place))[0] + part

    highest = largest(half[::2], values, value, lambda place: curves.condition(np.exp(place)))
    return highest, (values[-1] - values[-2]) / width


def _at_finite_depth(curves: Curves) -> Largest:
    """Return where ``ln|eta|`` is largest in the logarithm of the scale."""
    far = LARGEST_KERNEL * np.maximum(curves.start, 1.0)
    near = curves.start * (1 + SMALLEST_CHANGE)
    low, high = (_reaching(curves, kernel) for kernel in (near, far))
    places = low + np.linspace(0.0, 1.0, CELLS + 1)[:, None] * (high - low)
    return largest(
        places,
        curves.levels(np.exp(places)),
        lambda place: curves.at_scale(np.exp(place), "level"),
        lambda place: curves.at_scale(np.exp(place), "slope"),
    )


def _reaching(curves: Curves, kernel: Array) -> Array:
    """Return the logarithm of the scale at which the last kernel is this one."""
    low, high = np.full(kernel.shape, -40.0), np.full(kernel.shape, 40.0)
    return bisected(
        lambda middle: curves.at_scale(np.exp(middle)[None], "last")[0] < kernel, low, high
    )[0]


def _passed(curves: Curves) -> Array:
    """Return the last kernel below the input's at which the condition turns, NaN if none."""
    steps = np.linspace(0.0, 1.0, CELLS + 1)[:, None]
    first = np.log(np.minimum(curves.start, 1.0) / LARGEST_KERNEL)
    places = first + steps * (np.log(curves.start) - first)
    condition = curves.condition(np.exp(places))
    # A condition that is not a number changes no sign.
    turning = (condition[:-1] > 0) & (condition[1:] <= 0)
    index, columns = len(turning) - 1 - turning[::-1].argmax(axis=0), np.arange(places.shape[1])
    low, high = places[index, columns], places[index + 1, columns]
    low, high = bisected(lambda at: curves.condition(np.exp(at)[None])[0] > 0, low, high)
    return np.where(turning.any(axis=0), np.exp((low + high) / 2), np.nan)


def _constant(curves: Curves, star: Array) -> Array:
    """Return ``c``, the square root of the integral of ``1/B`` from ``K0`` to ``K*``."""
    nodes, weights = unit_rule(INTEGRATION_ORDER)
    length = np.log(star / curves.start)
    kernels = curves.start * np.exp(np.outer(nodes, length))
    safe = np.where(np.isfinite(kernels), kernels, 1.0)
    integrand = kernels / curves.still(K0=safe, **curves.values)["growth"]
    squared = (weights[:, None] * integrand).sum(axis=0) * length
    return np.sqrt(np.where(squared > 0, squared, np.nan))


def _reasons(
    kind: str, passed: Array, limit: Largest, slope: Array, finite: Largest
) -> tuple[str, ...]:
    """Return one sentence for every way in which points have no interior optimum."""
    some, sure = np.isfinite(passed), limit.complete
    best = "so no scale gives a larger one than rho = 0"
    start, end, inside = limit.at_start, limit.at_end, np.isfinite(limit.place)
    unbounded = f"the {kind} response grows with the residual scale without bound"
    cases = {
        f"the {kind} response falls at every kernel up to K0, {best}": start & ~some & sure,
        f"K0 is not below K*: the {kind} response falls from the start, {best}": (
            start & some & sure
        ),
        unbounded: end & sure & (slope > FLAT),
        f"the {kind} response rises with the residual scale up to a limit": (
            end & sure & (slope <= FLAT)
        ),
        f"at this depth {unbounded}": finite.at_end & finite.complete & ~end,
        f"at this depth no scale gives a larger {kind} response than rho = 0": (
            finite.at_start & ~start
        ),
        **_unsure("K*", "K", limit, start & ~sure, inside & ~sure),
        **_unsure(
            "optimum at this depth",
            "rho",
            finite,
            finite.at_start & ~finite.complete & sure,
            np.isfinite(finite.place) & ~finite.complete & sure,
        ),
    }
    count = passed.size
    return tuple(
        f"{text} (at {int(where.sum())} of {count} points)" if count > 1 else text
        for text, where in cases.items()
        if where.any()
    )


def _unsure(
    what: str, name: str, highest: Largest, start: NDArray[np.bool_], inside: NDArray[np.bool_]
) -> dict[str, NDArray[np.bool_]]:
    """Return the sentences on maxima beyond which the response is not known well enough."""
    nothing = highest.at_end & ~highest.complete & ~np.isfinite(highest.place)

    def beyond(where: NDArray[np.bool_]) -> str:
        edge = f"{np.exp(highest.end[where].min()):.3g}" if where.any() else ""
        return f"beyond {name} = {edge} the averages are not accurate enough to tell"

    return {
        f"rho = 0 is a local maximum; {beyond(start)}": start,
        f"the {what} is a local maximum; {beyond(inside)}": inside,
        f"no {what} was found; {beyond(nothing)}": nothing,
    }
