r"""The sources of the order 1/N: how what is averaged fluctuates together.

Every collective variable is an average of a function ``f_a`` of one neuron: a feature ``sigma_a^2
F``, or what a normalisation averages. ``S_ab = Cov(f_a, f_b)`` couples the variables that depend on
the stream, in all layers: the stream of a later layer contains that of every earlier one. Behind
the first draw of a block fresh normals are read, and only variables of one operation share them.
``P_a,b,k = Cov(d_b f_a, f_k)``, ``k`` before ``a``, is the conditioning: what an earlier average
found out about the neurons, and a later function meets; ``d_b`` is the derivative by what ``f_a``
depends on, with Price's theorem for the covariance it reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from resexpand.numbers.one_loop.averaged import Averaged
from resexpand.numbers.one_loop.chain import slopes_of
from resexpand.numbers.one_loop.mixed import between, cumulants
from resexpand.numbers.one_loop.tables import Masks, Site, Tables, entries_of, rounding

Array = NDArray[np.float64]
Integers = NDArray[np.intp]


@dataclass(frozen=True)
class Sources:
    """Cumulants of the averaged functions.

    Attributes
    ----------
    covariance : ndarray, shape (G, B, n, B, n)
        ``S``.
    conditioning : dict of ndarray, shape (G, B, n_s, m_s, B, n_t)
        ``P`` of sites s, t: block, variable, what it depends on; earlier block, variable.
    error : float
        Relative error of the averages.
    """

    covariance: Array
    conditioning: dict[tuple[int, int], Array]
    error: float


def sources(tables: Tables) -> Sources:
    """Compute the sources of a network."""
    points, blocks = tables.gram.shape[:2]
    covariance = np.zeros((points, blocks, tables.size, blocks, tables.size))
    conditioning: dict[tuple[int, int], Array] = {}
    error = 0.0
    for place, site in enumerate(tables.sites):
        own = tables.variables(place)
        found, moved, wrong = _of_site(site, tables.gram_of(place))
        covariance[:, :, own, :, own] = found
        conditioning[place, place] = moved
        error = max(error, wrong)
        if site.law is not None and not site.law.is_smooth and site.cumulants is None:
            error = max(error, rounding(site.reads))
    streams = [place for place, site in enumerate(tables.sites) if site.reads_stream]
    for late, early in permutations(streams, 2):
        found, moved, wrong = _of_two(tables.sites[late], tables.sites[early], same=late > early)
        own, other = tables.variables(late), tables.variables(early)
        covariance[:, :, own, :, other] += found
        covariance[:, :, other, :, own] += found.transpose(0, 3, 4, 1, 2)
        conditioning[late, early] = moved
        error = max(error, wrong)
    return Sources(covariance, conditioning, error)


def _of_two(site: Site, other: Site, *, same: bool) -> tuple[Array, Array, float]:
    """Return ``S`` and ``P`` of one site with another one at earlier layers, and at the `same`."""
    points, blocks = site.weights.shape
    stands = np.outer(site.exists, other.exists)
    later, earlier = np.nonzero(np.tril(stands, 0 if same else -1))
    size, entries = site.size, other.size
    covariance = np.zeros((points, blocks, size, blocks, entries))
    conditioning = np.zeros((points, blocks, size, size, blocks, entries))
    if not later.size:
        return covariance, conditioning, 0.0
    found = between(site, other, later, earlier)
    covariance[:, later, :, earlier] = found.covariance.swapaxes(0, 1)
    slope = found.slope * slopes_of(site)[:, later, None, :, None]
    conditioning[:, later, :, :, earlier] = slope.swapaxes(0, 1)
    return covariance, conditioning, found.error


def _of_site(site: Site, gram: Array) -> tuple[Array, Array, float]:
    """Return ``S`` and ``P`` of one site and their error, across layers if it reads the stream."""
    points, blocks = site.weights.shape
    each = np.arange(blocks)
    stands = np.outer(site.exists, site.exists) & site.reads_stream
    more = np.nonzero(np.tril(stands, -1))
    # Each layer with itself comes first.
    parts = cumulants(site, site, each, each, one_layer=True), cumulants(site, site, *more)
    found, slopes = (
        np.concatenate([getattr(part, name) for part in parts], axis=1)
        for name in ("covariance", "slope")
    )
    later, earlier = (np.concatenate([each, part]) for part in more)
    weights = site.between(later, earlier)
    size, own = site.size, site.averages * site.inputs
    reads = site.entries + own
    shared = np.zeros((points, later.size, size, size))
    moved = np.zeros((points, later.size, size, reads, size))
    shared[..., own:, own:] = weights * found
    if site.masks is not None:
        shared[:, :blocks, own:, own:] += _of_masks(site, site.masks, gram, parts[0].covariance)
    # Derivatives by the covariance behind the maps, times that of this one by what is read.
    slope = slopes * slopes_of(site)[:, later, None, :, None]
    moved[:, :, own:, : site.entries, own:] = weights[..., :, None, :] * slope
    error = max(part.error for part in parts)
    if own:
        averaged = Averaged(site, later, earlier)
        error = max(error, averaged.add(shared, moved, found))
    covariance = np.zeros((points, blocks, size, blocks, size))
    # Axes of index arrays that stand apart come first.
    covariance[:, later, :, earlier] = shared.swapaxes(0, 1)
    covariance[:, earlier, :, later] = shared.swapaxes(0, 1).swapaxes(-1, -2)
    conditioning = np.zeros((points, blocks, size, reads, blocks, size))
    conditioning[:, later, :, :, earlier] = moved.swapaxes(0, 1)
    return covariance, conditioning, error


def _of_masks(site: Site, masks: Masks, gram: Array, covariance: Array) -> Array:
    """Return what masks add to ``S`` within a layer, whose features share them."""
    means = entries_of(gram) - site.biases[..., None]
    factor = site.weights[..., None] * masks.mean
    means = np.divide(means, factor, out=np.zeros_like(means), where=factor != 0)
    products = covariance + means[..., :, None] * means[..., None, :]
    own = masks.square - masks.mean[..., :, None] * masks.mean[..., None, :]
    return np.asarray(site.weights[..., None, None] ** 2 * own * products)
