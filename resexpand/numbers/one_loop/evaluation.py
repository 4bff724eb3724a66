r"""`evaluate_one_loop`: the order 1/N of a network in numbers.

The algorithm, for the collective variables of a network in the order of computation, Gram matrices
of the draws and averages that normalisations hold:

1. ``K_a, C_a, T_a, H_a`` of every draw, from the compiled recursion (mean field and Price), and
   the chain rule where maps stand in front of an activation (`resexpand.numbers.one_loop.chain`);
2. the sources ``S`` and ``P``, averages of features at two layers;
3. covariances and means (`resexpand.numbers.one_loop.expansion`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.schedule import chosen_names
from resexpand.codegen.threads import in_threads
from resexpand.codegen.values import Values
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.network.numbers import real_array, whole_number
from resexpand.numbers.one_loop.expansion import Expansion, expansion
from resexpand.numbers.one_loop.inputs import Problem
from resexpand.numbers.one_loop.log_normal import is_homogeneous, log_normal
from resexpand.numbers.one_loop.points import prepared
from resexpand.numbers.one_loop.results import alone, derived, matrices
from resexpand.numbers.one_loop.tables import Tables
from resexpand.numbers.one_loop.validity import judged, unhealthy
from resexpand.numbers.one_loop.weights import GAUSSIAN
from resexpand.theory.one_loop import OneLoop

Array = NDArray[np.float64]

OF_THE_STREAM = ("K_", "G_", "log_")
"""Names of what is known of streams alone that blocks add to."""

AT_A_WIDTH = {"K", "C", "K_mean", "C_mean", "G_cov", "C_cov"}
"""Quantities that deviations and means at a width are made of."""


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
        - with a post-norm, none of ``K_...`` and ``G_cov``: `C` alone fluctuates, and behind a
          read-out ``Linear(1, 0)`` it is the kernel of the normalised stream;
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
    width, excess = width_of(given), _excess(given)
    masks = [draw.mask.op for draw in theory.process.draws if draw.mask is not None]
    if excess and (masks or theory.process.post is not None):
        raise UnsupportedError(
            f"weight_kurtosis with {', '.join(map(repr, masks or [theory.net.post_norm]))}",
            "the fourth cumulants that such weights give its stream are not derived",
            "leave it out: Gaussian weights",
        )
    names = chosen_names(outputs, _names(theory, width, excess), "the order 1/N here")
    known = set(_names(theory, width, excess))
    kept = {*names, "validity"} | (AT_A_WIDTH & known if width else set())
    made = prepared(theory, given)
    point = made.point

    def of(tables: Tables) -> Expansion:
        # What may overflow is a setting of every thread.
        with np.errstate(over="ignore", invalid="ignore"):
            return _of_points(tables, theory, made.problem, excess, kept)

    parts = in_threads(of, made.batches)
    # Numbers beyond double precision are reported as such, layer by layer.
    with np.errstate(over="ignore", invalid="ignore"):
        arrays = {k: np.concatenate([p.arrays[k] for p in parts]) for k in parts[0].arrays}
        shaped = {k: v.reshape(point.grid + v.shape[1:])[()] for k, v in arrays.items()}
        extra, marks = judged(shaped, width, len(point.grid))
    alike = theory.inputs == 1 and theory.process.post is None and not masks
    if width and alike and is_homogeneous(theory.process, made.batches):
        extra |= log_normal(shaped, width)
    error = max(part.error for part in parts) + made.error
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
    if theory.process.post is not None:
        # The stream is what is normalised: a read-out Linear(1, 0) has its products as C.
        names = [name for name in names if name == "K" or not name.startswith(OF_THE_STREAM)]
    return names


def width_of(given: dict[str, Any]) -> int | None:
    """Take the width out of hyperparameters."""
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


def _of_points(
    tables: Tables, theory: OneLoop, problem: Problem, excess: float, kept: set[str]
) -> Expansion:
    found = expansion(tables, excess)
    arrays: dict[str, Array] = {"K": tables.kernel, "C": tables.gram}
    for name, value in found.arrays.items():
        arrays[name] = matrices(tables.inputs, name, value)
    whole = {name: problem.expanded(name, value) for name, value in arrays.items()}
    whole |= derived(whole, normalised=tables.is_normalised)
    if theory.inputs == 1:
        del whole["four_point"]
        whole = {name: alone(name, value) for name, value in whole.items()}
    return Expansion({name: whole[name] for name in whole if name in kept}, found.error)
