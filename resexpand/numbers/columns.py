"""Kernels over positions as numbers: the matrix of all columns, block by block."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.binding import Point, bind
from resexpand.codegen.memory import require_memory
from resexpand.codegen.routine import Target
from resexpand.codegen.schedule import chosen_outputs
from resexpand.codegen.values import Values, overflow_problem
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.network.numbers import real_array
from resexpand.network.positions import inputs_of
from resexpand.numbers.batch_blocks import (
    Change,
    kernels_by_block,
    mean_of_repetitions,
    shared_statistics,
)
from resexpand.numbers.column_pieces import Health
from resexpand.references import Citation
from resexpand.theory.batch import BatchRecursion
from resexpand.theory.columns import ColumnRecursion

FEWER = "take fewer inputs or positions, or fewer points at a time"


def evaluate_columns(
    theory: ColumnRecursion | BatchRecursion,
    *,
    target: Target = "cpu",
    outputs: str | Iterable[str] | None = None,
    **hyperparameters: Any,
) -> Values:
    """Return the kernel of all columns, ``K0`` of shape ``(..., D P, D P)``.

    With ``dK0``, a symmetric change of K0, also its effect to first order, ``dK`` and ``dC``.

    Raises
    ------
    HyperparameterError, KernelError
        If the hyperparameters do not fit, or the size of the kernel is no multiple of P.
    UnsupportedError
        If there is no theory of this kernel, or on another target.
    """
    if target == "cuda":
        raise UnsupportedError(
            "kernels over positions on target 'cuda'",
            "their matrices are put together on the host",
            "use target='cpu'",
        )
    net = theory.net
    step = hyperparameters.pop("dK0", None)
    bindings = {s: value for s, value in theory.bindings if s != value or s in net.free_symbols}
    point = bind(net, bindings, dict(theory.layer_bindings), hyperparameters, matrix=True)
    inputs_of(point.kernel, math.prod(net.positions))
    size = point.kernel.shape[-1]
    bytes_needed = 16 * (point.depth + 2) * math.prod(point.grid) * size**2
    require_memory(f"kernels of {size} columns", bytes_needed, FEWER)
    names = [o.name for o in chosen_outputs(theory, outputs)]
    health, given = Health(), change_of(step, point)
    change = None if given is None else Change(given)
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


def change_of(given: Any, point: Point) -> NDArray[np.float64] | None:
    """Return the change of the kernel at layer 0.

    Raises
    ------
    HyperparameterError
        If it is no symmetric matrix of the size of K0.
    """
    if given is None:
        return None
    change = real_array(given, "dK0")
    size = point.kernel.shape[-1]
    if change.shape != (size, size) or not np.allclose(change, change.T):
        raise HyperparameterError(
            f"dK0 of shape {change.shape}",
            f"it is a symmetric change of K0, of shape {(size, size)}",
            "give one matrix of the size of K0",
        )
    return change
