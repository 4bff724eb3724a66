"""Tables of the one-loop algorithm with tangents of the input as further columns."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from resexpand.gaussian.increments import Key
from resexpand.numbers.one_loop.atoms import atoms
from resexpand.numbers.one_loop.columns import Columns
from resexpand.numbers.one_loop.tables import Site, Tables, entries_of, entry_index

Array = NDArray[np.float64]


def with_tangents(
    tables: Tables,
    columns: Columns,
    start: Array,
    layers: NDArray[np.intp],
    factor: Array | None = None,
) -> Tables:
    """Return the tables of one input and its tangents.

    Parameters
    ----------
    tables : Tables
        Of one input.
    columns : Columns
        The columns.
    start : ndarray, shape (G, D, D)
        Covariances of the tangents at the layer where they begin, with the input and among each
        other; the entry of the input with itself is not read.
    layers : ndarray of int, shape (G, D)
        Layer where each column begins, 0 for the input; before it a tangent is zero.
    factor : ndarray, shape (G,), optional
        Of one tangent that is this multiple of the input up to the layer where it begins, in place
        of `start`.
    """
    points, blocks = tables.scales.shape
    index = entry_index(columns.count)
    square = np.array([[index[i, j] for j in range(columns.count)] for i in range(columns.count)])
    begins = np.maximum(layers[:, :, None], layers[:, None, :])
    shape = (points, blocks, columns.count, columns.count)
    known = [AtLayers(site) for site in tables.sites]
    multiple, old = _multiples(columns, layers, factor, blocks)
    raw = [np.zeros(shape) for _ in tables.sites]
    for site, own in zip(tables.sites, raw, strict=True):
        own[..., 0, 0] = site.raw[..., 0, 0]
    gram, probed = np.zeros(shape), np.zeros(shape)
    stream = np.zeros((points, *shape[2:]))
    for block in range(blocks):
        variance = tables.stream[:, block, :1, :1]
        if factor is None:
            stream = np.where(begins == block, start, stream)
        else:
            stream = np.where(begins >= block, multiple * variance, stream)
        stream[:, 0, 0] = variance[:, 0, 0]
        argument = stream
        for place, site in enumerate(tables.sites):
            if site.reads_stream:
                raw[place][:, block] = argument = stream
            if not site.exists[block]:
                continue
            raw[place][:, block] = argument
            slope = site.maps["slope"][:, block, :, None] ** 2
            mean = columns.means(known[place].at(block), slope * argument)
            argument = site.weights[:, block, None, None] * mean[:, square]
            for column in range(columns.moved if columns.trained else 1):
                argument[:, column, column] += site.biases[:, block]
            if factor is not None:
                alike = multiple * argument[:, :1, :1]
                argument = np.where(old[:, block, None, None], alike, argument)
            if place == tables.last[block]:
                gram[:, block] = argument
            if place == tables.probe:
                probed[:, block] = argument
        stream = stream + tables.scales[:, block, None, None] * gram[:, block]
    parts = zip(tables.sites, raw, known, strict=True)
    sites = tuple(_site(*part, columns) for part in parts)
    if factor is not None:
        entries = np.where(old[..., None], entries_of(multiple)[:, None], 0.0)
        sites = tuple(_carried(site, entries) for site in sites)
    return replace(tables, sites=sites, gram=gram, probed=probed)


def _multiples(
    columns: Columns, layers: NDArray[np.intp], factor: Array | None, blocks: int
) -> tuple[Array, NDArray[np.bool_]]:
    """Return products of the factors of columns ``(G, D, D)``, and where they hold ``(G, B)``."""
    if factor is None:
        return np.zeros(0), np.zeros((layers.shape[0], blocks), dtype=bool)
    vector = np.stack([np.ones_like(factor), factor], axis=-1)
    return vector[:, :, None] * vector[:, None, :], np.arange(blocks) < layers[:, 1:]


def _carried(site: Site, entries: Array) -> Site:
    """Return a site whose derivatives are those of multiples where `entries` are not zero."""
    old = entries[..., :1] != 0
    response, curvature = np.zeros_like(site.response), np.zeros_like(site.curvature)
    response[..., 0] = entries * site.response[..., :1, 0]
    curvature[..., 0, 0] = entries * site.curvature[..., :1, 0, 0]
    return replace(
        site,
        response=np.where(old[..., None], response, site.response),
        curvature=np.where(old[..., None, None], curvature, site.curvature),
        multiples=entries,
    )


class AtLayers:
    """Means of atoms at all layers of a site, each computed once."""

    def __init__(self, site: Site) -> None:
        self._variances = site.reads[..., 0, 0]
        flat = self._variances.ravel()
        self._known = atoms((site.law, site.law), flat, flat, flat)
        self._means: dict[Key, Array] = {}
        self._block: int | slice = slice(None)

    def at(self, block: int | slice) -> AtLayers:
        """Return the means at one layer, or at all of them."""
        found = copy(self)
        found._block = block
        return found

    def mean(self, key: Key, variances: Array, side: int = 0) -> Array:
        """Return the mean of an atom; the variances are those of the site."""
        if key not in self._means:
            found = self._known.mean(key, self._variances.ravel())
            self._means[key] = found.reshape(self._variances.shape)
        return np.ravel(self._means[key][:, self._block])


def _site(site: Site, raw: Array, known: AtLayers, columns: Columns) -> Site:
    """Return an operation that reads columns; `raw` in front of its maps."""
    reads = raw * site.maps["slope"][..., None] ** 2
    points, blocks = site.weights.shape
    flat = reads.reshape((points * blocks, *reads.shape[2:]))
    slopes = columns.slopes(known.at(slice(None)), flat)
    response, curvature = (
        part.reshape((points, blocks, *part.shape[1:]))
        * site.weights.reshape((points, blocks, *(1,) * (part.ndim - 1)))
        for part in slopes
    )
    return replace(
        site,
        maps=site.maps | {"slope": np.repeat(site.maps["slope"], columns.count, axis=-1)},
        raw=raw,
        reads=reads,
        response=response,
        curvature=curvature,
        cumulants=columns.cumulants,
    )
