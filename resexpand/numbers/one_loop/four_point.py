r"""Cumulants of the features of several inputs: which formula serves which activation.

The features of a draw that reads ``u`` are ``F_ij = phi(u_i) phi(u_j)``, one for every pair of
inputs. Two of them at two layers involve four Gaussian variables.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.errors import UnsupportedError
from resexpand.gaussian import four_point_kinked, four_point_sign
from resexpand.numbers.one_loop.panel_averages import covariances
from resexpand.numbers.one_loop.tables import entry_index

Array = NDArray[np.float64]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Average:
    """What is asked for: four-point averages of one kind at many covariances.

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
    if (slopes := ends(law.expression)) is not None:
        return _of_kinked(asked, *slopes), 0.0
    require_averages(law)
    return covariances(law, asked.sigma, asked.same, slopes=asked.slopes)


def require_averages(law: ActivationLaw | None) -> None:
    """Refuse an activation whose four-point averages are known in no way.

    Raises
    ------
    UnsupportedError
        If the activation has jumps or kinks that no closed form knows of.
    """
    if law is None or law.is_smooth or ends(law.expression) is not None:
        return
    _, rest = law.expression.as_independent(X, as_Add=False)
    if isinstance(rest, sp.sign) and not (rest.args[0] / X).has(X):
        return
    raise UnsupportedError(
        f"the order 1/N of several inputs for the activation {law.name}",
        "its second derivative holds delta functions, and no closed average is known",
        "take one input, a smooth activation, or one that is linear on either side of zero",
    )


def ends(expression: sp.Expr) -> tuple[float, float] | None:
    """Return ``phi(1)`` and ``phi(-1)`` of a function that is linear on either side of zero."""
    positive = sp.Symbol("p", positive=True)
    right, left = (sp.expand(expression.subs(X, s * positive) / positive) for s in (1, -1))
    if right.free_symbols or left.free_symbols:
        return None
    return float(right), float(left)


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
class PairCumulants:
    """Second cumulants of the features of the stream, for several inputs.

    Attributes
    ----------
    covariance : ndarray, shape (G, B, p, B, p)
        ``Cov(F_p(u_l), F_r(u_m))``.
    slope : ndarray, shape (G, B, p, p, B, p)
        ``Cov(dF_p/dK_q(u_l), F_r(u_m))`` for ``m < l``, else 0.
    error : float
        Relative error of the averages.
    """

    covariance: Array
    slope: Array
    error: float


def pair_cumulants(law: ActivationLaw | None, kernels: Array) -> PairCumulants:
    """Return the cumulants of the features of a stream of several inputs.

    Parameters
    ----------
    law : ActivationLaw or None
        The activation; None if the stream is read as it is.
    kernels : ndarray, shape (G, B, D, D)
        Covariances at the layers, each the last one plus that of independent increments.
    """
    points, blocks, inputs, _ = kernels.shape
    index = entry_index(inputs)
    entries = list(combinations_with_replacement(range(inputs), 2))
    size = len(entries)
    covariance = np.zeros((points, blocks, size, blocks, size))
    slope = np.zeros((points, blocks, size, size, blocks, size))
    later, earlier = np.tril_indices(blocks, -1)
    each = np.arange(blocks)
    error = 0.0
    for p, own in enumerate(entries):
        for r, other in enumerate(entries):
            sigma = _joint(kernels[:, later], kernels[:, earlier], own, other)
            labels = (*((i, "late") for i in own), *((k, "early") for k in other))
            found, wrong = four_point(law, Average(sigma, labels, True))
            shaped = found.reshape((4, points, later.size))
            covariance[:, later, p, earlier, r] = shaped[0]
            covariance[:, earlier, r, later, p] = shaped[0]
            for kind, q in enumerate(_derivatives(own, index), start=1):
                slope[:, later, p, q, earlier, r] += shaped[kind]
            error = max(error, wrong)
            if r >= p:
                values, wrong = _local(law, kernels, own, other)
                covariance[:, each, p, each, r] = covariance[:, each, r, each, p] = values
                error = max(error, wrong)
    return PairCumulants(covariance, slope, error)


def local_cumulants(law: ActivationLaw | None, kernels: Array) -> tuple[Array, float]:
    """Return ``Cov(F_p(u), F_r(u))`` for covariances (G, B, D, D): shape (G, B, p, p)."""
    entries = list(combinations_with_replacement(range(kernels.shape[-1]), 2))
    values = np.zeros((*kernels.shape[:2], len(entries), len(entries)))
    error = 0.0
    for p, own in enumerate(entries):
        for r, other in enumerate(entries[p:], start=p):
            found, wrong = _local(law, kernels, own, other)
            values[..., p, r] = values[..., r, p] = found
            error = max(error, wrong)
    return values, error


def _local(
    law: ActivationLaw | None, kernels: Array, own: Pair, other: Pair
) -> tuple[Array, float]:
    sigma = _joint(kernels, kernels, own, other)
    found, error = four_point(law, Average(sigma, (*own, *other), False))
    return found[0].reshape(kernels.shape[:2]), error


def _joint(late: Array, early: Array, own: Pair, other: Pair) -> Array:
    """Return the covariances of the four variables, flat: (points x layers, 4, 4)."""
    inside = late[..., own, :][..., own]
    before = early[..., other, :][..., other]
    across = early[..., own, :][..., other]
    top = np.concatenate([inside, across], axis=-1)
    bottom = np.concatenate([np.swapaxes(across, -1, -2), before], axis=-1)
    return np.concatenate([top, bottom], axis=-2).reshape(-1, 4, 4)


def _derivatives(own: Pair, index: dict[Pair, int]) -> tuple[int, int, int]:
    """Return the entries by which the three derivatives are taken."""
    i, j = own
    return index[i, i], index[i, j], index[j, j]
