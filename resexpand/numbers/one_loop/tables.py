"""From the routine of the layers to the arrays of the one-loop algorithm.

The entries of a Gram matrix of D inputs are numbered like its upper triangle, row by row. Averages
of entry ``(i, j)`` depend on the covariances ``(i, i), (i, j), (j, j)`` alone, so the routine runs
on all pairs of inputs and its results are put together here; a single input is a pair of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations, combinations_with_replacement, product
from math import prod
from typing import Any

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
    mask_name,
    reads_name,
    response_name,
    weight_name,
)
from resexpand.theory.one_loop.masks import MOST, together
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


def entries_of(matrix: Array) -> Array:
    """Return the entries of symmetric matrices."""
    a, b = np.array(entry_pairs(matrix.shape[-1])).T
    return np.asarray(matrix[..., a, b])


def input_pairs(inputs: int) -> list[tuple[int, ...]]:
    """Return all pairs of different inputs; a single input is alone."""
    return list(combinations(range(inputs), 2)) or [(0,)]


@dataclass(frozen=True)
class Masks:
    """Averages of masks of the inputs of an entry, and of two entries.

    Attributes
    ----------
    mean : ndarray, shape (G, B, p)
    square : ndarray, shape (G, B, p, p)
    """

    mean: Array
    square: Array


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
    cumulants : callable, optional
        Cumulants of the features of its columns, where these are more than inputs
        (`resexpand.numbers.one_loop.columns`).
    masks : Masks, optional
        Averages of the masks behind the activation.
    reads_stream : bool
        Whether it reads the stream, and not the site before it.
    exists : tuple of bool
        In which blocks it stands.
    multiples : ndarray, (p,), optional
        Factors of entries in blocks where every column is a multiple of the first; 0 elsewhere.
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
    cumulants: Callable[..., Any] | None = None
    masks: Masks | None = None
    reads_stream: bool = True
    exists: tuple[bool, ...] = ()
    multiples: Array | None = None

    def between(self, later: NDArray[np.intp], earlier: NDArray[np.intp]) -> Array:
        """Return factors of covariances of features at pairs of layers, ``(G, pairs, p, p)``."""
        factor = self.weights[..., None] * (1.0 if self.masks is None else self.masks.mean)
        return np.asarray(factor[:, later, :, None] * factor[:, earlier, None, :])

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
    is_normalised : bool
        Whether the stream is normalised behind every block; then `stream` is what it would be
        without, and the first site holds the normalisation.
    probe : int
        The site that a read-out behind every layer is, up to its variances; the last one if nothing
        reads it.
    probed : ndarray, shape (G, B, D, D), optional
        C of that site behind every layer, where it is its own.
    """

    sites: tuple[Site, ...]
    gram: Array
    scales: Array
    last: NDArray[np.intp]
    is_normalised: bool = False
    probe: int = 0
    probed: Array | None = None

    @property
    def stream(self) -> Array:
        """Covariance kernel of the stream that each block reads, ``(G, B, D, D)``."""
        return self.sites[0].raw

    @property
    def kernel(self) -> Array:
        """Covariance kernel of the stream as the network has it, ``(G, B, D, D)``."""
        return self.sites[0].reads if self.is_normalised else self.stream

    @property
    def read_outs(self) -> NDArray[np.intp]:
        """The site of each block that stands for a read-out behind the layer it reads."""
        return np.full_like(self.last, self.probe)

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

    def gram_of(self, place: int) -> Array:
        """Return C of a site, ``(G, B, D, D)``: what the draw behind it reads, if there is one."""
        if place == self.probe and self.probed is not None:
            return self.probed
        after = self.sites[min(place + 1, len(self.sites) - 1)]
        if after.reads_stream and place < len(self.sites) - 1:
            return self.gram
        return np.where((self.last == place)[None, :, None, None], self.gram, after.raw)

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
        first = 0 if self.sites[place].reads_stream else p + self.grams(place - 1).start
        own = self.variables(place)
        averages = np.arange(own.start, self.grams(place).start) + p
        return np.concatenate([np.arange(p) + first, averages])


def gather(values: Mapping[str, Array], process: Process, inputs: int) -> Tables:
    """Put the results of the routine together.

    Parameters
    ----------
    values : mapping
        Of the routine: arrays ``(G, pairs, B)``, in the order of `input_pairs`; what the last draws
        of all blocks give as ``reads`` of place 0.
    process : Process
        The draws.
    inputs : int
        Number of inputs.
    """
    scales = values[SCALE][:, 0]
    stands = _standing(process, scales.shape[1])
    sites = [_site(values, *pair, inputs) for pair in zip(process.draws, stands, strict=True)]
    gram = _square(_table(values, inputs, partial(reads_name, 0), "e"), inputs)
    probe = 0 if process.probe is None else len(sites) - 1
    blocks = stands[: probe or None]
    last = len(blocks) - 1 - np.argmax(blocks[::-1], axis=0)
    if probe and process.read_out is not None:
        last[-1] = probe
    return Tables(tuple(sites), gram, scales, last, process.post is not None, probe)


