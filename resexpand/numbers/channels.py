r"""One layer of a large batch, channel by channel, in training and in evaluation.

At infinite width and for large batches a neuron (a channel) sees over the batch, behind a `Linear`,

    x = m + sqrt(v) z,    z ~ N(0, 1) over the inputs,    m ~ N(0, o) over the channels,

with v the same for all channels. In evaluation, without masks, it has another mean and variance;
the two means are jointly Gaussian over channels. Maps up to the next `Linear` make of it

    slope * f(scale * z + centre) + shift

for every outcome of the masks, with numbers that differ between channels: a batch normalisation
divides by the standard deviation that a channel has in training, masks included. All averages are
over z and over the pair of means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from resexpand.gaussian.quadrature import unit_rule
from resexpand.numbers.batch_moments import Psi

Array = NDArray[np.float64]

WIDEST = 9.0
"""Standard deviations beyond which a normal density is below rounding."""

PANELS, NODES = 12, 16
"""Of Gauss-Legendre rules over the batch, between two kinks."""

FIRST, SECOND = (24, 8), (12, 8)
"""Panels and nodes over the means of channels: in training, and in evaluation given those."""

CERTAIN = 1e-13
"""Share of its variance below which the mean in evaluation is fixed by that in training."""


@dataclass(frozen=True)
class Batch:
    """A Gaussian layer: what all channels have in common.

    Attributes
    ----------
    trained, evaluated : float
        Variance over the batch at a channel.
    means : ndarray, shape (2, 2)
        Covariance over channels of the means in training and in evaluation.
    """

    trained: float
    evaluated: float
    means: Array


@dataclass(frozen=True)
class Piece:
    """``slope * f(scale * z + centre) + shift`` at every channel, with a probability."""

    chance: float
    scale: Array
    centre: Array
    slope: Array
    shift: Array

    def times(self, slope: Array | float, shift: Array | float, chance: float = 1.0) -> Piece:
        """Return what a linear map makes of it."""
        return replace(
            self,
            chance=chance * self.chance,
            slope=slope * self.slope,
            shift=slope * self.shift + shift,
        )

    def folded(self) -> Piece:
        """Return the identity's piece as the argument of a function."""
        one, zero = np.ones((1, 1)), np.zeros((1, 1))
        centre = self.slope * self.centre + self.shift
        return Piece(self.chance, np.abs(self.slope) * self.scale, centre, one, zero)

    def moments(self, psi: Psi | None) -> tuple[Array, Array]:
        """Return its mean and its second moment over the batch."""
        if psi is None:
            mean, square = self.centre, self.centre**2 + self.scale**2
        else:
            mean, square = normal_averages(psi, self.scale, self.centre)
        second = self.slope**2 * square + 2 * self.slope * self.shift * mean + self.shift**2
        return self.slope * mean + self.shift, second


