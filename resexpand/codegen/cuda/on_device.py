"""Results that stay on the device, for callers whose hyperparameters lie there.

Hyperparameters are few beside results: one number per point, not one per layer and entry. They are
fetched and checked on the host as always. Results are arrays of Numba, points first, which other
packages read through ``__cuda_array_interface__`` without a copy.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from resexpand.codegen.accuracy import problems, quadrature_errors
from resexpand.codegen.arguments import arguments_of, rule_arrays, sampled
from resexpand.codegen.binding import Point
from resexpand.codegen.cuda import memory
from resexpand.codegen.cuda.launch import NUMBER, Kernels, run_blocks
from resexpand.codegen.results import Pairs
from resexpand.codegen.store import load
from resexpand.codegen.values import Values
from resexpand.errors import HyperparameterError

SAMPLE = 1024
"""Most points at which two resolutions of a quadrature are compared."""


def device_values(routine: Any, point: Point, pairs: Pairs) -> Values:
    """Evaluate a routine and leave its results on the device.

    Parameters
    ----------
    routine : Routine
        For the target ``cuda``.
    point, pairs
        Values of the hyperparameters, and the pairs of inputs.

    Returns
    -------
    Values
        Of device arrays.

    Raises
    ------
    HyperparameterError
        If more than two inputs were given.
    DeviceMemoryError
        If the results do not fit the device.
    """
    plan, inputs = routine.plan, routine.recursion.inputs
    matrix = inputs == 2
    if len(pairs) > 1 or (matrix and point.kernel.shape[-1] != 2):
        raise HyperparameterError(
            f"K0 of {point.kernel.shape[-1]} inputs on a device",
            "the matrices of more or less than two inputs are put together on the host",
            "pass arrays of NumPy, or K0 of shape (..., 2, 2)",
        )
    arguments = arguments_of(plan, point, pairs, inputs)
    rules = rule_arrays(plan, "fine")
    kernels = Kernels(load(routine.source), plan, point.depth, arguments.count, rules)
    arrays = _allocated(kernels)
    finite = run_blocks(kernels, arguments, arrays) if arguments.count else True
    quadrature: dict[str, float] = {}
    if plan.quadratures and arguments.count:
        indices = np.arange(0, arguments.count, -(-arguments.count // SAMPLE))
        few = sampled(point, indices, matrix=matrix)
        fine, coarse = (
            routine.run(few, pairs, resolution).slots for resolution in ("fine", "coarse")
        )
        quadrature = quadrature_errors(plan, fine, coarse, pairs=matrix, depth=point.depth)
    shapes = {o.name: (*point.grid, *o.layers(point.depth), *o.shape) for o in plan.outputs}
    shown = {name: arrays[name].reshape(shape) for name, shape in shapes.items()}
    suspects = {} if finite else {name: array.copy_to_host() for name, array in shown.items()}
    found = problems(plan, suspects, quadrature)
    values = cast(Any, shown)
    return Values(values, point.depth, found, quadrature, routine.citations, routine.place)


def _allocated(kernels: Kernels) -> dict[str, Any]:
    """Return arrays for all results on the device."""
    rows, count = kernels.rows, kernels.points
    try:
        return {name: memory.device_array((count, rows[name])) for name in kernels.copied}
    except memory.FAILURES as error:
        if not memory.is_out_of_memory(error):
            raise
        numbers = sum(rows[name] for name in kernels.copied)
        raise memory.too_little(count, count, NUMBER * numbers) from error
