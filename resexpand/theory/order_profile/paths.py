r"""The path profile: second moments of the gated path sum by path length.

For an activation of two slopes that meet at zero (relu, leaky relu, the absolute value, the
identity) ``phi(h) = D(h) h`` with gates ``D``, and ``h^L = sum_k P_k`` where ``P_k`` collects the
paths that pass through ``k`` branches, gates taken on the actual trajectory. At infinite width
paths of different length are orthogonal and the gates act by their mean square alone,

    E|P_k^l|^2 / N = E|P_k^{l-1}|^2 / N
                     + rho^2 (sigma_w2 <phi'^2> E|P_{k-1}^{l-1}|^2 / N + sigma_b2 [k = 1]),

because ``<Theta(h) p^2> = <p^2> / 2`` for ``(h, p)`` jointly Gaussian. Without biases this is the
binomial law. A bias of block l starts a path of length one there. A normalisation divides all
paths through it by the root of the variance, a number at infinite width.

Source: Veit, Wilber & Belongie (2016) for the paths; their law at infinite width is this package's
own.
"""

from __future__ import annotations

import sympy as sp

from resexpand.activations.traits import is_homogeneous
from resexpand.conventions import K0, K
from resexpand.errors import UnsupportedError
from resexpand.gaussian.expectation import slope_moment
from resexpand.network.resnet import ResNet
from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.kernel import kernel
from resexpand.theory.order_profile.averages import Averages
from resexpand.theory.order_profile.multipliers import VARIANCE, multiplier
from resexpand.theory.order_profile.profile import (
    diagonal_output,
    profile_recursion,
    remainder_output,
)
from resexpand.theory.recursion import Recursion

MEANING = "$P_k$ on its diagonal: second moments of the paths of length $k$"


def path_profile(net: ResNet, order: int) -> Recursion:
    """Derive the path profile up to a length; see `order_profile`.

    Raises
    ------
    UnsupportedError
        If an activation has other than two slopes meeting at zero, or the branch ends in one.
    """
    _require_two_slopes(net)
    hyper = Hyperparameters(net)
    rho = hyper.scale()
    base = kernel(net)
    averages = Averages(fixed={K0})
    lengths = [K0, *(path_length(k) for k in range(1, order + 1))]
    branch = _through_branch(net, hyper, averages, lengths)
    update = {s: s + rho**2 * branch[k] for k, s in enumerate(lengths[1:])}
    rests = [K - sp.Add(*lengths[: k + 1]) for k in range(order + 1)]
    return profile_recursion(
        f"path profile up to length {order}",
        base,
        averages,
        update,
        (diagonal_output(lengths, MEANING), remainder_output(rests, finite=True)),
        citations=("veit2016",),
    )


def path_length(k: int) -> sp.Symbol:
    """Return the symbol of the second moment of the paths of length k."""
    return sp.Symbol(f"paths_{k}", real=True)


def _through_branch(
    net: ResNet, hyper: Hyperparameters, averages: Averages, lengths: list[sp.Expr]
) -> list[sp.Expr]:
    """Return the second moments behind the branch, before the length rises by one."""
    moments: list[sp.Expr] = list(lengths)
    whole: sp.Expr = K
    for step in net.branch.steps:
        added = sp.Integer(0)
        if step.contracts:
            factor, added = hyper.variances(step.op, step.suffix)
        elif step.label is None:
            factor = multiplier(step, hyper).xreplace({VARIANCE: whole}) ** 2
        else:
            # The slope has the same mean square at every variance.
            node = slope_moment(step.label, sp.Integer(1))
            factor = averages.symbol(node, f"gate_{step.position}")
        moments = [factor * moment for moment in moments]
        moments[0] += added
        whole = factor * whole + added
    return moments


def _require_two_slopes(net: ResNet) -> None:
    for op in net.branch.maps:
        if op.law is not None and not is_homogeneous(op.expression):
            raise UnsupportedError(
                f"the path profile of a network with activation {op.name}",
                "the gates act by their mean square only if phi has two slopes that meet at 0",
                'use basis="taylor" or "chaos" for smooth activations, relu or leaky_relu here',
            )
    if not net.branch.is_gaussian:
        raise UnsupportedError(
            "the path profile of a branch that ends in an activation",
            "its paths have means, so that different lengths overlap",
            "end the branch with Linear()",
        )
