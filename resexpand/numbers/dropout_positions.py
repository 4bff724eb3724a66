"""Where dropout belongs in a branch: all places, ranked by the variance shift that they cause."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from resexpand.errors import DescriptionError
from resexpand.network.dropout import Dropout
from resexpand.network.resnet import Branch, ResNet
from resexpand.numbers.variance_shift import STREAM, Shift, variance_shift

DIGITS = 8
"""After the decimal point, to which sums of shifts count as equal."""


@dataclass(frozen=True)
class Position:
    """A place for dropout in a branch.

    Attributes
    ----------
    number : int
        From 1: P1 is in front of the first operation.
    branch : Branch
        The branch with dropout at this place.
    shifts : tuple of Shift
        At every normalisation of the block and at the stream behind it, which is what the first
        normalisation of a further block meets.
    """

    number: int
    branch: Branch
    shifts: tuple[Shift, ...]

    @property
    def feels_weight_means(self) -> bool:
        """Whether a mean of the weights in front changes the shift: third criterion.

        Masks add ``(1/p - 1) E x^2``, over the inputs, to the variance of a channel. Behind a
        `Linear`, and on the stream, x has the mean of its channel, which a mean of the weights
        moves. Behind a normalisation over the batch x has the same law in all channels.
        """
        before = reversed(self.branch.ops[: self.number - 1])
        closest = next((op for op in before if op.contracts or op.over == "batch"), None)
        return closest is None or closest.contracts

    @property
    def total(self) -> float:
        """Sum of ``|ln shift|``: first criterion of the ranking."""
        return sum(abs(math.log(s.shift)) for s in self.shifts)

    @property
    def spread(self) -> float:
        """Sum of the spreads between channels: second criterion."""
        return sum(s.spread for s in self.shifts)

    @property
    def reason(self) -> str:
        """Effect of the masks here, in words."""
        moved = [s for s in self.shifts if round(math.log(s.shift), DIGITS)]
        if not moved:
            return "evaluation has the variances of training"
        places = ", ".join(f"{s.shift:.3g} at {s.place}" for s in moved)
        said = f"evaluation has, of the variance in training, {places}"
        if [s.place for s in moved] == [STREAM]:
            said += " alone: no normalisation of the block is behind it"
        uneven = [s.place for s in self.shifts if round(s.spread, DIGITS)]
        said += f"; channels differ at {', '.join(uneven)}" if uneven else ""
        felt = "; a mean of the weights in front changes it, as the masks meet what they made"
        return said + (felt if self.feels_weight_means else "")

    def __str__(self) -> str:
        return f"P{self.number}: {self.total:.4f} ({self.reason})"


def rank_positions(
    branch: Branch,
    dropout: Dropout,
    *,
    scale: Any = 1,
    skip: Any = 1,
    **hyperparameters: Any,
) -> tuple[Position, ...]:
    """Rank all places for dropout in a branch, the one with the smallest variance shift first.

    Parameters
    ----------
    branch : Branch
        The branch without this dropout.
    dropout : Dropout
        The dropout to place before each of its operations, or at its end.
    scale, skip : number or sympy.Expr
        Of the block, as for `ResNet`.
    **hyperparameters
        ``K0`` and the symbols of the branch, as for `variance_shift`.

    Returns
    -------
    tuple of Position
        In the order of ``sum |ln shift|`` over the normalisations of the block and the stream
        behind it; ties in the order of the spread between channels, then places that a mean of the
        weights leaves as they are, then of the branch from its end. In wide networks and large
        batches.

    Raises
    ------
    HyperparameterError, KernelError, UnsupportedError
        As `variance_shift`.

    References
    ----------
    Kim et al., arXiv:2302.06112, who recommend the last activation of the branch.

    Examples
    --------
    >>> from resexpand import Activation, BatchNorm, Branch, Dropout, Linear, rank_positions
    >>> branch = Branch(*[BatchNorm(), Activation("relu"), Linear(2, 0)] * 2)
    >>> ranked = rank_positions(branch, Dropout(0.5), K0=[[1.6, 0.4], [0.4, 1.6]])
    >>> [position.number for position in ranked]
    [6, 5, 7, 3, 2, 4, 1]
    >>> print(ranked[0].reason)
    evaluation has, of the variance in training, 0.653 at stream alone: no normalisation of the \
block is behind it
    """
    if not isinstance(branch, Branch):
        raise DescriptionError(
            f"ranking positions in {branch!r}",
            f"it is of type {type(branch).__name__}",
            "give Branch(...)",
        )
    positions = []
    for place in range(len(branch.ops) + 1):
        with_masks = Branch(*branch.ops[:place], dropout, *branch.ops[place:])
        net = ResNet(with_masks, scale=scale, depth=1, skip=skip)
        positions.append(Position(place + 1, with_masks, variance_shift(net, **hyperparameters)))
    return tuple(
        sorted(
            positions,
            key=lambda p: (
                *(round(p.total, DIGITS), round(p.spread, DIGITS)),
                *(p.feels_weight_means, -p.number),
            ),
        )
    )
