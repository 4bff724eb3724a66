r"""The covariance between layers of given weights, and the exponent H that fits it.

The entries of a weight matrix are taken as n independent copies of one series over the blocks, so
that

    c(l, m) = (1/n) sum_ij W^l_ij W^m_ij / s,        s = (1/L) sum_l (1/n) sum_ij (W^l_ij)^2,

with the standard error ``sqrt((c_ll c_mm + c_lm^2) / n)``. H is that of fractional Gaussian noise
with the largest Gaussian likelihood; its error is ``1 / sqrt(n I(H))``, I the Fisher information of
one series. Whether such a law fits is another question: `MeasuredLayers.misfit` and `misfit_z`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resexpand.errors import HyperparameterError
from resexpand.expressions.shown import Fielded
from resexpand.network.layer_registry import LayerMatrix
from resexpand.network.layers import FractionalBrownian, LayerLaw
from resexpand.network.numbers import real_array

Array = NDArray[np.float64]

ASKED = "the covariance between layers of weights"

LAGS = 5
"""Lags at which a fit is judged."""

LARGEST_MISFIT = 0.05
"""Difference of correlations above which a fit is no description."""

SMOOTH = 0.02
"""Roughness below which all correlations are close to one, and differences of them say nothing."""

CHANCE = 4.0
"""Standard errors above which a misfit is none of chance."""

RANGE, PRECISION = (0.001, 0.999), 1e-9


@dataclass(frozen=True, repr=False)
class MeasuredLayers(Fielded):
    """The covariance between layers of given weights.

    Attributes
    ----------
    covariance, error : ndarray, shape (L, L)
        c(l, m), its diagonal one on average, and standard errors.
    lags : ndarray, shape (L,)
        Average over pairs of blocks at each lag.
    scale : float
        Mean square s of the weights.
    roughness : float
        ``sum |W^{l+1} - W^l|^2 / 2 sum |W^l|^2``: 1 for independent blocks, small for smooth ones.
    H, H_error : float
        Exponent of the fractional Gaussian noise that fits best, and its standard error.
    misfit, misfit_z : float
        Largest difference of a correlation at small lags, or that of the sizes of blocks; how far
        all covariances are from those of the fit, in standard errors.
    entries : int
        Number n of entries per block.
    """

    covariance: Array
    error: Array
    lags: Array
    scale: float
    roughness: float
    H: float
    H_error: float
    misfit: float
    misfit_z: float
    entries: int

    @property
    def fits(self) -> bool:
        """Whether fractional Gaussian noise describes the weights."""
        close = self.misfit <= LARGEST_MISFIT and self.roughness > SMOOTH
        return close or self.misfit_z <= CHANCE

    @property
    def law(self) -> LayerLaw:
        """What to pass as ``layers=``: the fractional law if it fits, else the matrix."""
        return FractionalBrownian(self.H) if self.fits else LayerMatrix(self.covariance)


def measure_layers(weights: Iterable[ArrayLike]) -> MeasuredLayers:
    """Estimate the covariance between the layers of a network from its weights.

    Parameters
    ----------
    weights : iterable of array_like
        One array per block, at least four, all of one shape and with at least `L` entries; what
        `numpy.asarray` takes, such as the tensors of a model on the processor.

    Returns
    -------
    MeasuredLayers

    Raises
    ------
    HyperparameterError
        If there are too few, or they are no arrays, differ in shape or are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> found = measure_layers(rng.normal(size=(20, 50, 50)))
    >>> abs(found.H - 0.5) < 4 * found.H_error, found.fits
    (True, True)
    """
    if isinstance(weights, Mapping | str) or not hasattr(weights, "__iter__"):
        raise HyperparameterError(
            f"{ASKED}, from {type(weights).__name__}",
            "it is no sequence of arrays",
            "give one array per block, in the order of the blocks",
        )
    rows = _rows(
        [real_array(block, f"weights of block {k + 1}") for k, block in enumerate(weights)]
    )
    depth, entries = rows.shape
    products: Array = rows @ rows.T / entries
    scale = float(np.trace(products)) / depth
    c = products / scale
    own = np.diagonal(c)
    error = np.sqrt((np.outer(own, own) + c**2) / entries)
    lags = np.array([np.diagonal(c, k).mean() for k in range(depth)])
    steps = own[1:] + own[:-1] - 2 * np.diagonal(c, 1)
    roughness = float(steps.sum() / (own[1:] + own[:-1]).sum())
    H = _fitted(c)
    exact = FractionalBrownian(H).covariance(depth)
    gaps = lags[1 : LAGS + 1] - exact[0, 1 : LAGS + 1]
    return MeasuredLayers(
        c,
        error,
        lags,
        scale,
        roughness,
        H,
        _fit_error(H, depth, entries),
        max(float(np.abs(gaps).max()), float(np.sqrt(((own - 1) ** 2).mean()))),
        _excess(c, exact, entries),
        entries,
    )


def _rows(blocks: Sequence[Array]) -> Array:
    """Return the entries of every block, shape (L, n)."""
    asked, shapes = ASKED, {block.shape for block in blocks}
    if len(blocks) < 4 or len(shapes) != 1:
        raise HyperparameterError(
            asked,
            f"{len(blocks)} blocks of {len(shapes)} shapes tell no covariance",
            "give four or more blocks of one shape",
        )
    rows = np.array([block.ravel() for block in blocks])
    if not np.isfinite(rows).all() or not rows.any():
        raise HyperparameterError(asked, "they are not finite, or all zero", "check the model")
    if rows.shape[1] < len(rows):
        raise HyperparameterError(
            asked,
            f"{rows.shape[1]} entries per block are fewer than {len(rows)} blocks",
            "give whole matrices",
        )
    return rows


def _cost(H: float, c: Array) -> float:
    """Return minus twice the logarithm of the likelihood per entry, with the best scale."""
    root = np.linalg.cholesky(FractionalBrownian(H).covariance(len(c)))
    half = np.linalg.solve(root, c)
    square = float(np.trace(np.linalg.solve(root, half.T)))
    return 2 * float(np.log(np.diagonal(root)).sum()) + len(c) * math.log(square / len(c))


def _fitted(c: Array) -> float:
    """Return the H of the largest likelihood."""
    from scipy.optimize import minimize_scalar

    tight = {"xatol": PRECISION}
    return float(minimize_scalar(_cost, bounds=RANGE, args=(c,), method="bounded", options=tight).x)


def _fit_error(H: float, depth: int, entries: int) -> float:
    """Return the standard error of H, its scale being fitted as well."""
    step = 1e-4 * min(H, 1 - H, 0.5)
    above, below = (FractionalBrownian(H + s).covariance(depth) for s in (step, -step))
    slope = np.linalg.solve(FractionalBrownian(H).covariance(depth), (above - below) / (2 * step))
    information = (np.trace(slope @ slope) - np.trace(slope) ** 2 / depth) / 2
    return 1 / math.sqrt(entries * information)


def _excess(c: Array, exact: Array, entries: int) -> float:
    """Return how far whitened covariances are from those of chance, in standard errors.

    Their squared distance from the identity, times n / 2, has the mean L (L + 1) / 2 and about the
    variance of a chi-squared number of as many degrees of freedom, enlarged by L / n.
    """
    depth = len(c)
    root = np.linalg.cholesky(exact)
    whitened = np.linalg.solve(root, np.linalg.solve(root, c).T)
    whitened *= depth / np.trace(whitened)
    square = entries / 2 * float(((whitened - np.eye(depth)) ** 2).sum())
    degrees = depth * (depth + 1) / 2
    return (square - degrees) / math.sqrt(2 * degrees * (1 + 4 * depth / entries))
