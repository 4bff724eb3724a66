"""From the routine of the layers to the arrays of the one-loop algorithm.

The entries of a Gram matrix of D inputs are numbered like its upper triangle, row by row. Averages
of entry ``(i, j)`` depend on the covariances ``(i, i), (i, j), (j, j)`` alone, so the routine runs
on all pairs of inputs and its results are put together here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from resexpand.numbers.one_loop.propagation import Responses
from resexpand.theory.one_loop.layers import (
    SCALE,
    bias_name,
    curvature_name,
    reads_name,
    response_name,
    weight_name,
)
from resexpand.theory.one_loop.process import Process

Array = NDArray[np.float64]
PARALLEL = 1e-5
"""Square of the sine of the angle at which the curvature of a kinked function is left out. What it
adds to the mean goes like the third power of the angle; what rounding makes of it, like the inverse
of that. Both are below 1e-8 here."""

ALONG = 1e-15
"""The same, below which two inputs are multiples of each other to rounding."""

Index = dict[tuple[int, int], int]


def entry_index(inputs: int) -> Index:
    """Return the number of every entry of a symmetric matrix, both orders of the indices."""
    upper = combinations_with_replacement(range(inputs), 2)
    index = {pair: number for number, pair in enumerate(upper)}
    return index | {(j, i): number for (i, j), number in index.items()}


def input_pairs(inputs: int) -> list[tuple[int, int]]:
    """Return all pairs of different inputs; a single input is paired with itself."""
    return list(combinations(range(inputs), 2)) or [(0, 0)]


@dataclass(frozen=True)
class Tables:
    """Everything the algorithm needs, per point, block and draw.

    Attributes
    ----------
    inputs : int
        Number of inputs D; ``p = D (D + 1) / 2`` entries.
    stream : ndarray, shape (G, B, D, D)
        Covariance kernel of the stream that each block reads.
    reads : ndarray, shape (G, B, J, D, D)
        Covariance of what each draw reads.
    gram : ndarray, shape (G, B, D, D)
        C of the last draw of each block.
    weights, biases : ndarray, shape (G, B, J)
        Variances; zero for draws that do not exist, behind a read-out.
    responses : Responses
        T and the scales.
    curvatures : ndarray, shape (G, B, J, p, p, p)
        H, symmetric in the last two axes.
    last : ndarray of int, shape (B,)
        Which draw of a block is its last.
    """

    inputs: int
    stream: Array
    reads: Array
    gram: Array
    weights: Array
    biases: Array
    responses: Responses
    curvatures: Array
    last: NDArray[np.intp]

    @property
    def entries(self) -> int:
        """Number p of entries of a Gram matrix."""
        return int(self.curvatures.shape[-1])


def gather(values: Mapping[str, Array], process: Process, inputs: int, single: bool) -> Tables:
    """Put the results of the routine together.

    Parameters
    ----------
    values : mapping
        Of the routine: arrays ``(G, B)`` for one input, ``(G, pairs, B)`` for more, in the order of
        `input_pairs`.
    process : Process
        The draws.
    inputs : int
        Number of inputs.
    single : bool
        Whether the routine is that of one input.
    """
    index = entry_index(inputs)
    entries = len(set(index.values()))
    first = values[SCALE]
    points, blocks = first.shape[0], first.shape[-1]
    draws = len(process.draws)
    reads = np.zeros((points, blocks, draws, inputs, inputs))
    gram = np.zeros((points, blocks, inputs, inputs))
    weights, biases = (np.zeros((points, blocks, draws)) for _ in range(2))
    responses = np.zeros((points, blocks, draws, entries, entries))
    curvatures = np.zeros((points, blocks, draws, entries, entries, entries))
    for number, (i, j) in enumerate(input_pairs(inputs)):
        part = values if single else {k: v[:, number] for k, v in values.items()}
        local = [(i, i)] if single else [(i, i), (i, j), (j, j)]
        places = [index[pair] for pair in local]
        covariance = part["C"][..., None, None] if single else part["C"]
        for a, row in enumerate((i, j)[: covariance.shape[-1]]):
            for b, column in enumerate((i, j)[: covariance.shape[-1]]):
                gram[:, :, row, column] = covariance[..., a, b]
        for draw in range(draws):
            position = draw + 1
            weights[:, :, draw] = part[weight_name(position)]
            biases[:, :, draw] = part[bias_name(position)]
            _set_reads(reads[:, :, draw], part, position, local)
            _set_derivatives(responses[:, :, draw], curvatures[:, :, draw], part, position, places)
    last = np.full(blocks, draws - 1)
    if process.read_out is not None:
        last[-1] = 0
        for table in (weights, biases, responses, curvatures):
            table[:, -1, 1:] = 0.0
    scales = first if single else first[:, 0]
    for draw, described in enumerate(process.draws):
        smooth = described.law is None or described.law.is_smooth
        _regular(responses[:, :, draw], curvatures[:, :, draw], reads[:, :, draw], smooth)
    # The kernel of the input is given: nothing moves there.
    curvatures[:, 0, 0] = 0.0
    responses[:, 0, 0] = np.where(np.isfinite(responses[:, 0, 0]), responses[:, 0, 0], 0.0)
    moved = Responses(responses, scales)
    return Tables(inputs, reads[:, :, 0], reads, gram, weights, biases, moved, curvatures, last)


def _set_reads(
    reads: Array, part: Mapping[str, Array], position: int, local: list[tuple[int, int]]
) -> None:
    for k, (i, j) in enumerate(local):
        value = part[reads_name(position, k)]
        reads[..., i, j] = reads[..., j, i] = value


def _set_derivatives(
    responses: Array,
    curvatures: Array,
    part: Mapping[str, Array],
    position: int,
    places: list[int],
) -> None:
    for a, row in enumerate(places):
        for b, column in enumerate(places):
            name = response_name(position, a, b)
            if name in part:
                responses[..., row, column] = part[name]
        for b, c in combinations_with_replacement(range(len(places)), 2):
            name = curvature_name(position, a, b, c)
            if name in part:
                first, second = places[b], places[c]
                curvatures[..., row, first, second] = part[name]
                curvatures[..., row, second, first] = part[name]


def rounding(reads: Array) -> float:
    """Return the relative error of closed averages of a kinked function near parallel inputs.

    Parameters
    ----------
    reads : ndarray, shape (..., D, D)
        Covariances.
    """
    worst = 0.0
    for i, j in combinations(range(reads.shape[-1]), 2):
        product = reads[..., i, i] * reads[..., j, j]
        with np.errstate(divide="ignore", invalid="ignore"):
            sine = 1 - reads[..., i, j] ** 2 / product
        near = sine[(product > 0) & (sine > ALONG)]
        if near.size:
            worst = max(worst, float(np.finfo(float).eps / near.min()))
    return worst


def _regular(responses: Array, curvatures: Array, reads: Array, smooth: bool) -> None:
    """Put zeros where derivatives do not exist, but nothing moves in their direction either.

    An input of length zero stays what it is, and what rounding leaves of its products is cleared;
    inputs that are multiples of each other stay so, and along that ray a function without
    derivative at zero has no curvature.
    """
    inputs = reads.shape[-1]
    index = entry_index(inputs)
    for i, j in combinations(range(inputs), 2):
        row = index[i, j]
        first, second = reads[..., i, i], reads[..., j, j]
        empty = first * second == 0
        responses[empty, row] = 0.0
        reads[empty, i, j] = reads[empty, j, i] = 0.0
        left = first * second - reads[..., i, j] ** 2
        parallel = (left <= PARALLEL * first * second) & (not smooth)
        curvatures[empty | parallel, row] = 0.0
        kept = responses[parallel, row]
        responses[parallel, row] = np.where(np.isfinite(kept), kept, 0.0)
