r"""Are two samples of one law? Kolmogorov-Smirnov and energy tests, corrected for their number.

Kolmogorov-Smirnov, for one component: `D = sup |F_x - F_y|`, and with `n = n_x n_y/(n_x + n_y)`,
`a = (sqrt(n) + 0.12 + 0.11/sqrt(n)) D` (M. A. Stephens 1970), `p = 2 sum_k (-1)^(k-1) exp(-2 k^2
a^2)`. Atoms make it conservative.

Energy, for all components at once: `E = 2 E|X - Y| - E|X - X'| - E|Y - Y'|` vanishes if and only
if the laws are equal (Székely & Rizzo 2013). Components are replaced by their ranks in the pooled
sample, so that no tail and no unit matters. E is estimated without bias within blocks of `BLOCK`
draws of each sample, and the blocks are averaged (Zaremba, Gretton & Blaschko, arXiv:1307.1954):
their mean is normal, also far out in the tail, where permutations would need millions of repeats.

Draws are rounded to `DIGITS` digits first: atoms must not be told apart by rounding errors.

A test that could not have seen a difference supports no law. With `m` comparisons at a level, the
largest `D` that agrees is `d` with tail `level/m`; two laws whose distribution functions are `d +
sqrt(log(1/0.05)/(2n))` apart are told apart with probability 0.95 (P. Massart 1990). Where that
is more than `resolve` the verdict is *inconclusive*.

Many comparisons are judged together by Holm's procedure, which bounds the probability of one or
more false rejections under any dependence.

Source: M. A. Stephens, J. R. Stat. Soc. B 32 (1970) 115; G. J. Székely, M. L. Rizzo, J. Stat. Plan.
Inference 143 (2013) 1249, doi:10.1016/j.jspi.2013.03.018; S. Holm, Scand. J. Stat. 6 (1979) 65;
P. Massart, Ann. Probab. 18 (1990) 1269.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from resexpand.agreement.tails import Array
from resexpand.agreement.verdict import AGREES, DISAGREES, INCONCLUSIVE, POWER_TAIL
from resexpand.errors import HyperparameterError
from support.claims import Finding

BLOCK = 32
DIGITS = 9
FEWEST_BLOCKS = 20
SMALLEST = 1e-300
"""Smallest p-value that is written down."""


class Comparison(NamedTuple):
    """One test of two samples."""

    label: str
    test: str
    statistic: float
    p: float
    draws: float = math.inf
    """Effective number of draws, `n_x n_y/(n_x + n_y)`."""

    @property
    def z(self) -> float:
        """The normal deviate of the same two-sided tail."""
        return -float(ndtri(max(min(self.p, 1 - 1e-12), SMALLEST) / 2))


@dataclass(frozen=True)
class LawAgreement(Finding):
    """Many comparisons of two samples, judged together.

    Attributes
    ----------
    comparisons : tuple of Comparison
    level : float
        Probability of one or more false rejections.
    resolve : float
        Largest difference of the distribution functions, between 0 and 1, that may stay unseen.
    """

    comparisons: tuple[Comparison, ...]
    level: float = 0.0027
    resolve: float = 0.15

    @property
    def rejected(self) -> tuple[Comparison, ...]:
        """The comparisons that Holm's procedure rejects, worst first."""
        ordered = sorted(self.comparisons, key=lambda found: found.p)
        kept = next(
            (k for k, c in enumerate(ordered) if c.p > self.level / (len(ordered) - k)),
            len(ordered),
        )
        return tuple(ordered[:kept])

    @property
    def resolution(self) -> float:
        """Difference of the distribution functions that every comparison would have seen."""
        tail = self.level / len(self.comparisons)
        factor = math.sqrt(math.log(2 / tail) / 2) + math.sqrt(-math.log(POWER_TAIL) / 2)
        return factor / math.sqrt(min(found.draws for found in self.comparisons))

    @property
    def verdict(self) -> str:
        """``"disagrees"`` if one is rejected, ``"inconclusive"`` if one is blind."""
        if self.rejected:
            return DISAGREES
        return AGREES if self.resolution <= self.resolve else INCONCLUSIVE

    @property
    def worst(self) -> Comparison:
        """The comparison with the smallest p-value."""
        return min(self.comparisons, key=lambda found: found.p)

    @property
    def reason(self) -> str:
        """Why, in one sentence."""
        worst, count = self.worst, len(self.comparisons)
        least = f"smallest p = {worst.p:.2g} ({worst.test}, {worst.label}) of {count}"
        if self.rejected:
            return f"{len(self.rejected)} comparisons are rejected at {self.level:g}: {least}"
        seen = f"distribution functions {self.resolution:.2g} apart would have been told apart"
        blind = "" if self.resolution <= self.resolve else f", not {self.resolve:g}: draw more"
        return f"no comparison is rejected at {self.level:g}: {least}; {seen}{blind}"

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Every comparison."""
        return [found._asdict() for found in self.comparisons]


def compare_laws(label: str, first: Array, second: Array) -> list[Comparison]:
    """Compare two samples of rows: the last component alone, and all components together.

    Parameters
    ----------
    label : str
    first, second : ndarray, shape (n, ...)
        Independent draws along the first axis.

    Raises
    ------
    HyperparameterError
        If the draws are too few, NaN, or not of one shape. Infinite draws are values as others.
    """
    x, y = (np.asarray(s, dtype=float).reshape(len(s), -1) for s in (first, second))
    fewest = BLOCK * FEWEST_BLOCKS
    if min(len(x), len(y)) < fewest or x.shape[1] != y.shape[1]:
        raise HyperparameterError(
            f"comparing two samples of {label}",
            f"{len(x)} draws of {x.shape[1]} and {len(y)} of {y.shape[1]} components",
            f"give {fewest} or more draws of the same components",
        )
    if np.isnan(x).any() or np.isnan(y).any():
        raise HyperparameterError(
            f"comparing two samples of {label}", "some draws are NaN", "leave them out"
        )
    x, y = _rounded(x), _rounded(y)
    draws = len(x) * len(y) / (len(x) + len(y))
    return [
        Comparison(label, "Kolmogorov-Smirnov", *kolmogorov_smirnov(x[:, -1], y[:, -1]), draws),
        Comparison(label, "energy", *energy(x, y), draws),
    ]


def kolmogorov_smirnov(x: Array, y: Array) -> tuple[float, float]:
    """Return the largest difference of the two distribution functions, and its p-value."""
    x, y = np.sort(x), np.sort(y)
    places = np.concatenate([x, y])
    below = [np.searchsorted(s, places, side="right") / len(s) for s in (x, y)]
    distance = float(np.max(np.abs(below[0] - below[1])))
    root = math.sqrt(len(x) * len(y) / (len(x) + len(y)))
    return distance, _kolmogorov_tail((root + 0.12 + 0.11 / root) * distance)


def _kolmogorov_tail(a: float) -> float:
    if a < 0.2:  # there the series has not begun to converge, and the tail is 1 to 12 digits
        return 1.0
    terms = ((-1) ** (k - 1) * math.exp(-2 * (k * a) ** 2) for k in range(1, 101))
    return float(min(max(2 * sum(terms), SMALLEST), 1.0))


def energy(x: Array, y: Array, block: int = BLOCK) -> tuple[float, float]:
    """Return the mean energy distance of the ranks, and its p-value; samples of shape (n, d)."""
    pooled = np.concatenate([x, y])
    moves = pooled.max(axis=0) > pooled.min(axis=0)
    if not moves.any():
        return 0.0, 1.0
    a, b = _ranks(x[:, moves], y[:, moves])
    blocks = min(len(a), len(b)) // block
    a, b = (s[: blocks * block].reshape(blocks, block, -1) for s in (a, b))
    pairs = block * (block - 1)
    found = (
        2 * _distances(a, b).mean(axis=(1, 2))
        - _distances(a, a).sum(axis=(1, 2)) / pairs
        - _distances(b, b).sum(axis=(1, 2)) / pairs
    )
    mean, error = found.mean(), found.std(ddof=1) / math.sqrt(blocks)
    tail = float(ndtr(-mean / error)) if error > 0 else 1.0
    return float(mean), max(tail, SMALLEST)


def _distances(a: Array, b: Array) -> Array:
    """Return |a_i - b_j| within each block, shape (blocks, block, block)."""
    product = np.einsum("kid,kjd->kij", a, b)
    squares = (a**2).sum(axis=2)[:, :, None] + (b**2).sum(axis=2)[:, None, :] - 2 * product
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))


def _ranks(x: Array, y: Array) -> tuple[Array, Array]:
    """Return the pooled ranks of every component between 0 and 1, equal for equal values."""
    pooled = np.concatenate([x, y])
    ranks = np.empty_like(pooled)
    for k in range(pooled.shape[1]):
        _, inverse, counts = np.unique(pooled[:, k], return_inverse=True, return_counts=True)
        middle = np.cumsum(counts) - (counts - 1) / 2
        ranks[:, k] = middle[inverse] / len(pooled)
    return ranks[: len(x)], ranks[len(x) :]


def _rounded(rows: Array) -> Array:
    """Return the rows with `DIGITS` significant digits."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        unit = 10.0 ** (np.ceil(np.log10(np.abs(rows))) - DIGITS)
        rounded = np.round(rows / unit) * unit
    return np.where(np.isinf(rows), rows, np.where(np.isfinite(rounded), rounded, 0.0))


def judged_together(found: Iterable[Sequence[Comparison]], level: float = 0.0027) -> LawAgreement:
    """Return all comparisons as one agreement."""
    return LawAgreement(tuple(one for several in found for one in several), level)
