"""A factor ``c = E E^T`` of the covariance between layers, with as few columns as it takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RANK_TOLERANCE = 1e-13
"""Eigenvalues below, in units of the largest, are rounding of c."""


def layer_factor(c: Array) -> Array:
    """Return E, lower triangular or of low rank.

    Parameters
    ----------
    c : ndarray, shape (L, L)
        Positive semi-definite to rounding.

    Returns
    -------
    ndarray, shape (L, k)
        For smooth laws, from the eigenvectors, k is the numerical rank: a few dozen at every depth.
        Otherwise the Cholesky factor, k = L, with about half of its entries zero.
    """
    values, vectors = np.linalg.eigh(c)
    kept = values > RANK_TOLERANCE * max(values[-1], 0.0)
    if kept.all():
        return np.asarray(np.linalg.cholesky(c), dtype=np.float64)
    columns: Array = (vectors[:, kept] * np.sqrt(values[kept]))[:, ::-1]
    # The sign of an eigenvector depends on the machine: its first entry that counts is positive.
    counts = np.abs(columns) > 1e-6 * np.abs(columns).max(axis=0, initial=0.0)
    first = columns[counts.argmax(axis=0), np.arange(columns.shape[1])]
    signed = columns * np.sign(first)
    return np.ascontiguousarray(signed, dtype=np.float64)