@dataclass(frozen=True)
class Channels:
    """A layer, on a grid of the means of a channel in training and in evaluation.

    Attributes
    ----------
    weights : ndarray, shape (n, k)
        Of the nodes.
    trained : tuple of Piece
        In training, one for each outcome of the masks.
    evaluated : Piece
        Without masks.
    psi : Psi or None
        The function f of all pieces; the identity if None.
    """

    weights: Array
    trained: tuple[Piece, ...]
    evaluated: Piece
    psi: Psi | None = None

    @classmethod
    def of(cls, batch: Batch) -> Channels:
        """Return a Gaussian layer, channel by channel."""
        (own, both), (_, other) = batch.means
        first, weights = _normal(own, FIRST)
        # The second mean given the first is Gaussian around a multiple of it.
        ratio = both / own if own > 0 else 0.0
        rest = other - ratio * both
        second, further = _normal(rest if rest > CERTAIN * other else 0.0, SECOND)
        one, zero = np.ones((1, 1)), np.zeros((1, 1))
        mean = first[:, None]
        scales = (np.sqrt(v) * one for v in (batch.trained, batch.evaluated))
        trained = Piece(1.0, next(scales), mean, one, zero)
        evaluated = Piece(1.0, next(scales), ratio * mean + second, one, zero)
        return cls(weights[:, None] * further, (trained,), evaluated)

    def statistics(self) -> tuple[Array, Array, Array, Array]:
        """Return mean and variance over the batch, in training and in evaluation."""
        moments = [(piece.chance, *piece.moments(self.psi)) for piece in self.trained]
        mean = sum((chance * own for chance, own, _ in moments), np.zeros((1, 1)))
        second = sum((chance * square for chance, _, square in moments), np.zeros((1, 1)))
        own, square = self.evaluated.moments(self.psi)
        return mean, second - mean**2, own, square - own**2

    def average(self, values: Array) -> float:
        """Return an average over channels."""
        return float((self.weights * values).sum())

    def activated(self, psi: Psi) -> Channels:
        """Return what a function makes of a layer that none was applied to."""
        trained = tuple(piece.folded() for piece in self.trained)
        return replace(self, trained=trained, evaluated=self.evaluated.folded(), psi=psi)

    def normalised(self, eps: float) -> Channels:
        """Return it centred and scaled by the statistics of training."""
        mean, variance, _, _ = self.statistics()
        slope = 1 / np.sqrt(variance + eps)
        trained = tuple(piece.times(slope, -mean * slope) for piece in self.trained)
        return replace(self, trained=trained, evaluated=self.evaluated.times(slope, -mean * slope))

    def masked(self, outcomes: Sequence[tuple[float, float, float]]) -> Channels:
        """Return what noise makes of it in training: slope, shift and probability of each."""
        return replace(
            self,
            trained=tuple(
                piece.times(slope, shift, chance)
                for piece in self.trained
                for slope, shift, chance in outcomes
            ),
        )

    def mapped(self, slope: float, shift: float) -> Channels:
        """Return what a linear map without noise makes of it."""
        with_train = self.masked([(slope, shift, 1.0)])
        return replace(with_train, evaluated=self.evaluated.times(slope, shift))

    def contracted(self, weight: float, bias: float) -> Batch:
        """Return what a `Linear` makes of it."""
        mean, variance, own, square = self.statistics()
        products = [self.average(p) for p in (mean**2, mean * own, own**2)]
        entries = np.array([products[:2], products[1:]])
        trained, evaluated = self.average(variance), self.average(square)
        return Batch(weight * trained, weight * evaluated, weight * entries + bias)


def normal_averages(psi: Psi, scale: Array, centre: Array) -> tuple[Array, Array]:
    """Return the averages of ``f(scale z + centre)`` and of its square over a unit normal z."""
    scale, centre = np.broadcast_arrays(scale, centre)
    ends = [np.full(scale.shape, side * WIDEST) for side in (-1.0, 1.0)]
    # Panels end at kinks: on each side the rule then meets a smooth function.
    for kink in psi.kinks:
        at = np.divide(kink - centre, scale, out=np.zeros(scale.shape), where=scale > 0)
        ends.append(np.clip(at, -WIDEST, WIDEST))
    breaks = np.sort(np.stack(ends, axis=-1), axis=-1)
    z, weights = _panels(breaks)
    values = psi(scale[..., None] * z + centre[..., None])
    return (weights * values).sum(axis=-1), (weights * values**2).sum(axis=-1)


def _panels(breaks: Array) -> tuple[Array, Array]:
    """Return nodes and normal weights on panels between breaks, which are the last axis."""
    unit, of_unit = unit_rule(NODES, PANELS)
    low, width = breaks[..., :-1, None], np.diff(breaks, axis=-1)[..., None]
    z, weights = low + width * unit, width * of_unit
    flat = (*breaks.shape[:-1], -1)
    weights = (weights * np.exp(-(z**2) / 2)).reshape(flat)
    # The weights are normalised, so that constants are averaged exactly.
    return z.reshape(flat), weights / weights.sum(axis=-1, keepdims=True)


def _normal(variance: float, rule: tuple[int, int]) -> tuple[Array, Array]:
    """Return nodes and weights of a centred normal, its middle between two panels."""
    if variance <= 0:
        return np.zeros(1), np.ones(1)
    panels, nodes = rule
    unit, weights = unit_rule(nodes, panels)
    z = WIDEST * (2 * unit - 1)
    weights = weights * np.exp(-(z**2) / 2)
    return np.sqrt(variance) * z, weights / weights.sum()
