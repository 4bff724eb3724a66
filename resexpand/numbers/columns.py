"""Kernels over positions as numbers: the matrix of all columns, block by block."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.binding import Point, bind
from resexpand.codegen.memory import require_memory
from resexpand.codegen.routine import Target
from resexpand.codegen.schedule import chosen_outputs
from resexpand.codegen.values import Values, overflow_problem
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.network.batch_norm import EPS, GHOST, is_running, require_batch
from resexpand.network.numbers import real_array
from resexpand.network.operation import Map
from resexpand.network.positions import inputs_of
from resexpand.network.values import value_of
from resexpand.numbers.batch_blocks import Health, common_size, kernels_by_block, one_by_one
from resexpand.theory.columns import ColumnRecursion

FEWER = "take fewer inputs or positions, or fewer points at a time"


def evaluate_columns(
    theory: ColumnRecursion,
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
    health, change = Health(), _change(theory, step, point)
    kernels = kernels_by_block(net, point, _batch(theory, point), health, change)
    names += [f"d{name}" for name in names if change is not None]
    arrays, problems = {}, list(health.problems)
    for name in names:
        layers = kernels[name]
        # Repetitions of lattice rules, or the grid, stand behind the layers.
        arrays[name] = np.moveaxis(layers, 0, -3) if point.grid else layers.mean(axis=1)
        if problem := overflow_problem(name, arrays[name], layered=False):
            problems.append(problem)
    errors = dict.fromkeys(names, health.error)
    cited = theory.citations
    return Values(arrays, point.depth, tuple(problems), errors, cited, "cpu", point.notes)


def _change(theory: ColumnRecursion, given: Any, point: Point) -> NDArray[np.float64] | None:
    """Return the change of the kernel at layer 0.

    Raises
    ------
    HyperparameterError, UnsupportedError
        If it is no symmetric matrix of the size of K0, or batches are normalised.
    """
    if given is None:
        return None
    change = real_array(given, "dK0")
    size = point.kernel.shape[-1]
    if change.shape[-2:] != (size, size) or not np.allclose(change, change.swapaxes(-1, -2)):
        raise HyperparameterError(
            f"dK0 of shape {change.shape}",
            f"it is a symmetric change of K0, of shape {point.kernel.shape}",
            "give a matrix of the size of K0",
        )
    if any(op.over == "batch" for branch in theory.net.kinds for op in branch.ops):
        raise UnsupportedError(
            "the change of a kernel with BatchNorm over positions",
            "its derivative is not known for batches that are not exchangeable",
            "leave dK0 out",
        )
    return change


def _batch(theory: ColumnRecursion, point: Point) -> int:
    """Return how many columns share the statistics of a normalisation over the batch.

    Raises
    ------
    HyperparameterError, UnsupportedError
        If normalisations differ in this, the kernel spans a grid, or statistics are running ones.
    """
    net = theory.net
    maps = [op for branch in net.kinds for op in (*branch.maps, *(net.head_ops or ()))]
    norms = [op for op in maps if isinstance(op, Map) and op.over == "batch"]
    if not norms:
        return 0
    if point.grid:
        raise one_by_one(f"a grid of shape {point.grid} of kernels with {norms[0]!r}")
    if any(map(is_running, norms)):
        raise UnsupportedError(
            "running statistics over positions",
            "they are known for exchangeable inputs alone",
            'use mode="train"',
        )
    size = common_size({int(op.by_symbol[GHOST]) for op in norms})
    for op in norms:
        eps = float(value_of(op.by_symbol[EPS], point.symbols))
        require_batch(op, (eps, float(size)), point.kernel)
    return size or point.kernel.shape[-1]
