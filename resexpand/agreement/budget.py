"""Error budget of a comparison: Monte Carlo, neglected order, rounding.

A theory of infinite width compared with networks of width `N` is off by its neglected order,
and the sample itself shows how large that is. For a self-averaging observable `X` of mean `m`,

    v/N = Var(X)/m^2      (relative variance of one draw)

is the expansion parameter of the 1/N series: mean corrections are second-order effects of the
same fluctuations, `delta m ~ (1/2) f'' Var + ...`, hence of relative order `v/N` as well. The
budget takes `|m| v/N` as a bound, not as a correction. In networks of width 40 with erf, tanh and
relu, `K0` from 0.1 to 5 and residual scales up to 1, kernel and layer covariance stayed below
0.53 of it at every layer; the shift that `one_loop` states stays below 0.81 of it, for 15 smooth
and kinked activations. The variance is that of the observable itself: a control variate takes the
fluctuations out, not the bias. Three refinements:

- the largest value up to each layer is used: bias is inherited from the layers below;
- a *response* is a product over layers of factors that depend on the kernel. Its own variance
  counts the random tangent directions, which average to zero and may exceed the bias a
  thousandfold; with the kernel sampled beside it the bound is the smaller of its own `v/N` and
  `(l+1) v_K/N`, the sum over the factors;
- an *output* does not average itself out; it takes `v/N` of the kernel or layer covariance.

Extrapolated to infinite width (`resexpand.agreement.extrapolation`), the neglected order is
`1/N^2`, of coefficient `m max(v, |slope/m|)^2`: one more power of the measured parameter.

Rounding is `64 eps` per layer and unit of magnitude: a condition guess, since each layer
multiplies relative errors by a factor near one and adds a few units in the last place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from resexpand.agreement.extrapolation import ROUNDING_UNIT, Extrapolation
from resexpand.agreement.shape import Sampled, raw_variance
from resexpand.agreement.tails import Array
from resexpand.errors import HyperparameterError

RESPONSES = ("response", "chi", "covariance_response", "tangent")
CARRIERS = ("kernel", "layer_covariance")


@dataclass(frozen=True, eq=False)
class Budget:
    """Error budget of one observable, three arrays of its shape, in its own units.

    Attributes
    ----------
    stderr : ndarray
        One Monte Carlo standard error.
    neglected : ndarray
        Bound on the systematic deviation by the neglected order.
    rounding : ndarray
        Bound on rounding.
    """

    stderr: Array
    neglected: Array
    rounding: Array


def is_symmetric(values: Array) -> bool:
    """Say whether the last two axes form symmetric matrices of size two or more."""
    if values.ndim < 2 or values.shape[-1] != values.shape[-2] or values.shape[-1] < 2:
        return False
    return bool(np.allclose(values, np.swapaxes(values, -1, -2), rtol=1e-10, equal_nan=True))


def magnitude(values: Array, variance: Array | None = None) -> Array:
    """Return the natural size of each entry, strictly positive.

    The absolute value; for entries of covariance matrices at least `sqrt(K_aa K_bb)`, since an
    off-diagonal entry may vanish. Entries that are zero take the standard deviation of a single
    draw, then the largest entry, then 1.
    """
    size = np.abs(values)
    if is_symmetric(values):
        diagonal = np.diagonal(values, axis1=-2, axis2=-1)
        if np.all(diagonal >= 0.0):
            root = np.sqrt(diagonal)
            size = np.maximum(size, root[..., :, None] * root[..., None, :])
    if variance is not None:
        size = np.where(size > 0.0, size, np.sqrt(variance))
    largest = np.max(size, initial=0.0, where=np.isfinite(size))
    return np.where(size > 0.0, size, largest if largest > 0.0 else 1.0)


def layer_axis(shape: tuple[int, ...]) -> int:
    """Return the axis over the layers: the first of vectors and matrices, such as `(L+1, D, D)`."""
    is_matrix = len(shape) == 3 and shape[-1] == shape[-2]
    return 0 if is_matrix or len(shape) == 2 else len(shape) - 1


def expansion_parameter(name: str, estimates: Mapping[str, Sampled]) -> Array:
    """Estimate the parameter `v` of the 1/N series, in the shape of the estimate."""
    own = _running(estimates[name])
    if name in RESPONSES and "kernel" in estimates:
        kernel = _per_layer(_running(estimates["kernel"]))
        factors = np.arange(1, kernel.size + 1) * kernel
        bound = factors if own.ndim == 1 and factors.size == own.size else factors[-1]
        return np.minimum(own, bound)
    if name.startswith("output"):
        carried = [np.max(_running(estimates[c])) for c in CARRIERS if c in estimates]
        return np.full_like(own, max(carried)) if carried else own
    return own


def neglected_order(
    name: str,
    request: object,
    estimates: Mapping[str, Sampled],
    take: Callable[[Array], Array] = np.asarray,
) -> Array:
    """Bound the neglected order, absolute, for the entries that are compared.

    Parameters
    ----------
    name : str
        The observable.
    request : "auto", "1/N", "1/N^2", float or array_like
        `"auto"`: `1/N`, or `1/N^2` for an extrapolated estimate. `"1/N^2"`: for a theory that
        includes the order `1/N`. A float: relative to the magnitude (0: exact at this width). An
        array: absolute, one bound per compared entry.
    estimates : mapping of str to Estimate or Extrapolation
    take : callable
        Selects the compared entries from an array of the estimate's shape.

    Raises
    ------
    HyperparameterError
        For an unknown word or a bound that is negative or not finite.
    """
    estimate = estimates[name]
    mean = np.asarray(estimate.mean, dtype=float)
    size = magnitude(mean, raw_variance(estimate))
    if isinstance(request, str):
        return take(size * _relative_order(name, request, estimates, size))
    given = np.asarray(request, dtype=float)
    if not np.all(np.isfinite(given)) or np.any(given < 0.0):
        raise HyperparameterError(
            f"neglected order of {name!r}",
            "a bound on an error is finite and not negative",
            'pass 0, a relative float, an absolute array or "auto"',
        )
    if given.ndim == 0:
        return take(size * float(given))
    if given.shape != take(mean).shape:
        raise HyperparameterError(
            f"neglected order of {name!r} with shape {given.shape}",
            f"the compared entries have shape {take(mean).shape}",
            "pass one bound per entry",
        )
    return given


def rounding_bound(estimate: Sampled, theory: Array, take: Callable[[Array], Array]) -> Array:
    """Bound the rounding of the compared entries: `64 eps` per layer, times the larger side.

    The entries of a vector are parts of one whole: what is left of it is as exact as the whole.
    """
    mean = np.asarray(estimate.mean, dtype=float)
    layers = mean.shape[layer_axis(mean.shape)] if mean.shape else 1
    amplification = estimate.amplification if isinstance(estimate, Extrapolation) else 1.0
    size = take(magnitude(mean, raw_variance(estimate)))
    if mean.ndim == 2:
        size = np.full_like(size, np.max(size, initial=0.0, where=np.isfinite(size)))
    unit = take(np.broadcast_to(ROUNDING_UNIT * layers * amplification, mean.shape))
    return np.asarray(unit * np.maximum(np.abs(theory), size))


def _relative_order(
    name: str, request: str, estimates: Mapping[str, Sampled], size: Array
) -> Array:
    """Return the relative size of the neglected order named by a word."""
    if request not in ("auto", "1/N", "1/N^2"):
        raise HyperparameterError(
            f"neglected={request!r}", "no such order", 'use "auto", "1/N", "1/N^2", or a number'
        )
    estimate, v = estimates[name], expansion_parameter(name, estimates)
    if isinstance(estimate, Extrapolation):
        steepest = np.maximum(v, np.abs(estimate.slope) / size)
        return np.asarray(steepest**2 * estimate.curvature)
    epsilon = v / float(estimate.width)
    return np.asarray(epsilon**2 if request == "1/N^2" else epsilon)


def _running(estimate: Sampled) -> Array:
    """Return `v = N Var/m^2` of an estimate, its largest value up to each layer."""
    variance = raw_variance(estimate)
    size = magnitude(np.asarray(estimate.mean, dtype=float), variance)
    if isinstance(estimate, Extrapolation):
        v = estimate.fluctuation / size**2
    else:
        v = float(estimate.width) * variance / size**2
    if v.ndim == 0:
        return np.asarray(v)
    return np.asarray(np.fmax.accumulate(v, axis=layer_axis(v.shape)))


def _per_layer(v: Array) -> Array:
    """Take the largest value over the pairs of inputs, one per layer."""
    if v.ndim <= 1:
        return np.atleast_1d(v)
    axis = layer_axis(v.shape)
    return np.asarray(np.max(np.moveaxis(v, axis, 0).reshape(v.shape[axis], -1), axis=1))
