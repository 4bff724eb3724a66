r"""The order 1/N of one batch of points: sources carried through the blocks.

Variables ``X_a`` are averages ``(1/N) sum_i f_a(omega_i; X_<a)`` over neurons that are independent
given what was computed before. With ``F = E f`` and ``R = (1 - F')^{-1}``,

    N Cov(X) = R S R^T,    N E dX_a = R [ F''_a : (R S R^T) / 2 + sum_{b,k} R_bk P_a,b,k ],

tadpole and conditioning (`resexpand.numbers.one_loop.sources`). Weights of another law add
``F'' : (M^4 Q)/6`` to the bracket, ``Q`` the fourth cumulants of the draws.

The kernel of a sampled network is ``G^l = h^l.h^l/N``: beside ``K`` it fluctuates because there
are N neurons, ``N Cov(G^l, G^m) = B S B^T + B S_UG + (B S_UG)^T + W``, with ``W_ij,kl = K_ik K_jl +
K_il K_jk`` of the earlier layer and ``S_UG = T W``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resexpand.numbers.one_loop.chain import derivatives
from resexpand.numbers.one_loop.feedback import additions, feedback
from resexpand.numbers.one_loop.propagation import Covariances, Responses, covariances
from resexpand.numbers.one_loop.sources import Sources, sources
from resexpand.numbers.one_loop.tables import Tables, entry_pairs
from resexpand.numbers.one_loop.weights import cumulants_read, fourth_cumulants

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Expansion:
    """Results of a batch of points, and the relative error of their averages.

    Attributes
    ----------
    arrays : dict of ndarray
        Means ``(G, B, p)`` and covariances ``(G, B, p, B, p)`` by name.
    error : float
        Relative error of the averages.
    """

    arrays: dict[str, Array]
    error: float


def expansion(
    tables: Tables,
    excess: float = 0.0,
    places: NDArray[np.intp] | None = None,
    *,
    means: bool = True,
    streams: bool = True,
    known: Sources | None = None,
) -> Expansion:
    """Compute means and covariances.

    Parameters
    ----------
    tables : Tables
        Of the network.
    excess : float
        Excess kurtosis of the weights.
    places : ndarray of int, shape (B,), optional
        The site of each block whose Gram matrix is called C; by default the last.
    means : bool
        Whether means are computed; if not, ``CG_cov`` is returned, ``N Cov(C, G)``.
    streams : bool
        Whether covariances of the streams are computed, and not those of C alone.
    known : Sources, optional
        The sources, where they follow from others.
    """
    found = sources(tables) if known is None else known
    direct, second = _derivatives(tables)
    felt, curved = feedback(tables) if tables.is_normalised else (additions(tables), None)
    responses = Responses.of(direct, tables.scales, felt)
    spread = covariances(responses, found.covariance)
    named = _grams(tables, tables.last if places is None else places)
    each = np.arange(named.shape[0])[:, None]
    arrays = {"C_cov": spread.draws[:, each, named][:, :, :, each, named]}
    if streams:
        arrays |= _spreads(tables, direct, responses, spread, named)
    if not means:
        return Expansion(arrays, found.error)
    arrays.pop("CG_cov", None)
    shares = {
        "C_mean_tadpole": _bent(second, spread.local),
        "C_mean_conditioning": _conditioning(tables, responses, found),
    }
    if excess:
        fourth = fourth_cumulants(tables, found, excess)
        # Cov(K, K') of a Gaussian mixture is a third of the fourth cumulant that it makes.
        shares["C_mean_weights"] = _bent(second, cumulants_read(tables, fourth) / 3)
        arrays["weights_cov"] = fourth[tables.last[-1]][:, -1:, :, None]
    stacked = np.stack(list(shares.values()), axis=-1)
    added = None
    if curved is not None:
        # It is a tadpole, the first of the shares.
        own = spread.local[..., tables.entries :, tables.entries :]
        added = np.zeros((*curved.shape[:3], stacked.shape[-1]))
        added[..., 0] = _bent(curved, own)
    changes, kernels = responses.apply(stacked, added)
    last = changes[:, np.arange(changes.shape[1])[:, None], named]
    shifts = {"K_mean": kernels.sum(axis=-1), "C_mean": last.sum(axis=-1)}
    shifts |= {name: last[..., k] for k, name in enumerate(shares)}
    return Expansion(shifts | arrays, found.error)


def _derivatives(tables: Tables) -> tuple[Array, Array]:
    """Return derivatives of the variables of a block by the stream and the block."""
    n, width = tables.size, tables.entries + tables.size
    direct = np.zeros((*tables.scales.shape, n, width))
    second = np.zeros((*direct.shape, width))
    for place, site in enumerate(tables.sites):
        own, read = np.arange(n)[tables.variables(place)], tables.read(place)
        first, bent = derivatives(site)
        direct[:, :, own[:, None], read] = first
        second[:, :, own[:, None, None], read[:, None], read] = bent
    return direct, second


def _grams(tables: Tables, places: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return where the Gram matrix of a site stands in each block, ``(B, p)``."""
    starts = np.array([tables.grams(place).start for place in range(len(tables.sites))])
    return np.asarray(starts[places][:, None] + np.arange(tables.entries))


