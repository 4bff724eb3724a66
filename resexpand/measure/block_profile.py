r"""What each residual block of a given model contributes, token by token: quantiles from counts.

For a block ``x -> x + f`` at one token (or sample) the quantities are

    ratio       |f| / |x + f|       the residual ratio of Dotzel et al. (2024)
    relative    |f| / |x|
    cosine      x.f / (|x| |f|)
    similarity  x.(x + f) / (|x| |x + f|)     cosine of the block's input and output
    growth      |x + f| / |x|

Each is counted in bins with fixed edges, so that any number of tokens takes the same memory, and
counts of several batches add up. A quantile is exact up to its bin: 1.2 % of the value, or 0.0025
of a cosine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.errors import HyperparameterError
from resexpand.expressions.kept import Kept
from resexpand.expressions.shown import Card, Tabled, numbers
from resexpand.references import REFERENCES, Citation

Array = NDArray[np.float64]

LOGARITHMIC = np.logspace(-8, 4, 2401)
LINEAR = np.linspace(-1, 1, 801)
EDGES: Mapping[str, Array] = {
    "ratio": LOGARITHMIC,
    "relative": LOGARITHMIC,
    "cosine": LINEAR,
    "similarity": LINEAR,
    "growth": LOGARITHMIC,
}
"""Edges of the bins; one more bin lies below the first and one above the last."""

QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
THRESHOLD = 0.1


def quantities(stream: Array, branch: Array, product: Array, output: Array) -> dict[str, Array]:
    """Return the quantities of some tokens.

    Parameters
    ----------
    stream, branch, output : array
        ``|x|``, ``|f|`` and ``|x + f|``.
    product : array
        ``x.f``.

    Returns
    -------
    dict
        Arrays of the same shape; NaN where zero is divided by zero.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = product / (stream * branch)
        similarity = (stream**2 + product) / (stream * output)
        return {
            "ratio": branch / output,
            "relative": branch / stream,
            "cosine": np.clip(cosine, -1, 1),
            "similarity": np.clip(similarity, -1, 1),
            "growth": output / stream,
        }


@dataclass(frozen=True)
class BlockCounts:
    """What is known of one block: counts in bins, and sums.

    Attributes
    ----------
    bins : dict of array
        Counts by quantity, the two outer bins included.
    sums : dict of array, shape (3,)
        Number of finite values, their sum, and that of their squares.
    ranges : dict of array, shape (2,)
        Smallest and largest finite value: no quantile lies beyond, whatever its bin.
    energy : array, shape (2,)
        Sums of ``|x|^2/N`` and ``|x + f|^2/N``.
    tokens : array, shape (2,)
        Number of tokens, and how many of them have no ratio: zero divided by zero.
    """

    bins: dict[str, NDArray[np.int64]] = field(
        default_factory=lambda: {n: np.zeros(len(e) + 1, np.int64) for n, e in EDGES.items()}
    )
    sums: dict[str, Array] = field(default_factory=lambda: {n: np.zeros(3) for n in EDGES})
    ranges: dict[str, Array] = field(
        default_factory=lambda: {n: np.array([np.inf, -np.inf]) for n in EDGES}
    )
    energy: Array = field(default_factory=lambda: np.zeros(2))
    tokens: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))

    def add(self, norms: Array, width: int) -> None:
        """Count some tokens: rows of `norms` are the arguments of `quantities`."""
        stream, _, _, output = norms
        measured = quantities(*norms)
        for name, values in measured.items():
            known = values[~np.isnan(values)]
            places = np.searchsorted(EDGES[name], known, side="right")
            self.bins[name][:] += np.bincount(places, minlength=len(EDGES[name]) + 1)
            finite = known[np.isfinite(known)]
            self.sums[name][:] += finite.size, finite.sum(), (finite**2).sum()
            if finite.size:
                low, high = self.ranges[name]
                self.ranges[name][:] = min(low, finite.min()), max(high, finite.max())
        self.energy[:] += (stream**2).sum() / width, (output**2).sum() / width
        self.tokens[:] += stream.size, int(np.isnan(measured["ratio"]).sum())


