r"""Cumulants of the square ``f = phi^2`` in closed form: which one serves which activation.

For a Gaussian pair ``(x, y)`` with variances ``a, b`` and covariance ``c`` these are

    Cov(f(x), f(y))    and    Cov(f''(x)/2, f(y)).
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
    return _kinked(law)


def _ratio(argument: sp.Expr) -> sp.Expr | None:
    """Return s of an argument ``s x``, None if it is no such multiple."""
    ratio = argument / X
    return None if ratio.has(X) else ratio


def _kinked(law: ActivationLaw) -> ClosedForm | None:
    """Return the closed form of a function that is linear on either side of zero."""
    if law.ends is None:
        return None
    right, left = law.ends
    even, odd = float((right**2 + left**2) / 2), float((right**2 - left**2) / 2)
    return ClosedForm(
        partial(closed.kinked_covariance, even=even, odd=odd),
        partial(closed.kinked_slope, odd=odd),
    )
