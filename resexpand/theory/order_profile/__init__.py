"""Order profiles: how much each order of the residual expansion contributes, at infinite width.

`order_profile` derives one of three decompositions of ``h^L`` by order, each as a recursion over
the layers: Taylor orders in the residual scale (any smooth activation; orders overlap), degrees in
the Gaussian weights (any activation; orthogonal), and path lengths of the gated sum (activations of
two slopes; orthogonal, exact for every scale).
"""

from __future__ import annotations

from typing import Literal, get_args

from resexpand.combinatorics.arguments import check_order
from resexpand.errors import DescriptionError, HyperparameterError, UnsupportedError
from resexpand.network.requirements import require_plain
from resexpand.network.resnet import ResNet
from resexpand.theory.order_profile.chaos import chaos_profile
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
        If the basis does not exist for an activation of the network.

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
    """
    if not isinstance(net, ResNet):
        raise DescriptionError(
            f"the order profile of {net!r}",
            f"it is of type {type(net).__name__}",
            "give ResNet(Branch(...), scale=..., depth=...)",
        )
    order = _checked_order(order)
    if basis not in get_args(Basis):
        raise HyperparameterError(
            f"a profile in the basis {basis!r}", "it is unknown", f"use one of {get_args(Basis)}"
        )
    _require_no_norm(net)
    require_plain(net, "the order profile")
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
        if not op.is_smooth:
            raise UnsupportedError(
                f"the Taylor profile of a network with activation {op.name}",
                f"{op.name} is not smooth: its derivatives of order 2 and more vanish almost "
                "everywhere, and the series stops at the first gate that flips",
                'use basis="paths" for the gated path sum, or basis="chaos"',
            )


def _require_no_norm(net: ResNet) -> None:
    """Raise the error that names the radius of convergence of a normalised branch.

    Raises
    ------
    UnsupportedError
        If a branch, or the stream, is normalised.
    """
    steps = (*(step for branch in net.kinds for step in branch.steps), *net.post)
    for step in steps:
        if not step.contracts and step.normalises and step.op.over == "neurons":
            raise UnsupportedError(
                f"the order profile of a network with {step.op!r}",
                "an inverse root of the variance is no sum over paths, and its series in a factor "
                "of the scale ends where the variance vanishes: in front of the last branch with "
                "eps = 0 at sqrt(K^0 / (K^{L-1} - K^0)), below 1 unless the blocks add little",
                "use growth(net).radius for it; order_profile(net, k) without the normalisation, "
                "at the scales of implied_scale(net)",
            )
