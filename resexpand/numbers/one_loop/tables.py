"""From the routine of the layers to the arrays of the one-loop algorithm.

The entries of a Gram matrix of D inputs are numbered like its upper triangle, row by row. Averages
of entry ``(i, j)`` depend on the covariances ``(i, i), (i, j), (j, j)`` alone, so the routine runs
on all pairs of inputs and its results are put together here; a single input is a pair of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from math import prod

import numpy as np
from numpy.typing import NDArray

from resexpand.activations.activation_law import ActivationLaw
from resexpand.theory.one_loop.affine import shapes
from resexpand.theory.one_loop.layers import (
    SCALE,
    affine_name,
    bias_name,
    curvature_name,
    drift_name,
    drift_response_name,
    reads_name,
    response_name,
    weight_name,
)
from resexpand.theory.one_loop.process import LinearLayer, Process

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
    index = {pair: number for number, pair in enumerate(entry_pairs(inputs))}
    return index | {(j, i): number for (i, j), number in index.items()}


def entry_pairs(inputs: int) -> list[tuple[int, int]]:
    """Return the two inputs of every entry."""
    return list(combinations_with_replacement(range(inputs), 2))


def input_pairs(inputs: int) -> list[tuple[int, ...]]:
    """Return all pairs of different inputs; a single input is alone."""
    return list(combinations(range(inputs), 2)) or [(0,)]


@dataclass(frozen=True)
class Site:
    """One linear operation of every block and what it reads, arrays ``(G, B, ...)``.

    Attributes
    ----------
    law : ActivationLaw or None
        The activation in front of it.
    averages : int
        Number J of averages over the neurons in its maps.
    raw : ndarray, (D, D)
        Covariance of what it reads, the stream or the draw before.
    reads : ndarray, (D, D)
        The same behind its maps: of what the activation acts on.
    weights, biases : ndarray, ()
        Variances; zero for draws that do not exist, behind a read-out.
    response, curvature : ndarray, (p, p) and (p, p, p)
        T and H: derivatives of its Gram matrix by the entries of `reads`.
    drift, drift_response : ndarray, (p, D) and (p, D, p)
        Derivatives of its Gram matrix by the mean of an input, and of these by `reads`.
    maps : dict of ndarray
        Entries of the maps, ``(D, ...)`` (`resexpand.theory.one_loop.affine.shapes`).
    """

    law: ActivationLaw | None
    averages: int
    raw: Array
    reads: Array
    weights: Array
    biases: Array
    response: Array
    curvature: Array
    drift: Array
    drift_response: Array
    maps: dict[str, Array]

    @property
    def inputs(self) -> int:
        """Number D of inputs."""
        return int(self.reads.shape[-1])

    @property
    def entries(self) -> int:
        """Number p of entries of a Gram matrix."""
        return int(self.curvature.shape[-1])

    @property
    def size(self) -> int:
        """Number of collective variables of a block here: averages, then the Gram matrix."""
        return self.averages * self.inputs + self.entries


@dataclass(frozen=True)
class Tables:
    """Everything the algorithm needs, per point and block.

    Attributes
    ----------
    sites : tuple of Site
        The linear operations of a block.
    gram : ndarray, shape (G, B, D, D)
        C of the last draw of each block.
    scales : ndarray, shape (G, B)
        Squares of the residual scales.
    last : ndarray of int, shape (B,)
        Which site of a block is its last.
    """

    sites: tuple[Site, ...]
    gram: Array
    scales: Array
    last: NDArray[np.intp]

    @property
    def stream(self) -> Array:
        """Covariance kernel of the stream that each block reads, ``(G, B, D, D)``."""
        return self.sites[0].raw

    @property
    def inputs(self) -> int:
        """Number D of inputs."""
        return self.sites[0].inputs

    @property
    def entries(self) -> int:
        """Number p of entries of a Gram matrix."""
        return self.sites[0].entries

    @property
    def size(self) -> int:
        """Number n of collective variables of a block."""
        return sum(site.size for site in self.sites)

    def variables(self, place: int) -> slice:
        """Return where those of a site stand in its block."""
        start = sum(site.size for site in self.sites[:place])
        return slice(start, start + self.sites[place].size)

    def grams(self, place: int) -> slice:
        """Return where the Gram matrix of a site stands in its block."""
        end = self.variables(place).stop
        return slice(end - self.entries, end)

    def read(self, place: int) -> NDArray[np.intp]:
        """Return on what the variables of a site depend: places in (stream, block)."""
        p = self.entries
        before = slice(0, p) if place == 0 else self.grams(place - 1)
        own = self.variables(place)
        averages = np.arange(own.start, self.grams(place).start) + p
        return np.concatenate([np.arange(p) + before.start + (p if place else 0), averages])


def gather(values: Mapping[str, Array], process: Process, inputs: int) -> Tables:
    """Put the results of the routine together.

    Parameters
    ----------
    values : mapping
        Of the routine: arrays ``(G, pairs, B)``, in the order of `input_pairs`.
    process : Process
        The draws.
    inputs : int
        Number of inputs.
    """
    scales = values[SCALE][:, 0]
    last = np.full(scales.shape[1], len(process.draws) - 1)
    if process.read_out is not None:
        last[-1] = 0
    sites = []
    for draw in process.draws:
        sites.append(_site(values, draw, inputs, last >= draw.position - 1))
    gram = np.zeros(sites[0].raw.shape)
    covariance = values["C"] if values["C"].ndim > 3 else values["C"][..., None, None]
    for number, pair in enumerate(input_pairs(inputs)):
        gram[:, :, np.array(pair)[:, None], np.array(pair)] = covariance[:, number]
    return Tables(tuple(sites), gram, scales, last)


def _site(
    values: Mapping[str, Array], draw: LinearLayer, inputs: int, exists: NDArray[np.bool_]
) -> Site:
    """Return one linear operation; `exists` says in which blocks it does."""
    index, position = entry_index(inputs), draw.position
    points, _, blocks = values[weight_name(position)].shape
    entries = len(entry_pairs(inputs))

    def zeros(*shape: int) -> Array:
        return np.zeros((points, blocks, *shape))

    weights, biases = (values[name(position)][:, 0] * exists for name in (weight_name, bias_name))
    raw, maps = zeros(inputs, inputs), _maps(values, draw, inputs)
    response, curvature = zeros(entries, entries), zeros(entries, entries, entries)
    drift, drift_response = zeros(entries, inputs), zeros(entries, inputs, entries)
    for number, pair in enumerate(input_pairs(inputs)):
        part = {k: v[:, number] for k, v in values.items()}
        local = list(combinations_with_replacement(pair, 2))
        places = [index[two] for two in local]
        for k, (i, j) in enumerate(local):
            raw[..., i, j] = raw[..., j, i] = part[reads_name(position, k)]
        for a, row in enumerate(places):
            for b, column in enumerate(places):
                if (name := response_name(position, a, b)) in part:
                    response[..., row, column] = part[name]
            for b, c in combinations_with_replacement(range(len(places)), 2):
                if (name := curvature_name(position, a, b, c)) in part:
                    value = part[name]
                    curvature[..., row, places[b], places[c]] = value
                    curvature[..., row, places[c], places[b]] = value
            for b, column in enumerate(pair):
                if (name := drift_name(position, a, b)) in part:
                    drift[..., row, column] = part[name]
                for c, third in enumerate(places):
                    if (name := drift_response_name(position, a, b, c)) in part:
                        drift_response[..., row, column, third] = part[name]
    slope = maps["slope"]
    reads = raw * slope[..., :, None] * slope[..., None, :]
    _regular(response, curvature, reads, draw.law is None or draw.law.is_smooth)
    if position == 1 and not draw.averages:
        # The kernel of the input is given: nothing moves there.
        curvature[:, 0] = 0.0
        response[:, 0] = np.where(np.isfinite(response[:, 0]), response[:, 0], 0.0)
    missing = ~exists
    for table in (response, curvature, drift, drift_response):
        table[:, missing] = 0.0
    own = (response, curvature, drift, drift_response)
    return Site(draw.law, draw.averages, raw, reads, weights, biases, *own, maps)


def _maps(values: Mapping[str, Array], draw: LinearLayer, inputs: int) -> dict[str, Array]:
    """Return the entries of the maps in front of a draw, ``(G, B, D, ...)``."""
    points, _, blocks = values[weight_name(draw.position)].shape
    wanted = shapes(draw.averages)
    sizes = [prod(shape) for shape in wanted.values()]
    flat = np.zeros((points, blocks, inputs, sum(sizes)))
    flat[..., 0] = 0.0 if draw.maps else 1.0
    for number, pair in enumerate(input_pairs(inputs)):
        for place, column in enumerate(pair):
            for k in range(flat.shape[-1]):
                if (name := affine_name(draw.position, place, k)) in values:
                    flat[:, :, column, k] = values[name][:, number]
    parts = np.split(flat, np.cumsum(sizes)[:-1], axis=-1)
    named = zip(wanted.items(), parts, strict=True)
    return {name: part.reshape((*part.shape[:3], *shape)) for (name, shape), part in named}


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


def _regular(response: Array, curvature: Array, reads: Array, smooth: bool) -> None:
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
        response[empty, row] = 0.0
        reads[empty, i, j] = reads[empty, j, i] = 0.0
        left = first * second - reads[..., i, j] ** 2
        parallel = (left <= PARALLEL * first * second) & (not smooth)
        curvature[empty | parallel, row] = 0.0
        kept = response[parallel, row]
        response[parallel, row] = np.where(np.isfinite(kept), kept, 0.0)
