"""From the values of a call to the arrays a compiled loop takes, one place for all targets.

A loop takes every parameter as one number or one number per point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.binding import Point
from resexpand.codegen.results import Pairs
from resexpand.codegen.schedule import Schedule
from resexpand.errors import HyperparameterError
from resexpand.gaussian.quadrature import Resolution, panel_rule

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Arguments:
    """Arguments of a compiled loop, beside its outputs.

    Attributes
    ----------
    shape : tuple of int
        Grid of the hyperparameters, and the pairs of inputs behind it where there are any.
    parameters : tuple of ndarray
        Each broadcasts to `shape`.
    layered : tuple of ndarray
        Each broadcasts to ``shape + (depth,)``.
    """

    shape: tuple[int, ...]
    parameters: tuple[Array, ...]
    layered: tuple[Array, ...]

    @property
    def count(self) -> int:
        """Number of points."""
        return int(np.prod(self.shape, dtype=int))

    def flat(self) -> list[Array]:
        """Return the arrays of the CPU: one number or one per point; a row or one per point.

        All may be written to, for Numba compiles a loop again for arrays that may not.
        """
        depth = self.layered[0].shape[-1] if self.layered else 0
        arrays = [_flat(value, self.shape) for value in self.parameters]
        for value in self.layered:
            if value.ndim == 1:
                arrays.append(value[None, :])
            else:
                full = np.broadcast_to(value, (*self.shape, depth))
                arrays.append(full.reshape(-1, depth))
        return [np.require(array, requirements=("C", "W")) for array in arrays]


def arguments_of(plan: Schedule, point: Point, pairs: Pairs, inputs: int) -> Arguments:
    """Return the arguments of a call.

    Parameters
    ----------
    plan : Schedule
        Which parameters there are.
    point : Point
        Their values.
    pairs : list of (int, int)
        Pairs of inputs that the routine runs on.
    inputs : int
        1 or 2: inputs of the recursion.

    Raises
    ------
    HyperparameterError
        If a parameter with one value per block has another number of them.
    """
    shape = (*point.grid, len(pairs)) if inputs == 2 else point.grid
    kernels = _kernel_entries(point, pairs, inputs)
    parameters = []
    for symbol in plan.parameters:
        if symbol.name in kernels:
            parameters.append(kernels[symbol.name])
        else:
            value = point.values[symbol]
            parameters.append(value[..., None] if inputs == 2 and value.ndim else value)
    layered = []
    for symbol in plan.layer_parameters:
        value = point.layer_values[symbol]
        if value.shape[-1] != point.depth:
            raise HyperparameterError("scales", "their number is not the depth", "give one each")
        layered.append(value[..., None, :] if inputs == 2 and value.ndim > 1 else value)
    return Arguments(shape, tuple(parameters), tuple(layered))


def sampled(point: Point, indices: NDArray[np.int_], *, matrix: bool) -> Point:
    """Return some points of a grid, given by their places in the flat grid, as a grid of one axis.

    `matrix` says whether the kernel at layer 0 is one.
    """

    def chosen(value: Array, trailing: int) -> Array:
        rest = value.shape[value.ndim - trailing :]
        full = np.broadcast_to(value, (*point.grid, *rest)).reshape(-1, *rest)
        return np.ascontiguousarray(full[indices])

    values = {symbol: chosen(value, 0) for symbol, value in point.values.items()}
    layers = {symbol: chosen(value, 1) for symbol, value in point.layer_values.items()}
    kernel = chosen(point.kernel, 2 if matrix else 0)
    variances = tuple(chosen(value, 1) for value in point.variances)
    return Point(point.depth, (indices.size,), values, layers, kernel, variances=variances)


def input_pairs(plan: Schedule, point: Point, inputs: int) -> Pairs:
    """Return the pairs of inputs a routine runs on: all of them, once.

    Raises
    ------
    HyperparameterError
        If an output is of two inputs and more were given.
    """
    if inputs == 1:
        return [(0, 0)]
    count = point.kernel.shape[-1]
    single = [o.name for o in plan.outputs if len(o.entries) == 1 or o.kind == "propagator"]
    if single and count != 2:
        raise HyperparameterError(
            f"{single[0]!r} of {count} inputs", "it is of two inputs", "give K0 of shape (2, 2)"
        )
    return [(a, b) for a in range(count) for b in range(a + 1, count)] or [(0, 0)]


def rule_arrays(plan: Schedule, resolution: Resolution) -> list[Array]:
    """Return nodes and weights of the quadratures of a routine, in the order of its arguments."""
    if not plan.quadratures:
        return []
    return [*panel_rule(resolution), *plan.panels]


def _flat(value: Array, shape: tuple[int, ...]) -> Array:
    if value.size == 1:
        return value.reshape(1)
    return np.broadcast_to(value, shape).reshape(-1)


def _kernel_entries(point: Point, pairs: Pairs, inputs: int) -> dict[str, Array]:
    if inputs == 1:
        return {"K0": point.kernel}
    first, second = np.array(pairs).T
    kernel = point.kernel
    return {
        "K0_11": kernel[..., first, first],
        "K0_12": kernel[..., first, second],
        "K0_22": kernel[..., second, second],
    }
