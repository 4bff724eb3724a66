r"""Where the order 1/N can be trusted, and what is said where it cannot.

The order that is neglected is about ``v/N`` of the one that is given, ``v = N Var G/K^2``. In
linear networks and ``V relu(W h)``, which are solvable at every width, it is 0.2 to 0.5 of that.

The averages of the order 1/N exist as long as ``<phi^4>`` does. That is a matter of the growth of
the activation (`resexpand.activations.growth`), and of the variances it meets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.activations.growth import growth
from resexpand.codegen.values import QUADRATURE_LIMIT, overflow_problem
from resexpand.errors import UnsupportedError
from resexpand.numbers.one_loop.tables import Site
from resexpand.theory.one_loop.process import Process

Array = NDArray[np.float64]

LIMIT = 0.25
"""Relative size ``v/N`` of the next order above which results are marked."""

_DEVIATIONS = (("K", "G_cov"), ("C", "C_cov"))


def judged(
    arrays: Mapping[str, Array], width: int | None, lead: int
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return what holds at a width, and a sentence where the expansion does not.

    Parameters
    ----------
    arrays : mapping
        Results; ``validity`` is ``v = N Var G / K^2``, shape grid + (layers,).
    width : int or None
        Neurons per layer, if it is known where the results will be used.
    lead : int
        Number of axes of the grid.

    Returns
    -------
    found : dict
        ``relative_error``, and means and deviations, NaN where they do not hold.
    marks : tuple of str
    """
    if width is None:
        return {}, ()
    error, beyond, marks = at_width(np.asarray(arrays["validity"]), width)
    return {"relative_error": error} | _at_width(arrays, width, lead, beyond), marks


def at_width(validity: Array, width: int) -> tuple[Array, NDArray[np.bool_], tuple[str, ...]]:
    """Return the size of the next order, where it is too large, and a sentence if it is anywhere.

    Parameters
    ----------
    validity : ndarray, shape (..., layers)
        Size of the next order times the width.
    width : int
        Neurons per layer.
    """
    error = validity / width
    beyond = ~(error <= LIMIT)
    if not beyond.any():
        return error, beyond, ()
    layers = beyond.any(axis=tuple(range(beyond.ndim - 1)))
    first = int(np.nonzero(layers)[0][0])
    head = f"the expansion in 1/N is not valid at width {width} from layer {first} on"
    known = validity[np.isfinite(validity)]
    if known.size < validity.size:
        return error, beyond, (f"{head}: the size of the next order is no number",)
    needed = int(np.ceil(known.max() / LIMIT))
    largest = float(error.max())
    text = f"the next order is {largest:.2g} of the first; it needs a width of at least {needed}"
    return error, beyond, (f"{head}: {text}",)


def _at_width(
    arrays: Mapping[str, Array], width: int, lead: int, beyond: NDArray[np.bool_]
) -> dict[str, Array]:
    """Return means and deviations at a width, NaN where they are beyond validity."""
    found = {}
    for name, spread in _DEVIATIONS:
        if spread in arrays:
            variance = variances(np.asarray(arrays[spread]), lead)
            whole = measured(arrays[name], arrays[f"{name}_mean"], variance, width, beyond)
            found[f"{name}_width"], found[f"{name}_deviation"] = whole
    return found


def measured(
    value: Any, shift: Any, variance: Any, width: int, beyond: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Return mean and deviation at a width from coefficients, NaN where they do not hold."""
    mean = np.asarray(value) + np.asarray(shift) / width
    marked = beyond.reshape(beyond.shape + (1,) * (mean.ndim - beyond.ndim))
    deviation = np.sqrt(np.asarray(variance) / width)
    return np.where(marked, np.nan, mean)[()], np.where(marked, np.nan, deviation)[()]


def variances(covariance: Array, lead: int) -> Array:
    """Return the variance of every entry at every layer from covariances of all of them.

    Parameters
    ----------
    covariance : ndarray
        ``grid + (layers, layers)``, or ``grid + (layers, D, D, layers, D, D)``.
    lead : int
        Number of axes of the grid.
    """
    layers = np.arange(covariance.shape[lead])
    if covariance.ndim == lead + 2:
        return np.asarray(covariance[..., layers, layers])
    inputs = np.arange(covariance.shape[-1])
    a, b = inputs[:, None], inputs[None, :]
    at = layers[:, None, None]
    return np.asarray(covariance[..., at, a, b, at, a, b])


def unhealthy(arrays: Mapping[str, Array], error: float, process: Process) -> list[str]:
    """Return a sentence for everything that makes the numbers doubtful."""
    lost = [name for name, value in arrays.items() if overflow_problem(name, value, False)]
    found = []
    if lost:
        bad = ~np.isfinite(np.asarray(arrays["validity"]))
        first = np.nonzero(bad.reshape((-1, bad.shape[-1])).any(axis=0))[0]
        where = f", from layer {first[0]} on" if first.size else ""
        found.append(
            f"{', '.join(lost)} are not finite everywhere{where}: the numbers left the range of "
            "double precision, or an average is singular"
        )
    if error > QUADRATURE_LIMIT:
        found.append(f"the quadrature did not converge: its relative error is about {error:.1g}")
    for law in {draw.law for draw in process.draws if draw.law is not None}:
        if not growth(law).polynomial:
            found.append(
                f"{law.name} grows faster than every power: these are coefficients of an "
                "asymptotic expansion, while at every finite width the mean of C behind the first "
                "block is infinite"
            )
    return found


def require_moments(sites: Sequence[Site]) -> None:
    """Refuse variances at which an average of the order 1/N does not exist.

    Parameters
    ----------
    sites : sequence of Site
        Activations, and covariances of what they act on.

    Raises
    ------
    UnsupportedError
        If ``<phi^4>`` does not exist at one of them.
    """
    for site in sites:
        if site.law is None or growth(site.law).rate == 0:
            continue
        rate, largest = growth(site.law).rate, growth(site.law).largest_variance(4)
        met = np.diagonal(site.reads, axis1=-2, axis2=-1)
        over = ~(met < largest).all(axis=(0, 2)) & np.array(site.exists)
        if not over.any():
            continue
        block = int(np.argmax(over))
        limit = "for no variance" if largest == 0 else f"for variances below {largest:.4g} alone"
        speed = f"like exp({rate:.4g} x^2)" if np.isfinite(rate) else "faster than any exp(c x^2)"
        raise UnsupportedError(
            f"the order 1/N with the activation {site.law.name}",
            f"it grows {speed}, so that the Gaussian average <phi^4> exists {limit}, and block "
            f"{block + 1} reads one of {float(met[:, block].max()):.4g}",
            "use smaller K0, scales, variances or depth, or an activation that grows less",
        )
