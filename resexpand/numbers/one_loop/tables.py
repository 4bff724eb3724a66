"""From the routine of the layers to the arrays of the one-loop algorithm.

The entries of a Gram matrix of D inputs are numbered like its upper triangle, row by row. Averages
of entry ``(i, j)`` depend on the covariances ``(i, i), (i, j), (j, j)`` alone, so the routine runs
on all pairs of inputs and its results are put together here; a single input is a pair of one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.activations.activation_law import ActivationLaw

Array = NDArray[np.float64]
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