def _bent(second: Array, spread: Array) -> Array:
    """Return what the curvatures make of a covariance of what is read, ``(G, B, n)``."""
    bent: Array = np.einsum("gbpqr,gbqr->gbp", second, spread) / 2
    return bent


def _conditioning(tables: Tables, responses: Responses, found: Sources) -> Array:
    """Return what neurons make of what they know already, ``(G, B, n)``."""
    changes, streams = responses.identity()
    points, blocks, n = changes.shape[:3]
    both = np.concatenate([streams, changes], axis=2)
    both = both.reshape((points, blocks, both.shape[2], blocks, n))
    total = np.zeros((points, blocks, n))
    for (late, early), moved in found.conditioning.items():
        local = both[:, :, tables.read(late), :, tables.variables(early)]
        total[:, :, tables.variables(late)] += np.einsum(
            "gbpqkr,gbqkr->gbp", moved, local, optimize=True
        )
    return total


def _spreads(
    tables: Tables,
    direct: Array,
    responses: Responses,
    spread: Covariances,
    named: NDArray[np.intp],
) -> dict[str, Array]:
    """Return covariances of K and G, and of C with G, ``(G, B, p, B, p)``."""
    kernels, wick = spread.streams, _wick(tables)
    each = np.arange(named.shape[0])[:, None]
    felt = np.einsum("glpq,glqmr->glpmr", direct[..., : tables.entries], wick)
    changed, moved = responses.apply(felt.reshape((*felt.shape[:3], felt.shape[3] * felt.shape[4])))
    mixed = moved.reshape(kernels.shape)
    sampled = kernels + mixed + mixed.transpose(0, 3, 4, 1, 2) + wick
    both = spread.mixed + changed.reshape(spread.mixed.shape)
    met = both[:, each, named]
    return {"K_cov": kernels, "G_cov": sampled, "CG_cov": met}


def _wick(tables: Tables) -> Array:
    """Return the covariance of ``h_i h_j`` of a neuron at two layers, ``(G, B, p, B, p)``."""
    points, blocks = tables.scales.shape
    earlier = np.minimum(np.arange(blocks)[:, None], np.arange(blocks)[None, :])
    c = tables.stream[:, earlier]
    pairs = entry_pairs(tables.inputs)
    wick = np.empty((points, blocks, len(pairs), blocks, len(pairs)))
    for a, (i, j) in enumerate(pairs):
        for b, (k, m) in enumerate(pairs):
            wick[:, :, a, :, b] = c[..., i, k] * c[..., j, m] + c[..., i, m] * c[..., j, k]
    return wick
