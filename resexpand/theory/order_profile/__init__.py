"""Order profiles: how much each order of the residual expansion contributes, at infinite width.

`order_profile` derives one of three decompositions of ``h^L`` by order, each as a recursion over
the layers: Taylor orders in the residual scale (any smooth activation; orders overlap), degrees in
the Gaussian weights (any activation; orthogonal), and path lengths of the gated sum (activations of
two slopes; orthogonal, exact for every scale).
"""

from __future__ import annotations

from typing import Literal, get_args

from resexpand.combinatorics.arguments import check_order
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.network.positions import require_no_coupling
from resexpand.network.requirements import require_network, require_sums
from resexpand.network.resnet import ResNet
from resexpand.theory.order_profile.chaos import chaos_profile
from resexpand.theory.order_profile.multipliers import require_multipliers
from resexpand.theory.order_profile.paths import path_profile
from resexpand.theory.order_profile.taylor import taylor_profile
from resexpand.theory.recursion import Recursion

Basis = Literal["taylor", "chaos", "paths"]

HIGHEST_ORDER = 12
"""The equations of the Taylor profile double in number with every order or two."""


def order_profile(
    net: ResNet, order: int, basis: Basis = "taylor", *, remainder: bool = False
) -> Recursion:
    """Derive how much each order of the residual expansion contributes at infinite width.

    Parameters
    ----------
    net : ResNet
        The network; any hyperparameter may be symbolic. Its read-out plays no role.
    order : int
        Highest order, from 1 to 12.
    basis : {"taylor", "chaos", "paths"}
        ``"taylor"``: powers of a factor lambda beside the residual scale, ``h^L = sum_k T_k`` at
        lambda = 1, for smooth activations. ``"chaos"``: degree in the weights and biases, for any
        activation. ``"paths"``: number of branches a path passes through, for activations with two
        slopes that meet at zero.
    remainder : bool
        For the Taylor profile: derive also what the orders up to ``k`` leave out. The other bases
        always give it.

    Returns
    -------
    Recursion
        Output ``profile``, shape ``(L + 1, order + 1, order + 1)``: entry ``[l, j, k]`` is
        ``E[T_j . T_k] / N`` at layer l (diagonal in the orthogonal bases); ``K``, the covariance
        kernel; ``remainder``, shape ``(L + 1, order + 1)``: entry ``[l, k]`` is
        ``E|h^l - sum_{j<=k} T_j|^2 / N``, exact whether or not the series converges, and accurate
        to rounding in units of ``K``: where it is smaller, ``status`` says so and states the error.
        All up to O(1/N).

    Raises
    ------
    DescriptionError
        If `net` is no `ResNet`.
    HyperparameterError
        If the order or the basis is none of those above.
    UnsupportedError
        If the basis does not exist for an activation of the network, the stream is normalised, or a
        normalisation acts on a signal with a mean.

    Notes
    -----
    A normalisation in a branch divides by a number at infinite width. In the chaos and path
    profiles that is the root of the variance of the network itself; in the Taylor profile of the
    variance at the scale ``lambda rho``, so that the series ends at the latest where the variance
    in front of the last branch vanishes: `growth` names this radius, ``growth(net).radius``, for
    eps = 0. Below 1 the Taylor orders grow with k, and do not sum to ``h^L``.

    References
    ----------
    Dherin & Munn (2025) for the expansion; Veit, Wilber & Belongie (2016) for paths; Janson (1997)
    for the chaos decomposition.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, evaluate, order_profile
    >>> net = ResNet(Branch(Activation("identity"), Linear(1, 0)), scale=0.5, depth=4)
    >>> evaluate(order_profile(net, 2), K0=1.0)["profile"][-1].diagonal()
    array([1.   , 1.   , 0.375])
    >>> from resexpand import LayerNorm, growth
    >>> net = ResNet(Branch(LayerNorm(), Linear(1, 0)), scale=0.5, depth=4)
    >>> evaluate(order_profile(net, 2, "chaos"), K0=1.0)["profile"][-1].diagonal().round(3)
    array([1.   , 0.76 , 0.213])
    >>> growth(net).radius.rhs
    2*sqrt(3)*sqrt(K0)/3
    """
    asked = "the order profile"
    require_network(net, asked)
    order = _checked_order(order)
    if basis not in get_args(Basis):
        raise HyperparameterError(
            f"a profile in the basis {basis!r}", "it is unknown", f"use one of {get_args(Basis)}"
        )
    require_no_coupling(net, asked)
    require_multipliers(net, asked)
    require_sums(net, asked)
    if basis == "chaos":
        return chaos_profile(net, order)
    if basis == "paths":
        return path_profile(net, order)
    _require_smooth(net)
    return taylor_profile(net, order, remainder)


def _checked_order(order: int) -> int:
    checked = check_order(order)
    if checked > HIGHEST_ORDER:
        raise HyperparameterError(
            f"a profile up to order {order!r}",
            f"the equations are derived for orders 1 to {HIGHEST_ORDER}",
            "sample the observable order_profile for higher ones",
        )
    return checked


def _require_smooth(net: ResNet) -> None:
    for op in net.branch.maps:
        if op.law is not None and not op.is_smooth:
            raise UnsupportedError(
                f"the Taylor profile of a network with activation {op.name}",
                f"{op.name} is not smooth: its derivatives of order 2 and more vanish almost "
                "everywhere, and the series stops at the first gate that flips",
                'use basis="paths" for the gated path sum, or basis="chaos"',
            )
