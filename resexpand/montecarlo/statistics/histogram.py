r"""Full laws: integer counts between fixed edges, and the quantiles that they confine.

With edges `e_0 < e_1 < ... < e_B` a component has B + 2 bins,

    bin 0          x < e_0
    bin k          e_{k-1} <= x < e_k,       k = 1 ... B
    bin B + 1      x >= e_B (infinite values too)

and a draw that is NaN is in none. Counts are integers: they merge exactly, in any order.

The q-quantile Q of n independent draws lies between two order statistics, whatever the law,

    P( x_(r) <= Q <= x_(s) ) >= P( r <= K < s ),     K ~ Binomial(n, q),

so that ranks r, s of the binomial law give a confidence interval; the histogram widens it to the
edges of the bins that hold them. It is conservative, and never needs a density.

Source: H. A. David, H. N. Nagaraja, *Order Statistics* (2003), section 7.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resexpand.errors import HyperparameterError
from resexpand.montecarlo.statistics.intervals import binomial_ranks
from resexpand.montecarlo.statistics.moments import Floats, Integers

MOST_EDGES = 2**20


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts of draws by bin, component by component.

    Attributes
    ----------
    draws : int
        Draws seen, NaN or not.
    counts : ndarray of int64, shape (..., B + 2)
    """

    draws: int
    counts: Integers

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the counts: components, then bins."""
        return self.counts.shape

    @classmethod
    def of(cls, rows: Floats, edges: Floats) -> Counts:
        """Return the counts of some draws, one per row of shape (n, ...)."""
        bins, shape = len(edges) + 1, rows.shape[1:]
        components = int(np.prod(shape, dtype=np.int64))
        places = np.searchsorted(edges, rows.reshape(len(rows), components), side="right")
        places += bins * np.arange(components)
        known = places[~np.isnan(rows.reshape(places.shape))]
        counts = np.bincount(known, minlength=bins * components)
        return cls(len(rows), counts.astype(np.int64).reshape(*shape, bins))

    def merge(self, other: Counts) -> Counts:
        """Return the counts of both sets of draws."""
        return Counts(self.draws + other.draws, self.counts + other.counts)

    def to_bytes(self) -> bytes:
        """Return the exact state as bytes: little-endian 64-bit words, `draws` first."""
        head = np.array([self.draws], dtype="<i8").tobytes()
        return head + self.counts.astype("<i8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes, shape: tuple[int, ...]) -> Counts:
        """Rebuild the state written by `to_bytes`.

        Raises
        ------
        ValueError
            If the bytes do not hold counts of the given shape.
        """
        size = int(np.prod(shape, dtype=np.int64))
        if len(data) != 8 * (1 + size):
            raise ValueError(f"{len(data)} bytes do not hold {size} counts")
        words = np.frombuffer(data, "<i8").astype(np.int64)
        return cls(int(words[0]), words[1:].reshape(shape))


class Quantile(NamedTuple):
    """A quantile by component: estimate, and the ends of its confidence interval."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, eq=False)
