r"""Cumulants of the features of one stream: which formula serves which activation.

`stream_cumulants` gives, for the variances ``K^0 <= K^1 <= ...`` of the stream,

    Cov(f(h^l), f(h^m))    and    Cov(f''(h^l)/2, f(h^m)) for m < l,    f = phi^2,

in closed form where one is known, else by quadrature with a stated error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.gaussian import two_point_closed as closed
from resexpand.numbers.one_loop import panel_averages

Array = NDArray[np.float64]

Average = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True)
class ClosedForm:
    """Covariance and slope as functions of two variances and their covariance."""

    covariance: Average
    slope: Average


def _nothing(a: Array, b: Array, c: Array) -> Array:
    return np.zeros(np.broadcast_shapes(a.shape, b.shape, c.shape))


def _square(a: Array, b: Array, c: Array) -> Array:
    result: Array = 2 * c * c + 0 * (a + b)
    return result


def _scaled(factor: float, function: Average) -> Average:
    def scaled(a: Array, b: Array, c: Array) -> Array:
        return factor * function(a, b, c)

    return scaled


@cache
def closed_form(law: ActivationLaw | None) -> ClosedForm | None:
    """Return the closed form for an activation; ``None`` as the law stands for none in front."""
    if law is None:
        return ClosedForm(_square, _nothing)
    amplitude, rest = law.expression.as_independent(X, as_Add=False)
    fourth = float(amplitude**4)
    if rest == X:
        return ClosedForm(_scaled(fourth, _square), _nothing)
    if isinstance(rest, sp.sign) and _ratio(rest.args[0]) is not None:
        return ClosedForm(_nothing, _nothing)
    for head, covariance, slope in (
        (sp.erf, closed.erf_covariance, closed.erf_slope),
        (sp.sin, closed.sine_covariance, closed.sine_slope),
    ):
        ratio = _ratio(rest.args[0]) if isinstance(rest, head) else None
        if ratio is not None:
            q = float(2 * ratio**2)
            parts = (partial(function, q=q) for function in (covariance, slope))
            return ClosedForm(*(_scaled(fourth, part) for part in parts))
    return _kinked(law.expression)


def _ratio(argument: sp.Expr) -> sp.Expr | None:
    """Return s of an argument ``s x``, None if it is no such multiple."""
    ratio = argument / X
    return None if ratio.has(X) else ratio


def _kinked(expression: sp.Expr) -> ClosedForm | None:
    """Return the closed form of a function that is linear on either side of zero."""
    positive = sp.Symbol("p", positive=True)
    right, left = (sp.expand(expression.subs(X, s * positive) / positive) for s in (1, -1))
    if right.free_symbols or left.free_symbols:
        return None
    even, odd = float((right**2 + left**2) / 2), float((right**2 - left**2) / 2)
    return ClosedForm(
        partial(closed.kinked_covariance, even=even, odd=odd),
        partial(closed.kinked_slope, odd=odd),
    )


@dataclass(frozen=True)
class Cumulants:
    """Second cumulants of the features of the stream.

    Attributes
    ----------
    covariance : ndarray, shape (G, B, B)
        ``Cov(f(h^l), f(h^m))``.
    slope : ndarray, shape (G, B, B)
        ``Cov(f''(h^l)/2, f(h^m))`` for ``m < l``, else 0.
    error : float
        Relative error of the quadrature, 0 for closed forms.
    """

    covariance: Array
    slope: Array
    error: float


def stream_cumulants(law: ActivationLaw | None, kernels: Array) -> Cumulants:
    """Return the cumulants of the features of a stream.

    Parameters
    ----------
    law : ActivationLaw or None
        The activation; None if the stream is read as it is.
    kernels : ndarray, shape (G, B)
        Variances at the layers, ascending.
    """
    form = closed_form(law)
    later, earlier = np.tril_indices(kernels.shape[1])
    late, early = kernels[:, later], kernels[:, earlier]
    if form is not None:
        values = form.covariance(late, early, early), form.slope(late, early, early)
        error = 0.0
    else:
        assert law is not None
        values, error = _by_quadrature(law, late, early)
    covariance, slope = (np.zeros((*kernels.shape, kernels.shape[1])) for _ in range(2))
    covariance[:, later, earlier] = covariance[:, earlier, later] = values[0]
    slope[:, later, earlier] = np.where(later > earlier, values[1], 0.0)
    return Cumulants(covariance, slope, error)


def local_variance(law: ActivationLaw | None, variance: Array) -> tuple[Array, float]:
    """Return ``Var f(u)`` for ``u`` of given variances, and the relative error."""
    flat = variance.reshape(-1, 1)
    found = stream_cumulants(law, flat)
    return found.covariance.reshape(variance.shape), found.error


def _by_quadrature(
    law: ActivationLaw, late: Array, early: Array
) -> tuple[tuple[Array, Array], float]:
    """Return covariances and slopes; the stream of a later layer contains that of the earlier."""
    a, c = late.ravel(), early.ravel()
    sigma = np.empty((a.size, 4, 4))
    sigma[:] = c[:, None, None]
    sigma[:, :2, :2] = a[:, None, None]
    values, error = panel_averages.covariances(law, sigma, (True, True), slopes=True)
    return (values[0].reshape(late.shape), values[2].reshape(late.shape)), error