@dataclass(frozen=True, eq=False, repr=False)
class BlockProfile(Kept, Tabled):
    """The profile of a model.

    Attributes
    ----------
    names, kinds : tuple of str
        Of the blocks, in the order of the forward pass.
    blocks : tuple of BlockCounts
    width : int
        Entries of the stream of one token (or sample) in front of the first block.
    prediction : array, shape (blocks,), or None
        Ratios at initialisation, of the network that describes the model.
    settings : dict
        Mode, precision, device, number of batches, and what one evaluation is.
    notes : tuple of str
        Sentences that must be read with the numbers.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    blocks: tuple[BlockCounts, ...]
    width: int
    prediction: Array | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    citations = (Citation(REFERENCES["dotzel2024"], "section 3"),)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def evaluations(self) -> NDArray[np.int64]:
        """Number of tokens (or samples) per block."""
        return np.array([block.tokens[0] for block in self.blocks])

    @property
    def energy(self) -> Array:
        """Mean of ``|x|^2/N`` in front of each block, and behind the last; shape (blocks + 1,)."""
        sums = [block.energy[0] for block in self.blocks] + [self.blocks[-1].energy[1]]
        counts = [*self.evaluations, self.blocks[-1].tokens[0]]
        return np.array(sums) / np.maximum(counts, 1)

    def mean(self, name: str = "ratio") -> Array:
        """Return the mean of a quantity per block, where it is finite."""
        if name not in EDGES:
            raise KeyError(name)
        counts, sums, _ = np.array([block.sums[name] for block in self.blocks]).T
        return np.asarray(sums / np.maximum(counts, 1))

    def quantile(self, share: Any, name: str = "ratio") -> Array:
        """Return quantiles per block, exact up to a bin.

        Parameters
        ----------
        share : float or array_like
            Between 0 and 1.
        name : str
            A quantity.

        Returns
        -------
        array, shape (..., blocks)
        """
        shares = np.asarray(share, dtype=float)
        if not ((shares >= 0) & (shares <= 1)).all():
            raise HyperparameterError(f"the quantile {share}", "out of range", "0 to 1")
        rows = [
            _within(
                _quantile(self._counts(block, name), EDGES[name], shares.reshape(-1)),
                block.ranges[name],
            )
            for block in self.blocks
        ]
        return np.stack(rows, axis=-1).reshape(*shares.shape, len(self))

    def median(self, name: str = "ratio") -> Array:
        """Return the median per block."""
        return self.quantile(0.5, name)

    def share_below(self, threshold: float, name: str = "ratio") -> Array:
        """Return the share of evaluations of each block that lie below a threshold."""
        edges, place = EDGES[name], float(threshold)
        shares = []
        for block in self.blocks:
            counts = self._counts(block, name)
            below = np.concatenate([[0], np.cumsum(counts)])
            # Cumulative counts are known at the edges, and linear between.
            at = np.interp(place, edges, below[1 : len(edges) + 1])
            shares.append(at / max(int(counts.sum()), 1))
        return np.array(shares)

    def sparsity(self, threshold: float) -> float:
        """Return the share of all evaluations (token, block) whose ratio is below a threshold.

        It is the part of the blocks that a router would skip that knew all ratios.
        """
        below = self.share_below(threshold)
        return float((below * self.evaluations).sum() / self.evaluations.sum())

    def _counts(self, block: BlockCounts, name: str) -> NDArray[np.int64]:
        if name not in block.bins:
            raise KeyError(name)
        return block.bins[name]

    def items(self) -> Iterator[tuple[str, Array]]:
        """Yield name and array of what the table shows, one number per block."""
        for name in EDGES:
            for label, share in QUANTILES.items():
                yield f"{name}_{label}", self.quantile(share, name)
            yield f"{name}_mean", self.mean(name)
        yield "energy", self.energy[:-1]
        if self.prediction is not None:
            yield "ratio_predicted", self.prediction

    def card(self) -> Card:
        """Return what there is to say."""
        said = (self.settings.get(name) for name in ("mode", "precision", "autocast", "device"))
        tokens = self.settings.get("per", "token")
        head = f"BlockProfile: {len(self)} blocks, {self.evaluations[0]} {tokens}s"
        head += f"; {', '.join(filter(None, said))}"
        facts = [
            ("median ratio", numbers(self.median())),
            ("predicted", "" if self.prediction is None else numbers(self.prediction)),
            ("median cosine", numbers(self.median("cosine"))),
            ("growth", numbers(np.sqrt(self.energy / self.energy[0]))),
            (f"ratio < {THRESHOLD}", f"{self.sparsity(THRESHOLD):.1%} of all evaluations"),
        ]
        return Card(head, tuple(facts), tuple(f"! {note}" for note in self.notes))

    def __str__(self) -> str:
        return "\n".join([self.table(), *self.notes])

    def table(self) -> str:
        """Return a line per block: quantiles of the ratio, medians, and the share below 0.1."""
        columns = {
            "ratio": self.median(),
            "5 %": self.quantile(0.05),
            "95 %": self.quantile(0.95),
            "predicted": self.prediction,
            "relative": self.median("relative"),
            "cosine": self.median("cosine"),
            f"< {THRESHOLD}": self.share_below(THRESHOLD),
        }
        shown = {head: column for head, column in columns.items() if column is not None}
        heads = ("block", *shown)
        rows = zip(self.names, *shown.values(), strict=True)
        wide = max(len(heads[0]), *map(len, self.names))
        lines = [f"{heads[0]:{wide}}" + "".join(f"{head:>10}" for head in heads[1:])]
        lines += [f"{row[0]:{wide}}" + "".join(f"{x:10.3g}" for x in row[1:]) for row in rows]
        return "\n".join(lines)


def _within(values: Array, own: Array) -> Array:
    """Return finite quantiles moved into the range of the data."""
    return np.where(np.isfinite(values) & (own[0] <= own[1]), np.clip(values, *own), values)


def _quantile(counts: NDArray[np.int64], edges: Array, shares: Array) -> Array:
    """Return quantiles of counts in bins, linear (for ratios in their logarithm) within a bin."""
    total = int(counts.sum())
    if not total:
        return np.full(shares.shape, np.nan)
    positive = edges[0] > 0
    scale = np.log(edges) if positive else edges
    below = np.cumsum(counts)[: len(edges)]
    # The first place at which the cumulative count reaches the share.
    wanted = shares * total
    place = np.searchsorted(below, np.maximum(wanted, 1e-9), side="left")
    inside = np.clip(place, 1, len(edges) - 1)
    low, high = below[inside - 1], below[inside]
    part = np.clip((wanted - low) / np.maximum(high - low, 1), 0, 1)
    value = scale[inside - 1] + part * (scale[inside] - scale[inside - 1])
    value = np.exp(value) if positive else value
    value = np.where(place == 0, 0.0 if positive else edges[0], value)
    return np.where(place >= len(edges), np.inf if positive else edges[-1], value)
