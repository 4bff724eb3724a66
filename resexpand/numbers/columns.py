"""Kernels over positions as numbers: the matrix of all columns, block by block."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.binding import Point, bind
from resexpand.codegen.memory import require_memory
from resexpand.codegen.schedule import chosen_outputs
from resexpand.codegen.values import Values, overflow_problem
from resexpand.errors import HyperparameterError
from resexpand.network.numbers import real_array
from resexpand.network.positions import inputs_of
from resexpand.numbers.batch_blocks import (
    Change,
    kernels_by_block,
    mean_of_repetitions,
    shared_statistics,
)
from resexpand.numbers.column_pieces import Health
from resexpand.numbers.request import Request
from resexpand.references import Citation
from resexpand.theory.batch import BatchRecursion
from resexpand.theory.columns import ColumnRecursion
from resexpand.theory.recursion import Recursion

ON_THE_HOST = "their matrices are put together on the host"
FEWER = "take fewer inputs or positions, or fewer points at a time"


def evaluate_columns(theory: ColumnRecursion | BatchRecursion, asked: Request) -> Values:
    """Return the kernel of all columns, ``K0`` of shape ``(..., D P, D P)``.

    With ``dK0``, a symmetric change of K0, also its effect to first order, ``dK`` and ``dC``.

    Raises
    ------
    HyperparameterError, KernelError
        If the hyperparameters do not fit, or the size of the kernel is no multiple of P.
    UnsupportedError
        If there is no theory of this kernel, or on another target.
    """
    asked.require_host("kernels over positions", ON_THE_HOST, "numpy")
    net = theory.net
    point, step = with_change(theory, asked.given)
    inputs_of(point.kernel, math.prod(net.positions))
    size = point.kernel.shape[-1]
    bytes_needed = 16 * (point.depth + 2) * math.prod(point.grid) * size**2
    require_memory(f"kernels of {size} columns", bytes_needed, FEWER)
    names = [o.name for o in chosen_outputs(theory, asked.outputs)]
    health, change = Health(), None if step is None else Change(step)
    kernels = kernels_by_block(net, point, shared_statistics(net, point), health, change)
    names += [f"d{name}" for name in names if change is not None]
    # Repetitions of lattice rules, or the grid, stand behind the layers.
    arrays = {name: np.moveaxis(kernels[name], 0, -3) for name in names}
    return gathered(arrays, point, health, theory.citations)


def gathered(
    arrays: Mapping[str, NDArray[np.float64]],
    point: Point,
    health: Health,
    citations: tuple[Citation, ...],
) -> Values:
    """Return arrays as values: without a grid, the mean of their repetitions with its error."""
    arrays, problems, notes = dict(arrays), list(health.problems), list(point.notes)
    errors = dict.fromkeys(arrays, health.error)
    for name in arrays:
        if not point.grid:
            arrays[name], error, more = mean_of_repetitions(name, arrays[name])
            errors[name] += error
            notes += more
        if problem := overflow_problem(name, arrays[name], layered=False):
            problems.append(problem)
    return Values(arrays, point.depth, tuple(problems), errors, citations, "cpu", tuple(notes))


def with_change(
    theory: Recursion, given: Mapping[str, Any]
) -> tuple[Point, NDArray[np.float64] | None]:
    """Return the numbers of a call, and the change ``dK0`` of the kernel at layer 0.

    Raises
    ------
    HyperparameterError
        If it is no symmetric matrix of the size of K0.
    """
    left, own = dict(given), theory.net.free_symbols
    step = left.pop("dK0", None)
    bindings = {s: value for s, value in theory.bindings if s != value or s in own}
    point = bind(theory.net, bindings, dict(theory.layer_bindings), left, matrix=True)
    if step is None:
        return point, None
    change = real_array(step, "dK0")
    size = point.kernel.shape[-1]
    if change.shape != (size, size) or not np.allclose(change, change.T):
        raise HyperparameterError(
            f"dK0 of shape {change.shape}",
            f"it is a symmetric change of K0, of shape {(size, size)}",
            "give one matrix of the size of K0",
        )
    return point, change
