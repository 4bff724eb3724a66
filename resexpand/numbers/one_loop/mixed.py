r"""Covariances of features: of one operation at two layers, or of two that read one stream.

Blocks of different shapes, and a read-out of its own, act on one stream by different functions.
Of a linear one the features are products ``u_i u_j``, and by Stein's identity

    Cov(F(z), u_k u_l) = sum_qs < d_q d_s F > X_qk X_sl,

derivatives that the tables hold already. One input, and its tangents, have averages of any two
functions that are both smooth or both linear on either side of zero.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from resexpand.errors import UnsupportedError
from resexpand.numbers.one_loop.chain import spelled
from resexpand.numbers.one_loop.columns import Columns
from resexpand.numbers.one_loop.four_point import Cumulants, feature_cumulants
from resexpand.numbers.one_loop.tables import Site, entry_pairs
from resexpand.numbers.one_loop.two_point import closed_form

Array = NDArray[np.float64]
Integers = NDArray[np.intp]

KNOWN = 1e-11
"""Relative error of sums over a lattice up to which they serve one input; panels take over."""


def _of_inputs(
    site: Site, late: Array, early: Array, cross: Array, *, one_layer: bool
) -> Cumulants:
    """Return cumulants of inputs: of one of a smooth activation from sums over a lattice."""
    law = site.law
    if late.shape[-1] == 1 and law is not None and law.is_smooth and closed_form(law) is None:
        try:
            found = Columns(1).cumulants((law, law), late, early, cross, one_layer=one_layer)
        except UnsupportedError:
            # Factors in front of the activation that differ between layers: no such sums.
            found = None
        if found is not None and found.error <= KNOWN:
            return found
    return feature_cumulants(law, late, early, cross, one_layer=one_layer)


def between(site: Site, other: Site, later: Integers, earlier: Integers) -> Cumulants:
    """Return cumulants of features of one site with those of another one at earlier layers.

    Parameters
    ----------
    site, other : Site
        Sites that read the stream.
    later, earlier : ndarray of int, shape (n,)
        Blocks.

    Returns
    -------
    Cumulants
        Of shape ``(G, n, ...)``, times the variances of the weights.
    """
    if site.cumulants is None and site.law != other.law and None in (site.law, other.law):
        return _with_products(site, other, later, earlier)
    found = cumulants(site, other, later, earlier)
    weights = _factors(site, later)[..., :, None] * _factors(other, earlier)[..., None, :]
    return Cumulants(
        weights * found.covariance, weights[..., :, None, :] * found.slope, found.error
    )


def cumulants(
    site: Site, other: Site, later: Integers, earlier: Integers, *, one_layer: bool = False
) -> Cumulants:
    """Return the same without these variances; pairs of one layer have no slopes."""
    give: Callable[..., Cumulants] = partial(_of_inputs, site)
    if site.cumulants is not None or site.law != other.law:
        give = partial(site.cumulants or Columns(1).cumulants, (site.law, other.law))
    given = site.reads[:, later], other.reads[:, earlier], _cross(site, other, later, earlier)
    shape = given[0].shape[:2]
    found = give(*(a.reshape((-1, *a.shape[2:])) for a in given), one_layer=one_layer)
    covariance, slope = (a.reshape((*shape, *a.shape[1:])) for a in (found.covariance, found.slope))
    if site.multiples is None or other.multiples is None:
        return Cumulants(covariance, slope, found.error)
    # In some blocks columns are multiples of the first.
    late = site.multiples[:, later, :, None]
    old = late[..., :1, :] != 0
    covariance = np.where(old, late * covariance[..., :1, :], covariance)
    alone = np.zeros_like(slope)
    alone[..., 0, :] = late * slope[..., 0, :1, :]
    slope = np.where(old[..., None], alone, slope)
    early = other.multiples[:, earlier, None]
    old = early[..., :1] != 0
    covariance = np.where(old, early * covariance[..., :1], covariance)
    slope = np.where(old[..., None], early[..., None, :] * slope[..., :1], slope)
    return Cumulants(covariance, slope, found.error)


def _cross(site: Site, other: Site, later: Integers, earlier: Integers) -> Array:
    """Return covariances of what both act on, ``(G, n, D, D)``.

    In this order it is the covariance of one layer, to the last bit, where both are the same.
    """
    cross = site.raw[:, earlier] * site.maps["slope"][:, later, :, None]
    return np.asarray(cross * other.maps["slope"][:, earlier, None, :])


def _factors(site: Site, blocks: Integers) -> Array:
    """Return the factors of features, ``(G, n, p)``."""
    factor = site.weights[..., None] * (1.0 if site.masks is None else site.masks.mean)
    return np.broadcast_to(factor, (*site.weights.shape, site.entries))[:, blocks]


def _with_products(site: Site, other: Site, later: Integers, earlier: Integers) -> Cumulants:
    """Return cumulants where one of two sites reads products of inputs."""
    cross = _cross(site, other, later, earlier)
    inputs, first, second = site.inputs, *np.array(entry_pairs(site.inputs)).T
    if other.law is None:
        seen = [spelled(table[:, later], inputs) for table in (site.response, site.curvature)]
        turned = cross
        factor = _factors(other, earlier)
    else:
        seen = [spelled(other.response[:, earlier], inputs)]
        turned = cross.swapaxes(-1, -2)
        factor = _factors(site, later)
    parts = [
        np.einsum("gn...qs,gnqr,gnsr->gn...r", part, turned[..., first], turned[..., second])
        * factor.reshape((*factor.shape[:2], *(1,) * (part.ndim - 4), factor.shape[-1]))
        for part in seen
    ]
    if other.law is None:
        return Cumulants(parts[0], parts[1], 0.0)
    covariance = parts[0].swapaxes(-1, -2)
    return Cumulants(covariance, np.zeros((*covariance.shape, covariance.shape[-1])), 0.0)
