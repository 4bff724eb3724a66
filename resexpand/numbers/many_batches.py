r"""Inputs of an evaluation that meet the statistics of infinitely many training batches.

Two exchangeable batches of training stand for all. With D and W the variance of their inputs and
the covariance within a batch, X that between batches, and ``Y_a`` of a test input with any of
training, the running variance is ``v = D - W``, and test inputs stay Gaussian with

    q_ab = (K_ab - Y_a - Y_b + X) / (v + eps).

Behind maps psi a test input has the moment ``mu <psi>_{q_aa}`` with one of training, mu the mean of
an entry of a batch. Changes are those of test inputs: statistics are constants of an evaluation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resexpand.gaussian.quadrature import composite_rule
from resexpand.numbers.batch_moments import Psi
from resexpand.numbers.moving import Moving

Array = NDArray[np.float64]

WIDEST, PANELS, NODES = 9.5, 32, 24


def normalised_tests(kernels: Moving, size: int, eps: float) -> Moving:
    """Return the covariance of normalised test inputs behind two batches of B inputs."""
    cut = 2 * size
    train = kernels.value[..., :cut, :cut]
    own = train[..., :size, :size]
    spread = np.trace(own, axis1=-2, axis2=-1) - own.sum(axis=(-2, -1)) / size
    variance = (spread / (size - 1) + eps)[..., None, None]
    shared = train[..., :size, size:].mean(axis=(-2, -1))[..., None, None]
    value = (_relative(kernels.value, cut) + shared) / variance
    if kernels.change is None:
        return Moving(value)
    return Moving(value, _relative(kernels.change, cut) / variance)


def _relative(moments: Array, cut: int) -> Array:
    """Return moments of test inputs minus those that either has with training."""
    across = moments[..., :cut, cut:].mean(axis=-2)
    return np.asarray(moments[..., cut:, cut:] - across[..., :, None] - across[..., None, :])


def with_training(psi: Psi, inner: Moving, mean: float, cut: int, tangent: bool) -> Moving:
    """Return the moments of test inputs with those of training, shape (..., 2 B, t).

    Parameters
    ----------
    psi : Psi
        The maps behind the normalisation.
    inner : Moving
        Covariance of the normalised test inputs.
    mean : float
        Of an entry of training behind these maps.
    cut : int
        ``2 B``.
    tangent : bool
        Whether changes are those of tangents, of which training has none.
    """
    variances = np.diagonal(inner.value, axis1=-2, axis2=-1)
    means, slopes = np.vectorize(lambda q: _mean(psi, q), otypes=[float, float])(variances)
    value = np.broadcast_to(mean * means[..., None, :], (*means.shape[:-1], cut, means.shape[-1]))
    if inner.change is None:
        return Moving(value)
    changes = np.diagonal(inner.change, axis1=-2, axis2=-1)
    moved = mean * (0 if tangent else 1) * slopes * changes
    shape = (*moved.shape[:-1], cut, moved.shape[-1])
    return Moving(value, np.broadcast_to(moved[..., None, :], shape))


def _mean(psi: Psi, variance: float) -> tuple[float, float]:
    """Return the mean of a function of a centred normal, and its derivative by the variance."""
    clean = psi if psi.clean is None else Psi(psi.clean)
    root = np.sqrt(variance)
    kinks = np.array([k / root for k in clean.kinks if abs(k) < WIDEST * root])
    edges = np.union1d(np.linspace(-WIDEST, WIDEST, PANELS + 1), kinks)
    z, weights = composite_rule(edges, NODES)
    values = weights * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * clean(root * z)
    return float(values.sum()), float(values @ (z**2 - 1)) / (2 * variance)
