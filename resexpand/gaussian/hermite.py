"""Hermite functions: the normalised Hermite polynomials times the root of the normal density."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def root_density(nodes: Array) -> Array:
    """Return the square root of the normal density."""
    return np.asarray(np.exp(-nodes * nodes / 4) / (2 * np.pi) ** 0.25)


def hermite_functions(nodes: Array, terms: int) -> Iterator[Array]:
    """Yield the Hermite functions of degree ``0 .. terms - 1`` at some nodes."""
    before, now = np.zeros_like(nodes), root_density(nodes)
    for n in range(terms):
        yield now
        before, now = now, (nodes * now - np.sqrt(n) * before) / np.sqrt(n + 1)
