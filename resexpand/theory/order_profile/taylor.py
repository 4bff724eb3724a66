r"""The Taylor profile: overlaps ``E[T_j . T_k] / N`` of the orders of the residual expansion.

One set of weights, run at the scales ``lambda rho`` and ``mu rho``. At infinite width

    K^l(lambda, mu) = K^{l-1}(lambda, mu)
                      + lambda mu rho^2 (sigma_w2 <phi(u) phi(v)> + sigma_b2),
    (u, v) ~ N(0, [[K(lambda, lambda), K(lambda, mu)], [K(lambda, mu), K(mu, mu)]]^{l-1}),

from ``K^0(lambda, mu) = K^0``, and the coefficient ``kappa_{j,k}`` of ``lambda^j mu^k`` is the
overlap of orders ``j`` and ``k`` of ``h^L = sum_k lambda^k T_k``. All derivatives of the average
are taken at the kernel of the input, where both replicas coincide: the recursion is polynomial in
``kappa``, with coefficients that are the same in all layers.

With ``remainder=True`` a third replica at the network's own scale is carried along, expanded in the
scale of the other alone, which gives ``E|h^L - sum_{j<=k} T_j|^2 / N`` whether or not the series
converges.

Source: Dherin & Munn (2025) for the expansion; the two-scale kernel is this package's own.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import sympy as sp

from resexpand.conventions import K0, K
from resexpand.network.resnet import ResNet
from resexpand.series.truncated import Truncated
from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.kernel import kernel
from resexpand.theory.order_profile.averages import Averages
from resexpand.theory.order_profile.profile import is_linear, profile_recursion, remainder_output
from resexpand.theory.order_profile.replicas import (
    BranchOfReplicas,
    Replicas,
)
from resexpand.theory.recursion import Output, Recursion

MEANING = r"$\kappa_{j,k} = \mathrm{E}[T_j \cdot T_k] / N$: overlaps of the orders"


def taylor_profile(net: ResNet, order: int, remainder: bool) -> Recursion:
    """Derive the Taylor profile up to an order; see `order_profile`."""
    hyper = Hyperparameters(net)
    rho = hyper.scale()
    base = kernel(net)
    averages = Averages({K0, *dict(base.bindings)})
    branch = BranchOfReplicas(net, hyper, averages)
    system = _System(order, rho, branch)
    update = system.update()
    if remainder:
        update |= system.across(base)
    return profile_recursion(
        f"order profile of the residual expansion up to order {order}",
        base,
        averages,
        update,
        system.outputs(remainder),
        citations=("dherin2025",),
    )


def overlap(j: int, k: int) -> sp.Symbol:
    """Return the symbol of ``E[T_j . T_k] / N``."""
    low, high = sorted((j, k))
    return sp.Symbol(f"kappa_{low}_{high}", real=True)


def _cross(j: int) -> sp.Symbol:
    """Return the symbol of ``E[h . T_j] / N``."""
    return sp.Symbol(f"cross_{j}", real=True)


def _mean(j: int) -> sp.Symbol:
    """Return the symbol of the mean of ``T_j``."""
    return sp.Symbol(f"shift_{j}", real=True)


class _System:
    """The equations of one profile."""

    def __init__(self, order: int, rho: sp.Symbol, branch: BranchOfReplicas):
        self.order, self.rho, self.branch = order, rho, branch
        self.has_mean = branch.has_mean
        self.pairs = list(combinations_with_replacement(range(1, order + 1), 2))

    def update(self) -> dict[sp.Symbol, sp.Expr]:
        """Return the next overlaps, and the next means of the orders if the stream has any."""
        moments: dict[tuple[int, ...], sp.Expr] = {(0, 0): K0} | {
            (j, k): overlap(j, k) for j in range(1, self.order) for k in range(1, self.order)
        }
        mixed = Truncated(2, self.order - 1, moments)
        along = self._along()
        first = mixed.of({(m, 0): value for m, value in along.items()})
        last = mixed.of({(0, m): value for m, value in along.items()})
        out = self.branch(Replicas(first, mixed, last))
        means = [out.means[0][m, 0] for m in range(self.order)] if out.means else []
        update = {}
        for j, k in self.pairs:
            update[overlap(j, k)] = overlap(j, k) + self.rho**2 * out.mixed[j - 1, k - 1]
            if self.has_mean:
                moved = _mean(k) * means[j - 1] + _mean(j) * means[k - 1]
                update[overlap(j, k)] += self.rho * moved
        if self.has_mean:
            update |= {
                _mean(j): _mean(j) + self.rho * means[j - 1] for j in range(1, self.order + 1)
            }
        return update

    def across(self, base: Recursion) -> dict[sp.Symbol, sp.Expr]:
        """Return the next overlaps of the orders with the whole state ``h``."""
        crossed: dict[tuple[int, ...], sp.Expr] = {(0,): K0} | {
            (j,): _cross(j) for j in range(1, self.order)
        }
        mixed = Truncated(1, self.order - 1, crossed)
        whole = mixed.of({(0,): base.state[0]})
        part = mixed.of({(m,): value for m, value in self._along().items()})
        out = self.branch(Replicas(whole, mixed, part))
        update = {}
        for j in range(1, self.order + 1):
            update[_cross(j)] = _cross(j) + self.rho**2 * out.mixed[(j - 1,)]
            if self.has_mean:
                moved = out.means[0][(0,)] * _mean(j) + base.state[1] * out.means[1][(j - 1,)]
                update[_cross(j)] += self.rho * moved
        return update

    def outputs(self, remainder: bool) -> tuple[Output, ...]:
        """Return what is read off."""
        entries = {pair: sp.Integer(0) for pair in self._triangle()}
        entries |= {(0, 0): K0} | {pair: overlap(*pair) for pair in self.pairs}
        profile = Output("profile", "trajectory", tuple(entries.values()), meaning=MEANING)
        if not remainder:
            return (profile,)
        rests = [self._rest(k) for k in range(self.order + 1)]
        return (profile, remainder_output(rests, finite=is_linear(self.branch.net)))

    def _rest(self, last: int) -> sp.Expr:
        crossed = K0 + sum((_cross(j) for j in range(1, last + 1)), sp.Integer(0))
        kept = range(1, last + 1)
        return (
            K - 2 * crossed + K0 + sum((overlap(j, k) for j in kept for k in kept), sp.Integer(0))
        )

    def _along(self) -> dict[int, sp.Expr]:
        """Return the series of ``K(lambda, lambda)``."""
        found: dict[int, sp.Expr] = {0: K0}
        for m in range(2, self.order):
            found[m] = sp.Add(*(overlap(j, m - j) for j in range(1, m)))
        return found

    def _triangle(self) -> list[tuple[int, int]]:
        return list(combinations_with_replacement(range(self.order + 1), 2))
