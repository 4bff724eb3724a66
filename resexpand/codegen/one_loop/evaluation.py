r"""`evaluate_one_loop`: the order 1/N of a network in numbers.

The algorithm, for draws ``a`` in the order of computation:

1. ``K_a, C_a, T_a, H_a`` of every draw, from the compiled recursion (mean field and Price);
2. the sources ``S`` and ``P``, two-point averages of the features;
3. ``N Cov(C) = R S R^T``, ``N Cov(K) = B S B^T``, ``R = (1 - T M^2)^{-1}``, ``B = M^2 R``;
4. ``N E dC = R [ H:(B S B^T)/2 + sum_k P:B ]``: tadpole and conditioning, propagated.

The kernel of a sampled network is ``G^l = h^l.h^l/N``: beside ``K`` it fluctuates because there
are N neurons, ``N Cov(G^l, G^m) = B S B^T + B S_UG + (B S_UG)^T + W``, with ``W_ij,kl = K_ik K_jl +
K_il K_jk`` of the earlier layer and ``S_UG = T W``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.binding import Point, bind
from resexpand.codegen.one_loop.four_point import require_averages
from resexpand.codegen.one_loop.propagation import Covariances, covariances
from resexpand.codegen.one_loop.sources import Sources, sources
from resexpand.codegen.one_loop.tables import Tables, entry_index, gather, input_pairs
from resexpand.codegen.one_loop.validity import judged
from resexpand.codegen.routine import compile_routine
from resexpand.codegen.values import QUADRATURE_LIMIT, Values, overflow_problem
from resexpand.errors import HyperparameterError
from resexpand.theory.mean_field import kernel as mean_field_kernel
from resexpand.theory.one_loop import OneLoop
from resexpand.theory.one_loop.layers import layers
from resexpand.theory.recursion import Recursion

Array = NDArray[np.float64]

VANISHING = re.compile(r"(response|curvature)_\d+_1_|(response|curvature)_\d+_2_")
"""Derivatives of a covariance, which may vanish: a relative error of them says nothing."""

MEMORY = 30_000_000
"""Doubles that the matrices of one batch of points may hold."""


def evaluate_one_loop(theory: OneLoop, **hyperparameters: Any) -> Values:
    """Evaluate the order 1/N of a network.

    Parameters
    ----------
    theory : OneLoop
        From `one_loop`.
    **hyperparameters
        As for `resexpand.evaluate`: ``K0`` (a number, or ``(..., D, D)``) or ``inputs``, ``depth``,
        symbols by name; arrays broadcast. Also ``width``, one integer, which changes no
        coefficient: it says where the results will be used, so that those beyond the validity of
        the expansion can be marked.

    Returns
    -------
    Values
        ``K``, ``C``: infinite width. Coefficients of 1/N, for one input:

        - ``K_mean``, ``C_mean``, shape ``grid + (L + 1,)``: ``E G^l - K^l`` and ``E C^l - C^l``
          (``C`` of the last linear operation of blocks ``1 .. L + 1``, or of the read-out), with
          the shares ``C_mean_tadpole`` and ``C_mean_conditioning``, each propagated;
        - ``K_cov``, ``C_cov``, ``G_cov``, shape ``grid + (L + 1, L + 1)``: ``K`` is the covariance
          that the Gram matrices add up to, ``G`` the kernel measured on N neurons;
        - ``kurtosis``, shape ``grid``: excess kurtosis of the output, ``3 Var C / C^2``;
        - ``validity``, shape ``grid + (L + 1,)``: ``v = N Var G / K^2``, so that the next order
          is about ``v / N`` of what is given; with ``width`` also ``relative_error``, ``v / N``.

        For D inputs means have shape ``grid + (L + 1, D, D)``, covariances ``grid + (L + 1, D, D,
        L + 1, D, D)``, ``kurtosis`` is ``grid + (D,)``, and ``four_point`` (``grid + (D, D, D,
        D)``) is the connected four-point function of the outputs, ``Cov(C_ij, C_kl)`` and its two
        other pairings.

    Raises
    ------
    HyperparameterError, KernelError
        If the hyperparameters do not fit the network.
    UnsupportedError
        For several inputs of an activation with kinks or jumps that has no closed averages.
    """
    given = dict(hyperparameters)
    width = _width(given)
    point = _bound(theory, given)
    problem = _problem(theory, point)
    if problem.count > 1:
        for draw in theory.process.draws:
            require_averages(draw.law)
    batches, mean_field = _tables(theory, problem, given, point)
    parts = [_of_points(tables, theory) for tables in batches]
    arrays = {k: np.concatenate([p.arrays[k] for p in parts]) for k in parts[0].arrays}
    if theory.inputs > 1:
        arrays = {k: problem.expanded(k, v) for k, v in arrays.items()}
    arrays |= _outputs(theory.inputs, arrays)
    shaped = {k: v.reshape(point.grid + v.shape[1:])[()] for k, v in arrays.items()}
    extra, marks = judged(shaped["validity"], width)
    error = max(part.error for part in parts)
    error += max(
        (e for name, e in mean_field.quadrature_error.items() if VANISHING.match(name) is None),
        default=0.0,
    )
    problems = (*_unhealthy(shaped, error), *marks)
    quadrature = dict.fromkeys(shaped, error) if error else {}
    return Values(shaped | extra, point.depth, problems, quadrature, theory.citations)


def _unhealthy(arrays: Mapping[str, Array], error: float) -> list[str]:
    """Return a sentence for everything that makes the numbers doubtful."""
    found = [overflow_problem(name, np.asarray(value), False) for name, value in arrays.items()]
    if error > QUADRATURE_LIMIT:
        found.append(f"the quadrature did not converge: its relative error is about {error:.1g}")
    return [sentence for sentence in found if sentence]


def _width(given: dict[str, Any]) -> int | None:
    width = given.pop("width", None)
    if width is None:
        return None
    if isinstance(width, bool) or not isinstance(width, int | np.integer) or width < 1:
        raise HyperparameterError(
            f"width = {width!r}", "it is not a positive integer", "give the neurons per layer"
        )
    return int(width)


def _bound(theory: OneLoop, given: Mapping[str, Any]) -> Point:
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


def _tables(
    theory: OneLoop, problem: Problem, given: Mapping[str, Any], point: Point
) -> tuple[list[Tables], Values]:
    """Run the routine of the layers; return its tables in batches of points."""
    single = problem.count == 1
    others = {k: v for k, v in given.items() if k not in ("K0", "inputs", "depth")}
    kernel = problem.kernel
    if not single:
        pairs = np.array(input_pairs(problem.count))
        kernel = kernel[..., pairs[:, :, None], pairs[:, None, :]]
        others = {k: np.asarray(v, dtype=float)[..., None] for k, v in others.items()}
    depth = {} if theory.net.depth.is_number else {"depth": point.depth}
    values = compile_routine(problem.layers)(K0=kernel, **depth, **others)
    lead = len(point.grid)
    flat = {
        name: np.broadcast_to(array, point.grid + array.shape[lead:]).reshape(
            (-1, *array.shape[lead:])
        )
        for name, array in values.items()
    }
    entries = problem.count * (problem.count + 1) // 2
    count = (point.depth + 1) * len(theory.process.draws) * entries
    step = max(1, MEMORY // (8 * count**2))
    points = flat["K"].shape[0]
    batches = [
        gather({k: v[s : s + step] for k, v in flat.items()}, theory.process, problem.count, single)
        for s in range(0, points, step)
    ]
    return batches, values


@dataclass(frozen=True)
class Part:
    """Results of a batch of points, and the relative error of their averages."""

    arrays: dict[str, Array]
    error: float


def _of_points(tables: Tables, theory: OneLoop) -> Part:
    found = sources(tables, theory.process)
    spread = covariances(tables.responses, found.covariance)
    arrays = {"K": tables.stream, "C": tables.gram}
    arrays |= _means(tables, found, spread)
    arrays |= _spreads(tables, spread)
    shaped = {name: _matrices(tables.inputs, name, value) for name, value in arrays.items()}
    return Part(shaped, found.error)


def _means(tables: Tables, found: Sources, spread: Covariances) -> dict[str, Array]:
    """Return the corrections of the means, ``(G, B, p)``."""
    points, blocks, draws = tables.weights.shape
    entries = tables.entries
    read = _covariance_read(tables, spread)
    tadpole = np.einsum("gbjpqr,gbjqr->gbjp", tables.curvatures, read) / 2
    _, streams = tables.responses.identity()
    by_source = streams.reshape((points, blocks, entries, blocks, draws, entries))
    # The sources that condition are the features of draws that read the stream.
    local = np.einsum(
        "gbpqkr,gbqkr->gbp", found.conditioning, by_source[:, :, :, :, 0], optimize=True
    )
    conditioning = np.zeros((points, blocks, draws, entries))
    conditioning[:, :, 0] = local
    changes, kernels = tables.responses.apply(np.stack([tadpole, conditioning], axis=-1))
    last = changes[:, np.arange(blocks), tables.last]
    return {
        "K_mean": kernels.sum(axis=-1),
        "C_mean": last.sum(axis=-1),
        "C_mean_tadpole": last[..., 0],
        "C_mean_conditioning": last[..., 1],
    }


def _covariance_read(tables: Tables, spread: Covariances) -> Array:
    """Return ``N Cov`` of what each draw reads, ``(G, B, J, p, p)``."""
    points, blocks, draws = tables.weights.shape
    entries = tables.entries
    each = np.arange(blocks)
    read = np.zeros((points, blocks, draws, entries, entries))
    streams = spread.streams.reshape((points, blocks, entries, blocks, entries))
    read[:, :, 0] = np.moveaxis(streams[:, each, :, each], 0, 1)
    inside = spread.draws.reshape((points, blocks, draws, entries, blocks, draws, entries))
    for draw in range(1, draws):
        read[:, :, draw] = np.moveaxis(inside[:, each, draw - 1, :, each, draw - 1], 0, 1)
    return read


def _spreads(tables: Tables, spread: Covariances) -> dict[str, Array]:
    """Return covariances of K, C and G, ``(G, B, p, B, p)``."""
    points, blocks, draws = tables.weights.shape
    entries = tables.entries
    each = np.arange(blocks)
    inside = spread.draws.reshape((points, blocks, draws, entries, blocks, draws, entries))
    rows = inside[:, each, tables.last]
    gram = rows[:, :, :, each, tables.last]
    kernels = spread.streams.reshape((points, blocks, entries, blocks, entries))
    wick = _wick(tables)
    felt = np.zeros((points, blocks, draws, entries, blocks, entries))
    felt[:, :, 0] = np.einsum("glpq,glqmr->glpmr", tables.responses.draws[:, :, 0], wick)
    _, moved = tables.responses.apply(felt.reshape((points, blocks, draws, entries, -1)))
    mixed = moved.reshape(kernels.shape)
    sampled = kernels + mixed + mixed.transpose(0, 3, 4, 1, 2) + wick
    return {"K_cov": kernels, "C_cov": gram, "G_cov": sampled}


def _wick(tables: Tables) -> Array:
    """Return the covariance of ``h_i h_j`` of a neuron at two layers, ``(G, B, p, B, p)``."""
    points, blocks = tables.weights.shape[:2]
    earlier = np.minimum(np.arange(blocks)[:, None], np.arange(blocks)[None, :])
    c = tables.stream[:, earlier]
    index = [(i, j) for i in range(tables.inputs) for j in range(i, tables.inputs)]
    wick = np.empty((points, blocks, len(index), blocks, len(index)))
    for a, (i, j) in enumerate(index):
        for b, (k, m) in enumerate(index):
            wick[:, :, a, :, b] = c[..., i, k] * c[..., j, m] + c[..., i, m] * c[..., j, k]
    return wick


