"""Read convolutions and batch normalisation: what they do to columns, one at every position.

Streams of convolutional networks have their channels first; here they stand last, as the neurons of
every other stream, so that what acts on a column by itself is carried out as it is elsewhere.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resexpand.models.branch_parts import Map, Reading, Step, gain_of, number, unknown
from resexpand.network.batch_norm import BatchNorm
from resexpand.network.conv import Conv
from resexpand.network.operation import Operation
from resexpand.network.scale import Scale

KNOWN = ("Conv1d", "Conv2d")
PADDINGS = ("zeros", "circular")
CHANCE = 5.0
"""Standard errors by which mean squares of offsets may differ that are taken as equal."""

UNIT = 1e-4
"""Difference from 1 of a factor that is left out: eps of a normalisation makes it."""

LIKE = 0.05
"""The same of the second moment behind running statistics that are taken as those of the batch."""


@dataclass(eq=False)
class Convolution(Map):
    """A convolution; its weights are a matrix (outputs, inputs times offsets).

    Attributes
    ----------
    module : torch.nn.Module
        Carries it out.
    offsets : tuple
        Of the neighbours that a position reads.
    """

    module: Any = None
    offsets: tuple[tuple[int, ...], ...] = ()

    @property
    def form(self) -> str:
        """Offsets, and what is outside."""
        return f"{self.module.padding_mode} {self.offsets}"

    def on(self, rows: Any) -> Any:
        """Return the convolution of columns, shape (inputs, positions, neurons)."""
        columns = rows.movedim(-1, 1).to(self.module.weight.dtype)
        return self.module.forward(columns).movedim(1, -1).double()

    def operation(self, variance: Any, bias: Any, like: Sequence[Map]) -> Operation:
        """Return the convolution of variances; shares of offsets are means over those like it."""
        squares = [m.weight.detach().double() ** 2 for m in like]
        own = np.mean([_shares(s.reshape(len(s), -1, len(self.offsets))) for s in squares], axis=0)
        entries = sum(s.numel() for s in squares) / len(self.offsets)
        equal = np.abs(own * len(own) - 1).max() < CHANCE * math.sqrt(2 / entries)
        return Conv(
            self.offsets,
            variance,
            bias,
            shares=None if equal else [number(float(share)) for share in own],
            circular=self.module.padding_mode == "circular",
        )


def _shares(squares: Any) -> Any:
    total = float(squares.sum())
    sums = squares.sum((0, 1)).cpu().numpy()
    return sums / total if total else np.full(len(sums), 1 / len(sums))


def convolution(path: str, module: Any) -> tuple[Map, Step]:
    """Return the map of a convolution; one of a single position is a linear map.

    Raises
    ------
    UnsupportedError
        If it changes the positions, has groups, or reads other than zeros outside.
    """
    kind = type(module).__name__
    if kind not in KNOWN:
        raise unknown(path, f"a {kind}")
    if module.groups != 1:
        raise unknown(path, f"a {kind} with groups={module.groups}")
    if set(module.stride) != {1}:
        raise unknown(path, f"a {kind} with stride={module.stride}")
    if module.padding_mode not in PADDINGS:
        raise unknown(path, f"a {kind} with padding_mode={module.padding_mode!r}")
    reach = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    padding = module.padding
    before = [r // 2 for r in reach] if padding == "same" else [*padding] if padding else []
    if padding != "same" and [2 * b for b in before] != reach:
        raise unknown(path, f"a {kind} whose padding changes the number of positions")
    axes = [
        [d * place - b for place in range(k)]
        for d, k, b in zip(module.dilation, module.kernel_size, before, strict=True)
    ]
    offsets = tuple(itertools.product(*axes))
    weight = module.weight.flatten(1)
    if len(offsets) == 1:
        found = Map(path, weight, module.bias)
    else:
        found = Convolution(path, weight, module.bias, module=module, offsets=offsets)
    return found, found.on


def batch_norm(reading: Reading, path: str, module: Any) -> None:
    """Read batch normalisation.

    In training it has the statistics of the batch. In evaluation it is a factor, where its running
    statistics are those it began with, and else a normalisation over what it was trained on.
    """
    mean, variance = module.running_mean, module.running_var
    notes: list[str] = []

    def step(rows: Any) -> Any:
        axes = tuple(range(rows.ndim - 1))
        if mean is None:
            rows = rows - rows.mean(axes)
            rows = rows / ((rows**2).mean(axes) + module.eps) ** 0.5
        else:
            rows = (rows - mean.double()) / (variance.double() + module.eps) ** 0.5
        if normalises and not module.training and not notes:
            size = float((rows**2).mean())
            notes.append(path)
            if abs(size - 1) > LIKE:
                reading.notes.append(
                    f"{path}: its running statistics are not those of this batch, behind them the "
                    f"second moment is {size:.3g}, and 1 in the description"
                )
        rows = rows if module.weight is None else rows * module.weight.double()
        return rows if module.bias is None else rows + module.bias.double()

    begins = mean is not None and not mean.any() and bool((variance == 1).all())
    normalises = module.training or not begins
    gain = gain_of(reading, path, module.weight, module.bias)
    factor = number(gain if normalises else gain / (1 + module.eps) ** 0.5)
    scale = Scale(factor if abs(factor - 1) > UNIT else 1)
    if normalises:
        reading.add(BatchNorm(number(module.eps)), step)
        if not module.training:
            reading.notes.append("running statistics are taken as those of this batch")
        reading.add(scale)
    else:
        reading.add(scale, step)
