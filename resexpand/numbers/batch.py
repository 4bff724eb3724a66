"""Kernels of batches as numbers: of exchangeable ones compiled, of others block by block.

Where every two inputs of a batch stand alike, the few averages of a `BatchRecursion` are computed
once, and its routine runs on any grid of hyperparameters. Any other kernel, and eps > 0, is carried
through the operations of every block as a matrix (`resexpand.numbers.batch_blocks`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.codegen.binding import Point
from resexpand.codegen.memory import require_memory
from resexpand.codegen.routine import compile_routine
from resexpand.codegen.schedule import chosen_names
from resexpand.codegen.values import Values
from resexpand.errors import UnsupportedError
from resexpand.gaussian.sphere import gradient_averages
from resexpand.network.batch_norm import is_running
from resexpand.numbers.batch_blocks import (
    kernels_by_block,
    mean_of_repetitions,
    one_by_one,
    shared_statistics,
)
from resexpand.numbers.batch_moments import Psi, is_exchangeable, sphere_averages
from resexpand.numbers.column_pieces import Health, Sharing
from resexpand.numbers.column_response import evaluate_column_response
from resexpand.numbers.columns import evaluate_columns, with_change
from resexpand.numbers.request import Request
from resexpand.theory.batch import BatchRecursion, Stage
from resexpand.theory.batch_gradients import FACTORS, SIZE
from resexpand.theory.column_response import column_response

Array = NDArray[np.float64]
GRADIENT = "gradient"
FEWER = "take a smaller batch, or fewer points at a time"


@dataclass(frozen=True)
class _Numbers:
    """A stage with numbers in place of symbols."""

    stage: Stage
    eps: float
    psi: Psi


def evaluate_batch(theory: BatchRecursion, asked: Request) -> Values:
    """Return the kernel of a batch, ``K0`` of shape ``(..., B, B)`` or ``inputs`` of B rows.

    Raises
    ------
    HyperparameterError, KernelError
        If the batch has no statistics to normalise by, or a kernel that is not exchangeable comes
        with a grid of hyperparameters.
    UnsupportedError
        If there is no theory of this kernel.
    """
    if "dK0" in asked.given:
        names = chosen_names(asked.outputs, ("K", "C"), "the change of the kernel of a batch")
        return evaluate_columns(theory, replace(asked, outputs=names))
    point, _ = with_change(theory, asked.given)
    stages = [_numbers(stage, point) for stage in theory.stages]
    sharing = shared_statistics(theory.net, point)
    count = point.kernel.shape[-1]
    alike = is_exchangeable(point.kernel, count)
    if GRADIENT in _chosen(theory, asked) and not alike:
        gradients = column_response(theory.net, "gradient", "batch")
        return evaluate_column_response(gradients, replace(asked, target="cpu"))
    if alike and sharing.trained in (None, 2 * count) and not any(stage.eps for stage in stages):
        return _compiled(theory, asked, point, stages, sharing.size)
    return _by_blocks(theory, asked, point, sharing)


def _numbers(stage: Stage, point: Point) -> _Numbers:
    at = {}
    for symbol in stage.open_symbols & point.values.keys():
        value = point.values[symbol]
        if value.ndim:
            raise one_by_one(f"{symbol} of shape {value.shape}")
        at[symbol] = sp.Float(float(value), 17)
    if layered := stage.open_symbols & point.layer_values.keys():
        raise UnsupportedError(
            f"one {min(map(str, layered))} per block behind a normalisation",
            "its averages are computed once for all blocks",
            "give one value, or several kinds of blocks",
        )
    functions = tuple((f.xreplace(at), chance.xreplace(at)) for f, chance in stage.functions)
    return _Numbers(stage, float(stage.eps.xreplace(at)), Psi.of(functions))


def _compiled(
    theory: BatchRecursion, request: Request, point: Point, stages: list[_Numbers], size: int
) -> Values:
    """Run the recursion of an exchangeable batch."""
    given = {k: v for k, v in request.given.items() if k not in ("K0", "inputs")}
    errors = [0.0]
    for own in stages:
        fine, coarse = (sphere_averages(own.psi, size, r) for r in ("fine", "coarse"))
        for symbol, name in zip(own.stage.symbols, ("square", "product", "mean"), strict=True):
            given[str(symbol)] = value = getattr(fine, name)
            errors.append(abs(value - getattr(coarse, name)) / max(fine.square, 1e-300))
    asked = _chosen(theory, request)
    names = list(dict.fromkeys(FACTORS if name == GRADIENT else name for name in asked))
    if FACTORS in (o.name for o in theory.outputs):
        given |= _slopes(theory, stages, size)
    across = {"K_13"} & {o.name for o in theory.outputs} if size < point.kernel.shape[-1] else set()
    wanted = list(dict.fromkeys([*names, *across]))
    values = compile_routine(theory, request.target, wanted)(K0=point.kernel[..., :2, :2], **given)
    for name in names:
        if theory.output(name).shape == (2, 2):
            between = values.get("K_13") if name == "K" and not _runs(theory) else None
            values[name] = _spread(values[name], between, point.kernel.shape[-1], size)
            values.quadrature_error[name] = max(values.quadrature_error.get(name, 0.0), *errors)
    if GRADIENT in asked:
        values[GRADIENT] = _gradients(values[FACTORS], size)
    for name in values.keys() - set(asked):
        del values[name]
    values.notes += point.notes
    return values


def _chosen(theory: BatchRecursion, asked: Request) -> tuple[str, ...]:
    """Return the names asked for; gradients are put together from factors of the recursion."""
    known = [output.name for output in theory.outputs]
    known += [GRADIENT] if FACTORS in known else []
    return chosen_names(asked.outputs, known, f"the {theory.title}")


def _slopes(theory: BatchRecursion, stages: list[_Numbers], size: int) -> dict[str, float]:
    """Return the averages that gradients need, by name."""
    if size <= 3:
        raise UnsupportedError(
            f"the mean of squared gradients of a batch of {size}",
            "it is infinite: the inverse square of the length of a centred batch has no mean",
            "give a batch of more than 3 inputs, or sample log_gradient",
        )
    averages: dict[str, float] = {str(SIZE): float(size)}
    for own in stages:
        if any(law.jumps for law in (own.psi.law, *(one for one, _ in own.psi.draws))):
            raise UnsupportedError(
                f"gradients through {own.psi.law!r}", "it jumps", "use a continuous activation"
            )
        psi = own.psi
        both = gradient_averages(psi.slope, psi.kinks, size, square=psi.squared_slope)
        averages |= {str(own.stage.centred): both[0], str(own.stage.common): both[1]}
    bound = {s.name for s, _ in theory.bindings}
    return {name: value for name, value in averages.items() if name in bound}


def _gradients(factors: Array, size: int) -> Array:
    """Return the second moments of gradients at layers 0 ... L, shape (..., L + 1, B, B)."""
    depth = factors.shape[-2]
    matrices = factors.reshape(*factors.shape[:-1], 2, 2)
    gradients = np.empty((*factors.shape[:-1], 2))
    moment = np.ones((*factors.shape[:-2], 2))
    for layer in reversed(range(depth)):
        moment = (matrices[..., layer, :, :] @ moment[..., None])[..., 0]
        gradients[..., layer, :] = moment
    pair = np.stack([gradients, gradients[..., ::-1]], axis=-2)
    return _spread(pair, None, size, size)


def _runs(theory: BatchRecursion) -> bool:
    return any(is_running(stage.op) for stage in theory.stages)


def _spread(pair: Array, between: Array | None, count: int, size: int) -> Array:
    """Return the kernel of a batch from that of two inputs, and of two in different groups."""
    shape = (*pair.shape[:-2], count, count)
    require_memory(f"kernels of {count} inputs", 8 * math.prod(shape), FEWER)
    same = np.arange(count) // size
    whole = np.broadcast_to(pair[..., :1, 1:], shape).copy()
    if between is not None:
        apart = same[:, None] != same
        whole[..., apart] = between[..., None]
    own = np.arange(count)
    whole[..., own, own] = pair[..., :1, 0]
    return whole


def _by_blocks(theory: BatchRecursion, request: Request, point: Point, sharing: Sharing) -> Values:
    """Carry the kernel of a batch through every block as a matrix."""
    asked, named = _chosen(theory, request), request.outputs is not None
    names = {"K", "C"}.intersection(asked)
    if missing := [n for n in asked if n not in names and (named or n == GRADIENT)]:
        raise UnsupportedError(
            f"{missing[0]} of this batch",
            "it is known for exchangeable inputs and eps = 0",
            f"give K0 with one variance and one covariance, or outputs={sorted(names) or 'K'!r}",
        )
    health = Health()
    kernels = kernels_by_block(theory.net, point, sharing, health)
    arrays, errors, notes = {}, {}, list(point.notes)
    for name in sorted(names):
        arrays[name], error, more = mean_of_repetitions(name, kernels[name].swapaxes(0, 1))
        errors[name] = error + health.error
        notes += more
    problems = tuple(health.problems)
    return Values(arrays, point.depth, problems, errors, theory.citations, "cpu", tuple(notes))
