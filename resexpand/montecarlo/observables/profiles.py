"""Profiles: how much each order, or each path length, contributes to the stream.

For one input, with `h = sum_k T_k` over orders of the residual scale (`groups.jets`) or
`h = sum_k P_k` over lengths of gated paths (`groups.paths`):

    order_profile(k)     T_i . T_j / N,                      l = 0 ... L,  i, j = 0 ... k
    order_remainder(k)   |h^l - (T_0 + ... + T_j)|^2 / N,    l = 0 ... L,  j = 0 ... k
    path_profile(k)      P_i . P_j / N,                      l = 0 ... L,  i, j = 0 ... k
    path_remainder(k)    |h^l - (P_0 + ... + P_j)|^2 / N,    l = 0 ... L,  j = 0 ... k

Remainders are formed neuron by neuron. Their floor is the rounding of the columns, about
`1e-28 |h|^2/N`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from resexpand.errors import HyperparameterError
from resexpand.montecarlo.groups.group import ColumnGroup
from resexpand.montecarlo.groups.jets import Jets
from resexpand.montecarlo.groups.paths import Paths
from resexpand.montecarlo.observables.gradients import gradient_moments
from resexpand.montecarlo.observables.observable import Floats, Observable, Record

LARGEST_ORDER = 64
"""Orders beyond this have no weight in float64 at any depth where the series is of use."""


def order_profile(order: int) -> Observable:
    """Return the observable `T_i . T_j / N` of the orders 0 ... order, shape (L+1, k+1, k+1).

    Raises
    ------
    HyperparameterError
        If the order is not a whole number from 1 to `LARGEST_ORDER`.
    """
    return _profile("order_profile", Jets, order)


def order_remainder(order: int) -> Observable:
    """Return the observable `|h - (T_0 + ... + T_j)|^2/N`, j = 0 ... order, shape (L+1, k+1)."""
    return _remainder("order_remainder", Jets, order)


def path_profile(longest: int) -> Observable:
    """Return the observable `P_i . P_j / N` of lengths 0 ... longest, shape (L+1, k+1, k+1)."""
    return _profile("path_profile", Paths, longest)


def path_remainder(longest: int) -> Observable:
    """Return the observable `|h - (P_0 + ... + P_j)|^2/N`, j = 0 ... longest."""
    return _remainder("path_remainder", Paths, longest)


FAMILIES: Mapping[str, Callable[[int], Observable]] = MappingProxyType(
    {
        "order_profile": order_profile,
        "order_remainder": order_remainder,
        "path_profile": path_profile,
        "path_remainder": path_remainder,
        "gradient_moments": gradient_moments,
    }
)
"""Observables that take a parameter, by name."""


@dataclass(frozen=True)
class GroupGram:
    """Reads `x_i . x_j / N` of the first columns of a group."""

    kind: type[ColumnGroup]
    size: int

    def __call__(self, record: Record) -> Floats:
        """Return rows of shape (n, L+1, size, size)."""
        return record.of_group(self.kind)[:, :, : self.size, : self.size]


@dataclass(frozen=True)
class GroupSite:
    """Reads the first entries of what a group leaves behind on its own."""

    site: str
    size: int

    def __call__(self, record: Record) -> Floats:
        """Return rows of shape (n, L+1, size)."""
        return record.sites[self.site][:, :, : self.size]


def _profile(name: str, kind: type[Jets] | type[Paths], order: int) -> Observable:
    read = GroupGram(kind, _checked(name, order) + 1)
    return Observable(name, read, ("states",), (kind(order),), 1, (order,))


def _remainder(name: str, kind: type[Jets] | type[Paths], order: int) -> Observable:
    site = f"{kind.name}_remainders"
    read = GroupSite(site, _checked(name, order) + 1)
    return Observable(name, read, (site,), (kind(order),), 1, (order,))


def _checked(name: str, order: object) -> int:
    if isinstance(order, bool) or not isinstance(order, int) or not 1 <= order <= LARGEST_ORDER:
        raise HyperparameterError(
            f"{name}({order!r})", f"not a whole number from 1 to {LARGEST_ORDER}", "give one"
        )
    return order
