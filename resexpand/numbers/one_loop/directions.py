r"""Cumulants of derivatives of features along the values of neurons: what averages move.

An average in front of an activation changes slope and shift of what it acts on, and the features
``F = phi(z_p) phi(z_q)`` of a neuron by ``z_q dF/dz_q`` and ``dF/dz_q``. Given are their
covariances with the features at an earlier layer.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.errors import UnsupportedError
from resexpand.gaussian import four_point_kinked
from resexpand.numbers.one_loop.chain import counts
from resexpand.numbers.one_loop.four_point import joint
from resexpand.numbers.one_loop.panel_averages import covariances
from resexpand.numbers.one_loop.tables import entry_pairs

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Directions:
    """Covariances of derivatives of the features, shape ``(n, p, D, p)``.

    Attributes
    ----------
    scaled : ndarray
        ``Cov(z_q dF_p/dz_q, F_r)``.
    drift : ndarray
        ``Cov(dF_p/dz_q, F_r)``.
    error : float
        Relative error of the averages.
    """

    scaled: Array
    drift: Array
    error: float


@dataclass(frozen=True)
class Along(ActivationLaw):
    """An activation whose second derivative is replaced by twice another function.

    The half of a second derivative by one variable is what quadratures average beside an
    activation; with `direction` in its place they average that.
    """

    direction: sp.Expr = sp.S.Zero

    def derivative(self, order: int) -> sp.Expr:
        """Return the activation, nothing, and twice the direction."""
        return (super().derivative(0), sp.Integer(0), 2 * self.direction)[order]


@cache
def _along(law: ActivationLaw, factor: sp.Expr) -> Along:
    given = {field.name: getattr(law, field.name) for field in fields(ActivationLaw)}
    return Along(**given, direction=factor * law.derivative(1))


def directions(
    law: ActivationLaw | None, late: Array, early: Array, cross: Array, covariance: Array
) -> Directions:
    """Return the covariances of derivatives of the features.

    Parameters
    ----------
    law : ActivationLaw or None
        The activation, smooth or linear on either side of zero.
    late, early, cross : ndarray, shape (n, D, D)
        Covariances at the later layer, at the earlier one, and between them.
    covariance : ndarray, shape (n, p, p)
        Those of the features themselves.
    """
    inputs = late.shape[-1]
    entries = entry_pairs(inputs)
    shape = (*covariance.shape[:2], inputs, covariance.shape[-1])
    scaled, drift, error = np.zeros(shape), np.zeros(shape), 0.0
    homogeneous = law is None or law.ends is not None
    if homogeneous:
        # z phi'(z) = phi(z).
        scaled = np.einsum("pq,npr->npqr", counts(inputs), covariance)
    if law is None or (homogeneous and law.is_odd):
        return Directions(scaled, drift, 0.0)
    for p, own in enumerate(entries):
        for r, other in enumerate(entries):
            same = own[0] == own[1], other[0] == other[1]
            sigma = joint(late, early, cross, own, other)
            if homogeneous:
                assert law.ends is not None
                labels = (*own, *((k, "early") for k in other))
                both = four_point_kinked.drifts(sigma, labels, *map(float, law.ends))
                for q, value in zip(own, both, strict=True):
                    drift[:, p, q, r] += value
                continue
            for table, factor in ((scaled, X), (drift, sp.Integer(1))):
                if factor == 1 and law.is_odd:
                    continue
                found, wrong = covariances(_along(law, factor), sigma, same, slopes=True)
                error = max(error, wrong)
                # Of one variable the derivative stands in the second place.
                places = (2,) if same[0] else (1, 3)
                for q, place in zip(own, places, strict=False):
                    table[:, p, q, r] += found[place]
    return Directions(scaled, drift, error)


def require_directions(law: ActivationLaw | None) -> None:
    """Refuse an activation of which derivatives along its argument have no averages here.

    Raises
    ------
    UnsupportedError
        If it has kinks or jumps and is not linear on either side of zero.
    """
    if law is not None and not law.is_smooth and law.ends is None:
        raise UnsupportedError(
            f"the order 1/N of a normalisation in front of the activation {law.name}",
            "what the averages of the normalisation move is not known at its kinks and jumps",
            "use a smooth activation, or one that is linear on either side of zero",
        )
