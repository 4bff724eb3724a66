"""Input of the order 1/N: hyperparameters, and tables in batches of points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from resexpand.codegen.binding import Point, bind
from resexpand.codegen.memory import require_memory
from resexpand.codegen.routine import compile_routine
from resexpand.codegen.track import untracked
from resexpand.codegen.values import Values
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.numbers.one_loop.atoms import require_known
from resexpand.numbers.one_loop.directions import require_directions
from resexpand.numbers.one_loop.four_point import require_averages
from resexpand.numbers.one_loop.gathering import gather
from resexpand.numbers.one_loop.inputs import Problem, distinct_inputs
from resexpand.numbers.one_loop.tables import Tables, input_pairs
from resexpand.numbers.one_loop.validity import require_moments
from resexpand.theory.kernel import kernel as mean_field_kernel
from resexpand.theory.one_loop import OneLoop
from resexpand.theory.one_loop.layers import PRECISION, layers

MATRICES = 8
"""Matrices of covariances and responses of one point that are held at the same time."""

MEMORY = 30_000_000
"""Doubles that the matrices of one batch of points may hold."""

PIECES, WORTH_A_PIECE = 16, 20_000
"""Batches that a grid is cut into, for threads to share; and numbers of a matrix per batch below
which it is not worth a thread. Neither depends on the number of threads: no result does."""

LARGEST = 12_000
"""Gram matrix entries of all blocks together beyond which covariances do not fit into memory."""


@dataclass(frozen=True)
class Prepared:
    """Everything of infinite width: hyperparameters, tables in batches of points, their error."""

    point: Point
    problem: Problem
    batches: list[Tables]
    error: float


def prepared(theory: OneLoop, given: Mapping[str, Any]) -> Prepared:
    """Return the tables of a network, after all that is refused.

    Raises
    ------
    HyperparameterError, KernelError
        If the hyperparameters do not fit the network.
    UnsupportedError
        If an average does not exist or is not known, or matrices would not fit into memory.
    """
    point = bound(theory, given)
    problem = distinct_inputs(theory, point)
    require_room(theory, problem, point)
    draws = theory.process.draws
    require_known((draw.law for draw in draws if draw.reads_stream), problem.count)
    for draw in draws:
        if problem.count > 1:
            require_averages(draw.law)
        if draw.averages:
            require_directions(draw.law)
    with untracked():
        return Prepared(point, problem, *batches_of(theory, problem, point))


def require_room(theory: OneLoop, problem: Problem, point: Point) -> None:
    """Refuse matrices that would not fit into memory."""
    count = variables_of(theory, problem, point)
    if count > LARGEST:
        raise UnsupportedError(
            f"the order 1/N of {count} entries of Gram matrices (depth {point.depth})",
            f"each matrix of their covariances would take {8 * count**2 / 1e9:.2g} GB",
            f"stay below {LARGEST}: a smaller depth, or fewer inputs",
        )
    require_memory(
        f"the order 1/N of {count} entries of Gram matrices (depth {point.depth})",
        8.0 * MATRICES * count**2,
        "take a smaller depth, or fewer inputs",
    )


def variables_of(theory: OneLoop, problem: Problem, point: Point) -> int:
    """Return the number of collective variables of all blocks."""
    inputs = problem.count
    entries = inputs * (inputs + 1) // 2
    each = sum(entries + draw.averages * inputs for draw in theory.process.draws)
    return (point.depth + 1) * each


def bound(theory: OneLoop, given: Mapping[str, Any]) -> Point:
    """Return the hyperparameters as arrays."""
    recursion = theory.layers
    several = theory.inputs > 1
    point = bind(
        theory.net,
        dict(recursion.bindings),
        dict(recursion.layer_bindings),
        given,
        matrix=several,
    )
    if several and point.kernel.shape[-1] != theory.inputs:
        raise HyperparameterError(
            f"{point.kernel.shape[-1]} inputs",
            f"this theory is of {theory.inputs}",
            f"use one_loop(net, inputs={point.kernel.shape[-1]})",
        )
    return point


def batches_of(theory: OneLoop, problem: Problem, point: Point) -> tuple[list[Tables], float]:
    """Run the routine of the layers; return its tables in batches of points, and its error."""
    single = problem.count == 1
    others = {s.name: v for s, v in point.symbols.items() if s != theory.net.depth}
    kernel = problem.kernel
    if not single:
        pairs = np.array(input_pairs(problem.count))
        kernel = kernel[..., pairs[:, :, None], pairs[:, None, :]]
        others = {k: v[..., None] for k, v in others.items()}
    depth = {} if theory.net.depth.is_number else {"depth": point.depth}
    values = compile_routine(problem.layers)(K0=kernel, **depth, **others)
    error = _error_of(values, theory, {"K0": problem.kernel, **depth, **others}, single)
    lead = len(point.grid)
    flat = {}
    for name, array in values.items():
        whole = np.broadcast_to(array, point.grid + array.shape[lead:])
        rows = whole.reshape((-1, *array.shape[lead:]))
        flat[name] = rows[:, None] if single else rows
    count, points = variables_of(theory, problem, point), flat["K"].shape[0]
    step = max(-(-points // PIECES), WORTH_A_PIECE // count**2)
    step = max(1, min(step, MEMORY // (8 * count**2)))
    batches = [
        gather({k: v[s : s + step] for k, v in flat.items()}, theory.process, problem.count)
        for s in range(0, max(points, 1), step)
    ]
    for tables in batches:
        require_moments(tables.sites)
    return batches, error


def _error_of(values: Values, theory: OneLoop, given: Mapping[str, Any], single: bool) -> float:
    """Return the relative error of the quadratures behind mean field, response and curvature."""
    errors = values.quadrature_error
    counted = [e for name, e in errors.items() if name.startswith(("K", "C", "reads", PRECISION))]
    if errors and not single:
        # Derivatives of a covariance may vanish; those of the variances are of the same kind.
        alone = layers(mean_field_kernel(theory.net), theory.process)
        own = compile_routine(alone)(**{**given, "K0": given["K0"].diagonal(axis1=-2, axis2=-1)})
        counted.append(_error_of(own, theory, given, True))
    return max(counted, default=0.0)
