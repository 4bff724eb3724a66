r"""Observables of the deviations at finite width: coefficients of ``1/N``, network by network.

With ``X_inf`` the value at infinite width, known from the theory, and ``dX = X - X_inf`` of one
network of width ``N``,

    N dX        is a draw of the coefficient of the mean,
    N dX dX'    of the covariance, up to ``(N E dX)(N E dX')/N``,

both up to order ``1/N``, which is what extrapolating in the width removes. Observed are

    C^l   covariance of the last Linear of block l (of the read-out for l = L + 1),
    K^l = K^0 + sum of rho_m^2 C^m over m <= l, the kernel those covariances make,
    G^l   the empirical kernel h^l.h^l / N.

``E G^l = E K^l``, but ``K^l`` fluctuates less: means are read off ``K``. For several inputs the
upper triangle of each is one axis, in the order 11, 12, ..., 1D, 22, ....
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resexpand.errors import HyperparameterError
from resexpand.montecarlo.observables.observable import Observable, Record
from resexpand.montecarlo.observables.registry import OBSERVABLES
from resexpand.montecarlo.sample import sample
from resexpand.montecarlo.statistics.estimate import Estimates
from resexpand.network.resnet import ResNet
from resexpand.numbers.evaluation import evaluate
from resexpand.theory.kernel import kernel

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Centre:
    """Where the observables are centred.

    Attributes
    ----------
    kernel, covariance : ndarray, shape (L + 1, p)
        ``K^0 ... K^L`` and ``C^1 ... C^{L+1}`` at infinite width, their ``p`` entries.
    width : int
        Width of the networks.
    layers : tuple of int
        Layers that are kept, from 1 to L.
    """

    kernel: Array
    covariance: Array
    width: int
    layers: tuple[int, ...]

    def covariances(self, record: Record) -> Array:
        """Return ``dC`` of every layer, shape (n, L + 1, p)."""
        return upper(OBSERVABLES["layer_covariance"].read(record)) - self.covariance

    def of_covariance(self, record: Record) -> Array:
        """Return ``dC`` at the layers kept."""
        return self.covariances(record)[:, [layer - 1 for layer in self.layers]]

    def of_kernel(self, record: Record) -> Array:
        """Return ``dK`` at the layers kept."""
        squares = np.asarray(record.net.scales) ** 2
        steps = squares[:, None] * self.covariances(record)[:, : len(squares)]
        return np.cumsum(steps, axis=1)[:, [layer - 1 for layer in self.layers]]

    def of_empirical(self, record: Record) -> Array:
        """Return ``dG`` at the layers kept."""
        rows = upper(OBSERVABLES["kernel"].read(record)) - self.kernel
        return rows[:, list(self.layers)]


def upper(rows: Array) -> Array:
    """Return the upper triangle of the last two axes as one; a single input has one entry."""
    if rows.ndim == 2:
        return rows[..., None]
    first, second = np.triu_indices(rows.shape[-1])
    return np.asarray(rows[..., first, second])


def deviations(centre: Centre) -> tuple[Observable, ...]:
    """Return the observables around a centre.

    Returns
    -------
    tuple of Observable
        ``C_mean`` and ``K_mean`` with rows of shape (layers, p); ``C_cov``, ``K_cov`` and ``G_cov``
        with rows of shape (layers p, layers p); ``kurtosis``, the excess kurtosis
        ``3 Var C / C^2`` of the component of every input behind the last layer, shape (D,).
    """
    sites = {
        "C": (centre.of_covariance, ("features",)),
        "K": (centre.of_kernel, ("features",)),
        "G": (centre.of_empirical, ("states",)),
    }
    means = [
        Observable(f"{name}_mean", _mean(read, centre.width), needed, parameters=centre.layers)
        for name, (read, needed) in sites.items()
        if name != "G"
    ]
    crossed = [
        Observable(f"{name}_cov", _crossed(read, centre.width), needed, parameters=centre.layers)
        for name, (read, needed) in sites.items()
    ]
    return (*means, *crossed, Observable("kurtosis", _kurtosis(centre), ("features",)))


def _mean(read: Callable[[Record], Array], width: int) -> Callable[[Record], Array]:
    return lambda record: width * read(record)


def _crossed(read: Callable[[Record], Array], width: int) -> Callable[[Record], Array]:
    def products(record: Record) -> Array:
        rows = read(record)
        flat = rows.reshape(len(rows), -1)
        return width * flat[:, :, None] * flat[:, None, :]

    return products


def _kurtosis(centre: Centre) -> Callable[[Record], Array]:
    def excess(record: Record) -> Array:
        inputs = record.inputs
        own = [a * inputs - a * (a - 1) // 2 for a in range(inputs)]
        last, limit = centre.covariances(record)[:, -1, own], centre.covariance[-1, own]
        return np.asarray(3 * centre.width * last**2 / limit**2)

    return excess


def sample_deviations(
    net: ResNet,
    width: int,
    draws: int,
    *,
    K0: ArrayLike,
    layers: Sequence[int] | None = None,
    **options: Any,
) -> Estimates:
    """Sample what a finite width adds to the infinite-width theory.

    Parameters
    ----------
    net : ResNet
        The network, without symbols, its branch ending in a `Linear`.
    width, draws : int
        As for `sample`.
    K0 : float or array_like, shape (D, D)
        Kernel at layer 0.
    layers : sequence of int, optional
        Layers that are kept, from 1 to L; all by default.
    **options
        Further keywords of `sample`: ``seed``, ``store``, ``workers``, ``progress``.

    Returns
    -------
    Estimates
        Of the observables of `deviations`: coefficients of ``1/N``, up to order ``1/N``.

    Raises
    ------
    HyperparameterError
        If the network has symbols left, or a layer lies outside of it.
    """
    if net.free_symbols:
        named = ", ".join(sorted(s.name for s in net.free_symbols))
        raise HyperparameterError(
            "deviations of a network with symbols", f"{named} have no value", "give numbers"
        )
    depth = int(net.depth)
    kept = tuple(range(1, depth + 1) if layers is None else layers)
    if not kept or any(not 1 <= layer <= depth for layer in kept):
        raise HyperparameterError(
            f"the layers {kept}", "there is none or one too many", f"1 to {depth}"
        )
    start = np.asarray(K0, dtype=float)
    limit = evaluate(kernel(net, inputs=1 if start.ndim == 0 else 2), K0=start)
    values = [upper(np.asarray(limit[name])[None])[0] for name in ("K", "C")]
    centre = Centre(values[0], values[1], width, kept)
    return sample(net, deviations(centre), width, draws, K0=start, **options)
