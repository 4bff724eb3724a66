r"""The correlation at which two draws of the masks of one input settle: ``c = B_ab(c) / B_aa``.

B is what a block adds to the kernel. Where the ratio does not depend on the size of the kernel, as
for homogeneous activations without bias and for normalised branches, every block moves the
correlation ``K_ab / K_aa`` towards the ratio, with skip connections or without; it rests at the
fixed point. For relu, ``c = p kappa(c)`` with
``kappa(c) = (sqrt(1 - c^2) + (pi - arccos c) c)/pi``.

Source of the equation for plain networks: Schoenholz, Gilmer, Ganguli & Sohl-Dickstein,
arXiv:1611.01232.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from resexpand.conventions import PAIR, K
from resexpand.errors import UnsupportedError
from resexpand.expressions.numeric import value_at
from resexpand.gaussian.expectation import GaussianExpectation
from resexpand.network.positions import require_no_coupling
from resexpand.network.requirements import require_network
from resexpand.network.resnet import ResNet
from resexpand.network.values import read_values, value_of
from resexpand.theory.closure import close_elementary
from resexpand.theory.kernel import conditional_kernel
from resexpand.theory.noise import averaged

PROBES = ((0.3, 0.5), (0.3, 3.0))
"""Correlation and size of the kernel where its independence of the size is checked."""
ROUNDING = 1e-12
HALVINGS = 60


def mask_correlation(net: ResNet, **hyperparameters: object) -> float:
    """Return the correlation of two draws of the masks at which blocks leave it.

    Parameters
    ----------
    net : ResNet
        A network of one kind of blocks, each with masks.
    **hyperparameters : float
        One value per symbol of its branch.

    Returns
    -------
    float
        The largest fixed point in [0, 1]; smaller than one as soon as neurons are masked.

    Raises
    ------
    UnsupportedError
        If what a block does to the correlation depends on the size of the kernel, so that there is
        no fixed point for all layers, or an average has no closed form.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Dropout, Linear, ResNet, mask_correlation
    >>> net = ResNet(Branch(Activation("relu"), Dropout(0.9), Linear(2, 0)), scale=1, depth=8)
    >>> round(mask_correlation(net), 6)
    0.627146
    """
    require_network(net, "the correlation between masks")
    ratio = _ratio(net, hyperparameters)
    if abs(ratio(*PROBES[0]) - ratio(*PROBES[1])) > ROUNDING:
        raise UnsupportedError(
            "the fixed correlation of two draws of the masks",
            "what a block does to it depends on the size of the kernel",
            'follow it over the layers with kernel(net, inputs="masks")',
        )
    if ratio(1.0, 1.0) >= 1 - ROUNDING:
        return 1.0
    # The ratio is a power series with coefficients that are not negative, hence convex: on [0, 1]
    # it crosses the diagonal once.
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if ratio(middle, 1.0) > middle else (low, middle)
    return (low + high) / 2


def _ratio(net: ResNet, hyperparameters: dict[str, Any]) -> Callable[[float, float], float]:
    """Return what a block adds to the covariance over what it adds to the variance."""
    require_no_coupling(net, "the fixed correlation of two draws of the masks")
    block = ResNet(net.branch, scale=1, depth=1, skip=0)
    recursion, coins = conditional_kernel(block, "masks", "masks")
    given = read_values(block, hyperparameters, block.free_symbols)
    values = {s: value_of(e, given) for s, e in recursion.bindings if e.free_symbols <= set(given)}
    variance, covariance = (
        close_elementary(averaged(recursion.flat(u), coins), recursion.laws)
        for u in recursion.update[:2]
    )
    if variance.has(GaussianExpectation) or covariance.has(GaussianExpectation):
        raise UnsupportedError(
            "the fixed correlation of two draws of the masks",
            "an average has no closed form",
            'follow it over the layers with kernel(net, inputs="masks")',
        )

    def ratio(correlation: float, size: float) -> float:
        at = {**values, K: np.asarray(size), PAIR[1]: np.asarray(correlation * size)}
        return float(value_at(covariance, at) / value_at(variance, at))

    return ratio
