r"""Depth comparable to width: the log-normal law that homogeneous networks approach.

Where every operation of a block is homogeneous of degree one (relu, leaky_relu, abs, identity, no
biases), ``ln G^L`` is a sum over blocks of increments that know nothing of the length of the
stream. At a fixed ratio ``L/N`` and large ``N`` it is normal, and what the order 1/N says of mean
and variance of ``G``, being the first term in ``L/N``, says it all:

    Var ln G = v/N,    E ln G = ln K + dK/(K N) - v/(2N),    v = N Var G/K^2,

up to terms of order 1/N at fixed ``L/N`` (Li, Nica & Roy 2021 for branches ``V relu(W h)``). So
``Var G/K^2`` goes to ``exp(v/N) - 1`` and ``E G/K`` to ``exp(dK/(K N))``, of which ``v/N`` and
``1 + dK/(K N)`` are the beginning: here the expansion is of use where its order 1/N alone is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from resexpand.activations.activation_law import ActivationLaw
from resexpand.numbers.one_loop.tables import Tables
from resexpand.theory.one_loop.process import Process

Array = NDArray[np.float64]


def is_homogeneous(process: Process, batches: Sequence[Tables]) -> bool:
    """Whether all blocks are homogeneous of degree one, at every point of a grid."""
    return all(
        _is_linear_beside_zero(draw.law) and not draw.averages for draw in process.draws
    ) and not any(site.biases[:, :-1].any() for tables in batches for site in tables.sites)


def _is_linear_beside_zero(law: ActivationLaw | None) -> bool:
    return law is None or law.ends is not None


def log_normal(arrays: Mapping[str, Array], width: int) -> dict[str, Array]:
    """Return mean and variance of ``ln G``, shape grid + (layers,), of one input.

    Parameters
    ----------
    arrays : mapping
        ``K``, ``K_mean`` and ``validity``.
    width : int
        Neurons per layer.
    """
    kernel, spread = np.asarray(arrays["K"]), np.asarray(arrays["validity"]) / width
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.asarray(arrays["K_mean"]) / kernel / width
        return {"log_mean": np.log(kernel) + shift - spread / 2, "log_variance": spread}