def _standing(process: Process, blocks: int) -> NDArray[np.bool_]:
    """Return which draw stands in which block, ``(draws, B)``."""
    shapes = np.array(process.shapes or (0,) * blocks)
    stands = np.array([(shapes == draw.shape) | (draw.position == 0) for draw in process.draws])
    if process.read_out is not None:
        only = 0 if process.probe else 1
        stands[:, -1] = [draw.position == only for draw in process.draws]
    return stands


def _site(
    values: Mapping[str, Array], draw: LinearLayer, exists: NDArray[np.bool_], inputs: int
) -> Site:
    """Return one linear operation; `exists` says in which blocks it does."""
    position = draw.number

    def table(name: Callable[..., str], axes: str) -> Array:
        return _table(values, inputs, partial(name, position), axes)

    weights, biases = (values[name(position)][:, 0] * exists for name in (weight_name, bias_name))
    raw, maps = _square(table(reads_name, "e"), inputs), _maps(values, draw, inputs)
    response, curvature = table(response_name, "ee"), table(curvature_name, "eee")
    slope = maps["slope"]
    reads = raw * slope[..., :, None] * slope[..., None, :]
    _regular(response, curvature, reads, draw.law is None or draw.law.is_smooth)
    if draw.reads_stream and not draw.averages:
        # The kernel of the input is given: nothing moves there.
        curvature[:, 0] = 0.0
        response[:, 0] = np.where(np.isfinite(response[:, 0]), response[:, 0], 0.0)
    own = (response, curvature, table(drift_name, "eq"), table(drift_response_name, "eqe"))
    for array in own:
        array[:, ~exists] = 0.0
    masks = _masks(values, draw, inputs)
    given = (draw.law, draw.averages, raw, reads, weights, biases, *own, maps)
    return Site(*given, None, masks, draw.reads_stream, tuple(map(bool, exists)))


def _masks(values: Mapping[str, Array], draw: LinearLayer, inputs: int) -> Masks | None:
    """Return the averages of the masks in front of a draw."""
    if draw.mask is None:
        return None
    powers = [values[mask_name(draw.number, k)][:, 0] for k in range(1, MOST + 1)]
    shared, pairs = draw.mask.op.noise[0].shared, entry_pairs(inputs)

    def of(*entries: tuple[int, int]) -> Array:
        return np.asarray(together([i for e in entries for i in e], powers, shared=shared))

    mean = np.stack([of(a) for a in pairs], axis=-1)
    square = np.stack([np.stack([of(a, b) for b in pairs], axis=-1) for a in pairs], axis=-2)
    return Masks(mean, square)


def _table(values: Mapping[str, Array], inputs: int, name: Callable[..., str], axes: str) -> Array:
    """Return an array ``(G, B, ...)`` with axes of entries (``e``) and of inputs (``q``).

    `name` gives the name of an element within a pair; what the routine lacks is zero.
    """
    index = entry_index(inputs)
    first = values[SCALE]
    sizes = {"e": len(entry_pairs(inputs)), "q": inputs}
    found = np.zeros((first.shape[0], first.shape[2], *(sizes[axis] for axis in axes)))
    for number, pair in enumerate(input_pairs(inputs)):
        entries = [index[two] for two in combinations_with_replacement(pair, 2)]
        places = {"e": entries, "q": list(pair)}
        for at in product(*(enumerate(places[axis]) for axis in axes)):
            local, place = zip(*at, strict=True)
            if (key := name(*local)) in values:
                found[:, :, *place] = values[key][:, number]
    return found


def _square(entries: Array, inputs: int) -> Array:
    """Return symmetric matrices from their entries."""
    index = entry_index(inputs)
    return entries[..., [[index[i, j] for j in range(inputs)] for i in range(inputs)]]


def _maps(values: Mapping[str, Array], draw: LinearLayer, inputs: int) -> dict[str, Array]:
    """Return the entries of the maps in front of a draw, ``(G, B, D, ...)``."""
    wanted = shapes(draw.averages)
    sizes = [prod(shape) for shape in wanted.values()]
    flat = np.stack(
        [
            _table(values, inputs, lambda q, k=k: affine_name(draw.number, q, k), "q")
            for k in range(sum(sizes))
        ],
        axis=-1,
    )
    if not draw.maps:
        flat[..., 0] = 1.0
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
