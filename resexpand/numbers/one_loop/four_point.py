r"""Cumulants of features: which formula serves which activation.

The features of a draw that reads ``u`` are ``F_ij = phi(u_i) phi(u_j)``, one for every pair of
inputs. Two of them at two layers involve four Gaussian variables, or two where the inputs of either
feature are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.errors import UnsupportedError
from resexpand.gaussian import four_point_kinked, four_point_sign
from resexpand.numbers.one_loop.panel_averages import covariances
from resexpand.numbers.one_loop.tables import entry_index, entry_pairs
from resexpand.numbers.one_loop.two_point import closed_form

Array = NDArray[np.float64]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Average:
    """Request for four-point averages of one kind at many covariances.

    Attributes
    ----------
    sigma : ndarray, shape (n, 4, 4)
        Covariances of the two variables of the later layer, then of the earlier.
    labels : tuple
        One per variable: input and layer. Equal labels are one variable.
    slopes : bool
        Whether derivatives with respect to the covariances of the later layer are wanted.
    """

    sigma: Array
    labels: tuple[object, ...]
    slopes: bool

    @property
    def same(self) -> tuple[bool, bool]:
        """Whether the variables of a pair are one and the same."""
        return self.labels[0] == self.labels[1], self.labels[2] == self.labels[3]


Found = tuple[Array, float]
"""Rows: covariance, derivatives with respect to S_11, S_12, S_22; and the relative error. For one
and the same later variable the derivative with respect to its variance stands for that of S_12."""


def four_point(law: ActivationLaw | None, asked: Average) -> Found:
    """Return four-point averages of an activation; None stands for no activation in front.

    Raises
    ------
    UnsupportedError
        If the activation is neither smooth nor has a closed form.
    """
    if law is None:
        return _wick(asked.sigma, 1.0), 0.0
    amplitude, rest = law.expression.as_independent(X, as_Add=False)
    ratio = rest.args[0] / X if isinstance(rest, sp.erf | sp.sign) else X
    if rest == X:
        return _wick(asked.sigma, float(amplitude**4)), 0.0
    if not ratio.has(X):
        noise = float(1 / (2 * ratio**2)) if isinstance(rest, sp.erf) else 0.0
        return float(amplitude**4) * _of_signs(asked, noise), 0.0
    if law.ends is not None:
        return _of_kinked(asked, *map(float, law.ends)), 0.0
    if not all(asked.same):
        require_averages(law)
    return covariances(law, asked.sigma, asked.same, slopes=asked.slopes)


def require_averages(law: ActivationLaw | None) -> None:
    """Refuse an activation whose four-point averages are known in no way.

    Raises
    ------
    UnsupportedError
        If the activation has jumps or kinks that no closed form knows of.
    """
    if law is None or law.is_smooth or law.ends is not None:
        return
    _, rest = law.expression.as_independent(X, as_Add=False)
    if isinstance(rest, sp.sign) and not (rest.args[0] / X).has(X):
        return
    raise UnsupportedError(
        f"the order 1/N of several inputs for the activation {law.name}",
        "its second derivative holds delta functions, and no closed average is known",
        "take one input, a smooth activation, or one that is linear on either side of zero",
    )


def _wick(sigma: Array, factor: float) -> Array:
    values = np.zeros((4, sigma.shape[0]))
    values[0] = sigma[:, 0, 2] * sigma[:, 1, 3] + sigma[:, 0, 3] * sigma[:, 1, 2]
    return factor * values


def _of_signs(asked: Average, noise: float) -> Array:
    values = np.zeros((4, asked.sigma.shape[0]))
    if noise == 0.0 and any(asked.same):
        # The square of a sign is one.
        return values
    values[0] = four_point_sign.covariance(asked.sigma, noise)
    if asked.slopes:
        values[1:] = four_point_sign.slopes(asked.sigma, noise)
        if asked.same[0]:
            values[2] = values[1:].sum(axis=0)
            values[1] = values[3] = 0.0
    return values


def _of_kinked(asked: Average, right: float, left: float) -> Array:
    values = np.zeros((4, asked.sigma.shape[0]))
    values[0] = four_point_kinked.covariance(asked.sigma, asked.labels, right, left)
    if asked.slopes:
        values[1:] = four_point_kinked.slopes(asked.sigma, asked.labels, right, left)
    return values


@dataclass(frozen=True)
class Cumulants:
    """Second cumulants of the features at two layers.

    Attributes
    ----------
    covariance : ndarray, shape (n, p, p)
        ``Cov(F_p(z), F_r(x))``.
    slope : ndarray, shape (n, p, p, p)
        ``Cov(dF_p/dK_q(z), F_r(x))``, 0 where they are not asked for.
    error : float
        Relative error of the averages.
    """

    covariance: Array
    slope: Array
    error: float


def feature_cumulants(
    law: ActivationLaw | None, late: Array, early: Array, cross: Array, *, one_layer: bool
) -> Cumulants:
    """Return the cumulants of the features of all pairs of inputs.

    Parameters
    ----------
    law : ActivationLaw or None
        The activation; None if there is none in front.
    late, early, cross : ndarray, shape (n, D, D)
        Covariances at the later layer, at the earlier one, and between them.
    one_layer : bool
        Whether both layers are the same; then there are no slopes.
    """
    inputs = late.shape[-1]
    index, entries = entry_index(inputs), entry_pairs(inputs)
    covariance = np.zeros((late.shape[0], len(entries), len(entries)))
    slope = np.zeros((*covariance.shape[:2], *covariance.shape[1:]))
    error = 0.0
    for p, own in enumerate(entries):
        for r, other in enumerate(entries):
            if one_layer and r < p:
                continue
            closed = closed_form(law) if own[0] == own[1] and other[0] == other[1] else None
            if closed is not None:
                i, k = own[0], other[0]
                a, b, c = late[:, i, i], early[:, k, k], cross[:, i, k]
                covariance[:, p, r] = closed.covariance(a, b, c)
                if one_layer:
                    covariance[:, r, p] = covariance[:, p, r]
                else:
                    slope[:, p, p, r] = closed.slope(a, b, c)
                continue
            sigma = joint(late, early, cross, own, other)
            early_labels = other if one_layer else tuple((k, "early") for k in other)
            found, wrong = four_point(law, Average(sigma, (*own, *early_labels), not one_layer))
            covariance[:, p, r] = found[0]
            error = max(error, wrong)
            if one_layer:
                covariance[:, r, p] = found[0]
                continue
            for kind, q in enumerate(_derivatives(own, index), start=1):
                slope[:, p, q, r] += found[kind]
    return Cumulants(covariance, slope, error)


def joint(late: Array, early: Array, cross: Array, own: Pair, other: Pair) -> Array:
    """Return the covariances of the four variables, ``(n, 4, 4)``."""
    first, second = np.array(own), np.array(other)
    across = cross[:, first[:, None], second]
    top = np.concatenate([late[:, first[:, None], first], across], axis=-1)
    before = early[:, second[:, None], second]
    bottom = np.concatenate([np.swapaxes(across, -1, -2), before], axis=-1)
    return np.concatenate([top, bottom], axis=-2)


def _derivatives(own: Pair, index: dict[Pair, int]) -> tuple[int, int, int]:
    """Return the entries by which the three derivatives are taken."""
    i, j = own
    return index[i, i], index[i, j], index[j, j]
