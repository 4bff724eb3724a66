r"""The chaos profile: the orthogonal decomposition of a network by degree in its weights.

Two replicas share their input, and their weights and biases have correlation ``p``. At infinite
width their overlap ``Q^l(p) = lim h.h' / N`` obeys

    Q^l = Q^{l-1} + p rho^2 (sigma_w2 <phi(u) phi(v)> + sigma_b2),
    (u, v) ~ N(0, [[K, Q], [Q, K]]^{l-1}),      Q^0 = K^0,

and the coefficient ``chaos_k`` of ``p^k`` is the second moment of the part of ``h^L`` that is of
degree ``k`` in the Gaussian weights (its k-th Wiener chaos). Degrees are orthogonal and their
second moments sum to ``K^L``. For linear blocks both profiles are the binomial law.

Where a first activation has a kink, derivatives of its average are infinite at coinciding
replicas; at the input ``Q^0 - K^0`` vanishes with them, and their product is zero.

Source: the chaos decomposition is textbook (Janson 1997); its recursion is this package's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from resexpand.conventions import K0, K
from resexpand.network.resnet import ResNet
from resexpand.series.truncated import Truncated
from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.kernel import kernel
from resexpand.theory.order_profile.averages import Averages
from resexpand.theory.order_profile.profile import (
    diagonal_output,
    is_linear,
    profile_recursion,
    remainder_output,
)
from resexpand.theory.order_profile.replicas import (
    BranchOfReplicas,
    Replicas,
)
from resexpand.theory.recursion import Recursion

MEANING = "$A_k$ on its diagonal: second moments of the degrees in the weights"


@dataclass
class _GuardedAverages(Averages):
    """Averages whose infinite derivatives at coinciding replicas count as zero."""

    def symbol(self, node: sp.Expr, name: str) -> sp.Symbol:
        """Return the symbol of an average, guarded if it is a derivative by the overlap."""
        if name.startswith("slope") and not name.endswith("_0_0_0"):
            first, mixed, _ = node.covariance
            if mixed != 0:
                node = sp.Piecewise((0, sp.Eq(first, mixed)), (node, True))
        return super().symbol(node, name)


def chaos_profile(net: ResNet, order: int) -> Recursion:
    """Derive the chaos profile up to an order; see `order_profile`."""
    hyper = Hyperparameters(net)
    rho = hyper.scale()
    base = kernel(net)
    smooth = all(op.is_smooth for op in net.branch.maps)
    averages = (Averages if smooth else _GuardedAverages)({K0, *dict(base.bindings)})
    branch = BranchOfReplicas(net, hyper, averages, shared=1)
    start = degree(0) if branch.has_mean else K0
    moments: dict[tuple[int, ...], sp.Expr] = {(0,): start} | {
        (k,): degree(k) for k in range(1, order + 1)
    }
    mixed = Truncated(1, order, moments)
    alone = mixed.of({(0,): K})
    out = branch(Replicas(alone, mixed, alone))
    first = 0 if branch.has_mean else 1
    update = {degree(k): degree(k) + rho**2 * out.mixed[(k,)] for k in range(first, order + 1)}
    if branch.has_mean:
        update[degree(0)] += 2 * rho * base.state[1] * out.means[0][(0,)]
    orders = [start, *(degree(k) for k in range(1, order + 1))]
    rests = [K - sp.Add(*orders[: k + 1]) for k in range(order + 1)]
    return profile_recursion(
        f"chaos profile up to order {order}",
        base,
        averages,
        update,
        (diagonal_output(orders, MEANING), remainder_output(rests, finite=is_linear(net))),
        citations=("janson1997",),
        starts={degree(0): K0} if branch.has_mean else None,
    )


def degree(k: int) -> sp.Symbol:
    """Return the symbol of the second moment of degree k."""
    return sp.Symbol(f"chaos_{k}", real=True)