class Histogram:
    """The law of one observable between fixed edges.

    Attributes
    ----------
    edges : ndarray, shape (B + 1,)
    sums : Counts
        Bins below, between and above the edges.

    Examples
    --------
    >>> import numpy as np
    >>> from resexpand.montecarlo.statistics.histogram import Counts, Histogram
    >>> edges = np.linspace(0.0, 1.0, 11)
    >>> draws = (np.arange(1000)[:, None] + 0.5) / 1000
    >>> law = Histogram(edges, Counts.of(draws, edges))
    >>> law.counts[0].tolist()
    [0, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 0]
    >>> median = law.quantile(0.5)
    >>> bool(median.low[0] <= 0.5 <= median.high[0])
    True
    """

    edges: Floats
    sums: Counts

    @property
    def counts(self) -> Integers:
        """Counts by bin, shape (..., B + 2): the first and last are outside the edges."""
        return self.sums.counts

    @property
    def outside(self) -> Floats:
        """Share of the draws outside the edges or NaN, by component."""
        inside = self.counts[..., 1:-1].sum(axis=-1)
        return np.asarray(1 - inside / max(self.sums.draws, 1))

    @property
    def density(self) -> Floats:
        """Share of the draws per unit of x between the edges, shape (..., B)."""
        return np.asarray(self.counts[..., 1:-1] / max(self.sums.draws, 1) / np.diff(self.edges))

    @property
    def density_stderr(self) -> Floats:
        """Standard error of the density: the counts are binomial."""
        n = max(self.sums.draws, 1)
        share = self.counts[..., 1:-1] / n
        return np.asarray(np.sqrt(share * (1 - share) / n) / np.diff(self.edges))

    @property
    def distribution(self) -> Floats:
        """Share of the draws below each edge, shape (..., B + 1)."""
        below = np.cumsum(self.counts, axis=-1)[..., :-1]
        return np.asarray(below / max(self.sums.draws, 1))

    def quantile(self, q: float, confidence: float = 0.95) -> Quantile:
        """Return the q-quantile of every component with its confidence interval.

        Parameters
        ----------
        q : float
            Between 0 and 1, exclusive.
        confidence : float
            Probability with which the interval holds the quantile, at least.

        Returns
        -------
        Quantile
            `value` is interpolated within its bin. Where a bin outside the edges holds it, it is
            infinite, and so is an end of the interval there or where the draws are too few; all
            are NaN where a draw was NaN.

        Raises
        ------
        HyperparameterError
            If q or confidence is not between 0 and 1.
        """
        for name, number in (("q", q), ("confidence", confidence)):
            if isinstance(number, (str, bytes)) or not 0 < number < 1:
                raise HyperparameterError(f"{name}={number!r}", "not between 0 and 1", "use 0.5")
        n = self.sums.draws
        first, last = binomial_ranks(n, q, confidence)
        below = np.cumsum(self.counts, axis=-1)
        walls = np.concatenate([[-np.inf], self.edges, [np.inf]])
        low = walls[self._bin(below, first)] if first >= 1 else np.full(below.shape[:-1], -np.inf)
        high = np.full(below.shape[:-1], np.inf)
        if last <= n:
            high = walls[self._bin(below, last) + 1]
        value = self._interpolated(below, q * n, walls)
        known = below[..., -1] == n
        return Quantile(*(np.where(known, x, np.nan) for x in (value, low, high)))

    @staticmethod
    def _bin(below: Integers, rank: float) -> Integers:
        """Return the bin that holds the draw of this rank (the smallest has rank 1)."""
        return np.asarray(np.minimum((below < rank).sum(axis=-1), below.shape[-1] - 1))

    def _interpolated(self, below: Integers, rank: float, walls: Floats) -> Floats:
        place = self._bin(below, rank)
        upto = np.take_along_axis(below, place[..., None], axis=-1)[..., 0]
        held = np.take_along_axis(self.counts, place[..., None], axis=-1)[..., 0]
        share = 1 - (upto - rank) / np.maximum(held, 1)
        left, right = walls[place], walls[place + 1]
        with np.errstate(invalid="ignore"):
            inner = left + share * (right - left)
        return np.where(np.isinf(left), left, np.where(np.isinf(right), right, inner))

    def merge(self, other: Histogram) -> Histogram:
        """Return the law over the draws of both.

        Raises
        ------
        HyperparameterError
            If the edges differ.
        """
        if not np.array_equal(self.edges, other.edges):
            raise HyperparameterError(
                "merging two histograms", "their edges differ", "sample both with the same edges"
            )
        return Histogram(self.edges, self.sums.merge(other.sums))

    def __repr__(self) -> str:
        share = float(np.max(self.outside, initial=0.0))
        return (
            f"<Histogram: {len(self.edges) - 1} bins in [{self.edges[0]:g}, {self.edges[-1]:g}), "
            f"{self.sums.draws} draws, at most {share:.2%} outside>"
        )


def checked_histograms(given: object, names: Iterable[str]) -> dict[str, NDArray[np.float64]]:
    """Return the edges by observable.

    Raises
    ------
    HyperparameterError
        If it is not a mapping from asked observables to at least two increasing finite edges.
    """
    if given is None:
        return {}
    known = tuple(names)
    example = f'pass histograms={{"{known[0]}": numpy.linspace(0, 4, 401)}}'
    if not isinstance(given, Mapping):
        raise HyperparameterError(
            f"histograms={given!r}", "not a mapping from names to edges", example
        )
    found = {}
    for name, values in given.items():
        if name not in known:
            raise HyperparameterError(
                f"the histogram of {name!r}", "it is not among the observables asked for", example
            )
        found[name] = _edges(name, values, example)
    return found


def _edges(name: str, given: ArrayLike, example: str) -> NDArray[np.float64]:
    asked = f"the edges of the histogram of {name!r}"
    try:
        edges = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise HyperparameterError(asked, "they are not numbers", example) from None
    good = edges.ndim == 1 and 2 <= edges.size <= MOST_EDGES
    if not good or not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
        why = f"they are not 2 to {MOST_EDGES} increasing finite numbers"
        raise HyperparameterError(asked, why, example)
    return edges
