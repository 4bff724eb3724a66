r"""The law of an estimated mean, as far as the sample tells it: skewness, degrees of freedom.

Student's statistic is judged by its tail, far out, where the law of the draws still shows. Of a sum
`sum_i l_i y_i` of independent means with standard errors `s_i` three numbers are kept:

lean
    The skewness of the sum, `sum (l_i s_i)^3 a_i / S^3` with `S^2 = sum (l_i s_i)^2` and `a_i` the
    skewness of the draws over `sqrt(n_i)`.
doubt
    How far the lean of a sample of normal draws is off, `sqrt(6)/n` for one mean, added likewise.
freedom
    Degrees of freedom. The variance of `n` draws of kurtosis `kappa` is known to `(kappa - 1)/n`,
    as that of `2n/(kappa - 1)` normal draws, the effective number of draws; this, at most `n`, less
    one is the freedom of a mean. Sums add up as B. L. Welch and F. E. Satterthwaite say:
    `S^4 / sum (l_i s_i)^4/freedom_i`.

Budgets of the neglected order need how much the observable itself fluctuates from network to
network: `raw_variance`. Of a run with a control variate the variance is that of what is left.

Source: B. L. Welch, Biometrika 34 (1947) 28; F. E. Satterthwaite, Biometrics Bull. 2 (1946) 110.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from resexpand.agreement.tails import Array


class Sampled(Protocol):
    """Attributes that are read of an estimate: `Estimate` and `Extrapolation` both have them."""

    @property
    def name(self) -> str:
        """Name of the observable."""

    @property
    def mean(self) -> Any:
        """Mean over the draws."""

    @property
    def stderr(self) -> Any:
        """Standard error of the mean."""

    @property
    def variance(self) -> Any:
        """Variance of a single draw."""

    @property
    def n(self) -> int:
        """Number of draws."""

    @property
    def status(self) -> str:
        """`"ok"`, or a sentence."""

    @property
    def flags(self) -> tuple[str, ...]:
        """Health flags."""

    @property
    def width(self) -> Any:
        """Width of the network."""


@dataclass(frozen=True, eq=False)
class Shape:
    """Shape of the law of an estimate, arrays of its shape; see the module's opening."""

    lean: Array
    doubt: Array
    freedom: Array


def roughness(estimate: Sampled) -> Array:
    """Return the relative uncertainty of the standard error, 0 where the estimate states none."""
    stated = getattr(estimate, "stderr_uncertainty", np.zeros(np.shape(estimate.mean)))
    return np.asarray(stated, dtype=float)


def raw_variance(estimate: Sampled) -> Array:
    """Return the variance of a single draw before any control variate was subtracted."""
    return np.asarray(getattr(estimate, "plain", estimate).variance, dtype=float)


def shape_of(estimate: Sampled) -> Shape:
    """Return the shape of an estimate; normal draws are assumed where it states no skewness."""
    stated = getattr(estimate, "shape", None)
    if isinstance(stated, Shape):
        return stated
    lean, n = getattr(estimate, "lean", None), float(estimate.n)
    none = np.zeros(np.shape(estimate.mean))
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = np.fmin(n, 0.5 / roughness(estimate) ** 2)
    return Shape(
        lean=none if lean is None else np.asarray(lean, dtype=float),
        doubt=none if lean is None else none + np.sqrt(6.0) / n,
        freedom=np.maximum(effective - 1.0, 1.0),
    )


def shape_of_sum(parts: Sequence[Array], shapes: Sequence[Shape]) -> Shape:
    """Return the shape of a sum of independent estimates, `parts` their `l_i s_i`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        total = np.sqrt(sum(part**2 for part in parts))
        shares = [np.where(total > 0.0, part / total, 0.0) for part in parts]
        pairs = list(zip(shares, shapes, strict=True))
        lost = sum(share**4 / shape.freedom for share, shape in pairs)
        least = np.min([shape.freedom for shape in shapes], axis=0)
        return Shape(
            lean=np.asarray(sum(share**3 * shape.lean for share, shape in pairs)),
            doubt=np.asarray(sum(np.abs(share) ** 3 * shape.doubt for share, shape in pairs)),
            freedom=np.where(lost > 0.0, 1.0 / lost, least),
        )
