r"""The chain rule at one linear operation: from an activation's averages to collective variables.

What an activation acts on, ``z = slope(s) u + shift(s)``, has covariance ``k_c = slope_p slope_q
V_c`` and mean ``shift_p``; the Gram matrix behind it is a function of these (``T``, ``H``, ``D`` of
`resexpand.theory.one_loop.layers`). Its derivatives by what the operation depends on, the
covariance ``V`` it reads (p entries) and its own averages ``s_jq`` (J times D, input last), follow
by the chain rule, as do those of the averages.

The same tables hold all averages of derivatives of ``F = phi_p phi_q`` up to the fourth: a
derivative by ``k_c`` is half of a second one where both inputs of ``c`` are the same, and one by a
mean is a first. `Moments` returns them, written out for every input.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from resexpand.numbers.one_loop.tables import Site, entries_of, entry_index, entry_pairs

Array = NDArray[np.float64]


def spelled(table: Array, inputs: int) -> Array:
    """Turn the last axis, a derivative by ``k_c``, into two, derivatives by two inputs."""
    index = entry_index(inputs)
    places = np.array([[index[i, j] for j in range(inputs)] for i in range(inputs)])
    return np.asarray(table[..., places] * (1 + np.eye(inputs)))


@dataclass(frozen=True)
class Moments:
    """Averages of derivatives of the features, times the weight variance, ``(G, B, p, D, ...)``."""

    site: Site

    @cached_property
    def first(self) -> Array:
        """``< d_q F >``."""
        return self.site.drift

    @cached_property
    def second(self) -> Array:
        """``< d_q d_s F >``."""
        return spelled(self.site.response, self.site.inputs)

    @cached_property
    def third(self) -> Array:
        """``< d_q d_s d_t F >``."""
        return spelled(self.site.drift_response, self.site.inputs)

    @cached_property
    def fourth(self) -> Array:
        """``< d_q d_s d_t d_v F >``."""
        turned = spelled(self.site.curvature, self.site.inputs)
        return spelled(np.moveaxis(turned, 3, -1), self.site.inputs)


def counts(inputs: int) -> Array:
    """Return how often an entry holds an input, ``(p, D)``."""
    return np.array([[pair.count(q) for q in range(inputs)] for pair in entry_pairs(inputs)], float)


def derivatives(site: Site) -> tuple[Array, Array]:
    """Return first and second derivatives of averages and Gram matrix, ``(G, B, n, m[, m])``.

    Rows: the J D averages, then the p entries of the Gram matrix; columns: the p entries of what is
    read, then the averages.
    """
    inputs, entries, own = site.inputs, site.entries, site.averages * site.inputs
    shape = (*site.weights.shape, site.size, entries + own)
    first, second = np.zeros(shape), np.zeros((*shape, entries + own))
    if not own:
        by = slopes_of(site)
        first[:] = site.response * by[..., None, :]
        second[:] = site.curvature * (by[..., :, None] * by[..., None, :])[..., None, :, :]
        return first, second
    _of_averages(site, first[:, :, :own], second[:, :, :own])
    moved, bent = _of_arguments(site)
    slopes = np.concatenate([site.response, site.drift], axis=-1)
    curved = np.zeros((*site.weights.shape, entries, entries + inputs, entries + inputs))
    curved[..., :entries, :entries] = site.curvature
    curved[..., entries:, :entries] = site.drift_response
    curved[..., :entries, entries:] = site.drift_response.swapaxes(-1, -2)
    curved[..., entries:, entries:] = Moments(site).second
    first[:, :, own:] = slopes @ moved
    second[:, :, own:] = np.einsum(
        "gbeij,gbix,gbjy->gbexy", curved, moved, moved, optimize=True
    ) + np.einsum("gbei,gbixy->gbexy", slopes, bent)
    return first, second


def slopes_of(site: Site) -> Array:
    """Return ``dk_c/dV_c``, ``(G, B, p)``."""
    a, b = np.array(entry_pairs(site.inputs)).T
    slope = site.maps["slope"]
    return np.asarray(slope[..., a] * slope[..., b])


def _of_averages(site: Site, first: Array, second: Array) -> None:
    """Fill in derivatives of the averages; those of an input depend on it alone."""
    inputs, entries, maps = site.inputs, site.entries, site.maps
    index = entry_index(inputs)
    for q in range(inputs):
        variance = index[q, q]
        own = np.arange(site.averages) * inputs + q
        columns = entries + own
        first[:, :, own, variance] = maps["square"][:, :, q]
        first[:, :, own[:, None], columns] = maps["response"][:, :, q]
        second[:, :, own[:, None], columns, variance] = maps["squares"][:, :, q]
        second[:, :, own[:, None], variance, columns] = maps["squares"][:, :, q]
        cube = own[:, None, None], columns[:, None], columns
        second[:, :, cube[0], cube[1], cube[2]] = maps["curvature"][:, :, q]


def _of_arguments(site: Site) -> tuple[Array, Array]:
    """Return derivatives of ``k`` (p) and of the shifts (D) by what is read and the averages."""
    inputs, entries, maps = site.inputs, site.entries, site.maps
    size = entries + site.averages * inputs
    moved = np.zeros((*site.weights.shape, entries + inputs, size))
    bent = np.zeros((*moved.shape, size))
    k, by, count = entries_of(site.reads), slopes_of(site), counts(inputs)
    each = np.arange(entries)
    moved[:, :, each, each] = by
    # Logarithmic derivatives of the slopes: d k = k L, d^2 k = k (L L + L').
    rate = np.einsum("cq,gbqj->gbcjq", count, maps["ratio"])
    rate = rate.reshape((*k.shape, size - entries))
    square = maps["ratio"][..., :, None] * maps["ratio"][..., None, :]
    change = np.einsum("cq,gbqij,qr->gbciqjr", count, maps["ratios"] - square, np.eye(inputs))
    change = change.reshape((*rate.shape, rate.shape[-1]))
    moved[:, :, :entries, entries:] = k[..., None] * rate
    bent[:, :, each, each, entries:] = by[..., None] * rate
    bent[:, :, each, entries:, each] = np.moveaxis(by[..., None] * rate, 2, 0)
    rates = rate[..., :, None] * rate[..., None, :]
    bent[:, :, :entries, entries:, entries:] = k[..., None, None] * (rates + change)
    for q in range(inputs):
        own = entries + np.arange(site.averages) * inputs + q
        moved[:, :, entries + q, own] = maps["shift"][:, :, q]
        bent[:, :, entries + q, own[:, None], own] = maps["shifts"][:, :, q]
    return moved, bent
