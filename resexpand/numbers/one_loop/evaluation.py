r"""`evaluate_one_loop`: the order 1/N of a network in numbers.

The algorithm, for draws ``a`` in the order of computation:

1. ``K_a, C_a, T_a, H_a`` of every draw, from the compiled recursion (mean field and Price);
2. the sources ``S`` and ``P``, two-point averages of the features;
3. ``N Cov(C) = R S R^T``, ``N Cov(K) = B S B^T``, ``R = (1 - T M^2)^{-1}``, ``B = M^2 R``;
4. ``N E dC = R [ H:(B S B^T)/2 + sum_k P:B ]``: tadpole and conditioning, propagated.

Weights of another law add ``H:(M^4 Q)/6`` to the bracket, ``Q`` the fourth cumulants of the draws
(`resexpand.theory.one_loop.weight_laws`), and leave all else.

The kernel of a sampled network is ``G^l = h^l.h^l/N``: beside ``K`` it fluctuates because there
are N neurons, ``N Cov(G^l, G^m) = B S B^T + B S_UG + (B S_UG)^T + W``, with ``W_ij,kl = K_ik K_jl +
K_il K_jk`` of the earlier layer and ``S_UG = T W``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.binding import Point, bind
from resexpand.codegen.memory import require_memory
from resexpand.codegen.routine import compile_routine
from resexpand.codegen.schedule import chosen_names
from resexpand.codegen.threads import in_threads
from resexpand.codegen.track import untracked
from resexpand.codegen.values import Values
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.network.numbers import real_array, whole_number
from resexpand.numbers.one_loop.four_point import require_averages
from resexpand.numbers.one_loop.inputs import Problem, distinct_inputs
from resexpand.numbers.one_loop.log_normal import is_homogeneous, log_normal
from resexpand.numbers.one_loop.propagation import Covariances, covariances
from resexpand.numbers.one_loop.results import derived, matrices
from resexpand.numbers.one_loop.sources import Sources, sources
from resexpand.numbers.one_loop.tables import Tables, gather, input_pairs
from resexpand.numbers.one_loop.validity import judged, require_moments, unhealthy
from resexpand.numbers.one_loop.weights import GAUSSIAN, cumulants_read, fourth_cumulants
from resexpand.theory.mean_field import kernel as mean_field_kernel
from resexpand.theory.one_loop import OneLoop
from resexpand.theory.one_loop.layers import PRECISION, layers

Array = NDArray[np.float64]

MATRICES = 8
"""Matrices of covariances and responses of one point that are held at the same time."""

MEMORY = 30_000_000
"""Doubles that the matrices of one batch of points may hold."""

AT_A_WIDTH = {"K", "C", "K_mean", "C_mean", "G_cov", "C_cov"}
"""What deviations and means at a width are made of."""

PIECES, WORTH_A_PIECE = 16, 20_000
"""Batches that a grid is cut into, for threads to share; and numbers of a matrix per batch below
which it is not worth a thread. Neither depends on the number of threads: no result does."""

LARGEST = 12_000
"""Gram matrix entries of all blocks together beyond which covariances do not fit into memory."""


def evaluate_one_loop(
    theory: OneLoop, *, outputs: str | Iterable[str] | None = None, **hyperparameters: Any
) -> Values:
    """Evaluate the order 1/N of a network.

    Parameters
    ----------
    theory : OneLoop
        From `one_loop`.
    outputs : str or iterable of str, optional
        Names of those below that are returned; all by default. Covariances between all layers
        that are not asked for are not kept.
    **hyperparameters
        As for `resexpand.evaluate`: ``K0`` (a number, or ``(..., D, D)``) or ``inputs``, ``depth``,
        symbols by name; arrays broadcast. Besides

        - ``width``, one integer, changes no coefficient: it says where they will be used, so that
          means and deviations can be given and those beyond the validity of the expansion marked;
        - ``weight_kurtosis``, one number: ``E w^4/(E w^2)^2 >= 1`` of independent weights that are
          symmetric about zero, 3 (the default) for Gaussian, 1.8 for uniform ones, 1 for signs.
          Input and biases stay Gaussian. See `OneLoop.weight_laws` for what that changes.

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
          is about ``v / N`` of what is given.

        With ``width`` the relative size of the next order ``relative_error = v / N``, and at this
        width the means ``K_width = K + K_mean / N`` and ``C_width`` and the standard deviations
        from network to network ``K_deviation`` (of ``G``) and ``C_deviation``; these four are NaN
        where the expansion does not hold. For one input of a homogeneous network (relu or linear
        without biases) also ``log_mean`` and ``log_variance`` of ``ln G``, which hold where depth
        is comparable to width (`resexpand.numbers.one_loop.log_normal`). With other weights the
        share ``C_mean_weights``.

        For D inputs means have shape ``grid + (L + 1, D, D)``, covariances ``grid + (L + 1, D, D,
        L + 1, D, D)``, ``kurtosis`` is ``grid + (D,)``, and ``four_point`` (``grid + (D, D, D,
        D)``) is the connected four-point function of the outputs, ``Cov(C_ij, C_kl)`` and its two
        other pairings.

    Raises
    ------
    HyperparameterError, KernelError
        If the hyperparameters do not fit the network.
    UnsupportedError
        For several inputs of an activation with kinks or jumps that has no closed averages, for an
        activation that grows so fast that an average does not exist, for matrices that would not
        fit into memory.
    """
    given = dict(hyperparameters)
    width, excess = _width(given), _excess(given)
    point = _bound(theory, given)
    problem = distinct_inputs(theory, point)
    _require_memory(theory, problem, point)
    if problem.count > 1:
        for draw in theory.process.draws:
            require_averages(draw.law)
    names = chosen_names(outputs, _names(theory, width, excess), "the order 1/N here")
    kept = {*names, "validity"} | (AT_A_WIDTH if width else set())
    with untracked():
        batches, mean_field_error = _tables(theory, problem, point)
    parts = _of_batches(batches, theory, problem, excess, kept)
    # Numbers beyond double precision are reported as such, layer by layer.
    with np.errstate(over="ignore", invalid="ignore"):
        arrays = {k: np.concatenate([p.arrays[k] for p in parts]) for k in parts[0].arrays}
        shaped = {k: v.reshape(point.grid + v.shape[1:])[()] for k, v in arrays.items()}
        extra, marks = judged(shaped, width, len(point.grid))
    if width and theory.inputs == 1 and is_homogeneous(theory.process, batches):
        extra |= log_normal(shaped, width)
    error = max(part.error for part in parts) + mean_field_error
    problems = (*unhealthy(shaped, error, theory.process), *marks)
    found = shaped | extra
    wanted = found if outputs is None else chosen_names(names, list(found), "the order 1/N here")
    quadrature = {name: error for name in wanted if name in shaped} if error else {}
    named = {name: found[name] for name in wanted}
    return Values(named, point.depth, problems, quadrature, theory.citations, notes=point.notes)


def _names(theory: OneLoop, width: int | None, excess: float) -> list[str]:
    """Return the names of everything there may be."""
    means = ["K_mean", "C_mean", "C_mean_tadpole", "C_mean_conditioning"]
    names = ["K", "C", *means, "K_cov", "C_cov", "G_cov", "kurtosis", "validity"]
    names += ["C_mean_weights"] if excess else []
    names += ["four_point"] if theory.inputs > 1 else []
    if width:
        names += ["relative_error", "K_width", "K_deviation", "C_width", "C_deviation"]
        names += ["log_mean", "log_variance"] if theory.inputs == 1 else []
    return names


def _width(given: dict[str, Any]) -> int | None:
    width = given.pop("width", None)
    return None if width is None else whole_number(width, "width", least=1)


def _excess(given: dict[str, Any]) -> float:
    """Return the excess kurtosis of the weights."""
    kurtosis = given.pop("weight_kurtosis", GAUSSIAN)
    array = real_array(kurtosis, "weight_kurtosis", finite=False)
    if array.ndim or not 1 <= array < np.inf:
        raise HyperparameterError(
            f"weight_kurtosis = {kurtosis!r}",
            "E w^4/(E w^2)^2 of a law is a finite number and at least 1, or there is no order 1/N",
            "give that of the weights: 3 for Gaussian, 1.8 for uniform ones, 1 for signs",
        )
    return float(array) - GAUSSIAN


def _require_memory(theory: OneLoop, problem: Problem, point: Point) -> None:
    entries = problem.count * (problem.count + 1) // 2
    count = (point.depth + 1) * len(theory.process.draws) * entries
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


def _tables(theory: OneLoop, problem: Problem, point: Point) -> tuple[list[Tables], float]:
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
    flat = {
        name: np.broadcast_to(array, point.grid + array.shape[lead:]).reshape(
            (-1, *array.shape[lead:])
        )
        for name, array in values.items()
    }
    entries = problem.count * (problem.count + 1) // 2
    count = (point.depth + 1) * len(theory.process.draws) * entries
    points = flat["K"].shape[0]
    step = max(-(-points // PIECES), WORTH_A_PIECE // count**2)
    step = max(1, min(step, MEMORY // (8 * count**2)))
    batches = [
        gather({k: v[s : s + step] for k, v in flat.items()}, theory.process, problem.count, single)
        for s in range(0, max(points, 1), step)
    ]
    for tables in batches:
        require_moments(tables.reads, theory.process)
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


@dataclass(frozen=True)
class Part:
    """Results of a batch of points, and the relative error of their averages."""

    arrays: dict[str, Array]
    error: float


def _of_batches(
    batches: list[Tables], theory: OneLoop, problem: Problem, excess: float, kept: set[str]
) -> list[Part]:
    """Return the results of all batches, on as many threads as Numba may use."""

    def of(tables: Tables) -> Part:
        # What may overflow is a setting of every thread.
        with np.errstate(over="ignore", invalid="ignore"):
            return _of_points(tables, theory, problem, excess, kept)

    return in_threads(of, batches)


def _of_points(
    tables: Tables, theory: OneLoop, problem: Problem, excess: float, kept: set[str]
) -> Part:
    found = sources(tables, theory.process)
    spread = covariances(tables.responses, found.covariance)
    arrays = {"K": tables.stream, "C": tables.gram}
    fourth = fourth_cumulants(tables, found, excess) if excess else None
    arrays |= _means(tables, found, spread, fourth)
    arrays |= _spreads(tables, spread)
    if fourth is not None:
        last = fourth[:, -1, tables.last[-1]]
        arrays["weights_cov"] = last[:, None, :, None, :]
    shaped = {name: matrices(tables.inputs, name, value) for name, value in arrays.items()}
    if theory.inputs > 1:
        shaped = {name: problem.expanded(name, value) for name, value in shaped.items()}
    shaped |= derived(theory.inputs, shaped)
    return Part({name: value for name, value in shaped.items() if name in kept}, found.error)


def _means(
    tables: Tables, found: Sources, spread: Covariances, fourth: Array | None
) -> dict[str, Array]:
    """Return the corrections of the means, ``(G, B, p)``."""
    points, blocks, draws = tables.weights.shape
    entries = tables.entries
    read = _covariance_read(tables, spread)
    tadpole = _bent(tables, read)
    _, streams = tables.responses.identity()
    by_source = streams.reshape((points, blocks, entries, blocks, draws, entries))
    # The sources that condition are the features of draws that read the stream.
    local = np.einsum(
        "gbpqkr,gbqkr->gbp", found.conditioning, by_source[:, :, :, :, 0], optimize=True
    )
    conditioning = np.zeros((points, blocks, draws, entries))
    conditioning[:, :, 0] = local
    shares = {"C_mean_tadpole": tadpole, "C_mean_conditioning": conditioning}
    if fourth is not None:
        # Cov(K, K') of a Gaussian mixture is a third of the fourth cumulant that it makes.
        shares["C_mean_weights"] = _bent(tables, cumulants_read(tables, fourth) / 3)
    changes, kernels = tables.responses.apply(np.stack(list(shares.values()), axis=-1))
    last = changes[:, np.arange(blocks), tables.last]
    means = {"K_mean": kernels.sum(axis=-1), "C_mean": last.sum(axis=-1)}
    return means | {name: last[..., k] for k, name in enumerate(shares)}


def _bent(tables: Tables, spread: Array) -> Array:
    """Return what the curvatures make of a covariance of what is read, ``(G, B, J, p)``."""
    bent: Array = np.einsum("gbjpqr,gbjqr->gbjp", tables.curvatures, spread) / 2
    return bent


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
    _, moved = tables.responses.apply(felt.reshape((*felt.shape[:4], blocks * entries)))
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
