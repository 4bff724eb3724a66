r"""Variance shift: what dropout makes a normalisation see in training and not in evaluation.

A batch normalisation keeps the variance that its input had in training, masks included. Without
masks the input has less, and the ratio

    shift = variance over the batch in evaluation / in training,    averages over the channels,

is carried on: behind the normalisation the variance is the shift instead of 1. It is derived here
for wide networks and large batches, for masks at any place of a branch of `Linear`, `BatchNorm` and
activations (`resexpand.numbers.channels`).

Directly behind an activation, for relu, the shift is ``(1 - 1/pi) / (1/p - 1/pi)`` with p the
probability to keep a neuron.

Source: Li et al. (2019) for the name; Kim et al. (2023) for residual networks; derived here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from resexpand.codegen.binding import Point, bind
from resexpand.errors import HyperparameterError, KernelError, UnsupportedError
from resexpand.network.activation import Activation
from resexpand.network.batch_norm import EPS, GHOST
from resexpand.network.operation import Map, Operation, X
from resexpand.network.requirements import require_independent_layers, require_network
from resexpand.network.resnet import ResNet
from resexpand.network.steps import Step, steps_of, without_noise
from resexpand.network.values import value_of
from resexpand.numbers.batch_moments import Psi, is_exchangeable
from resexpand.numbers.channels import Batch, Channels
from resexpand.numbers.column_pieces import with_numbers
from resexpand.theory.noise import outcomes

STREAM = "stream"


@dataclass(frozen=True)
class Shift:
    """The variance at one place, in evaluation and in training.

    Attributes
    ----------
    place : str
        Name of the normalisation whose input it is, or ``"stream"`` behind the block.
    block : int
        From 1.
    shift : float
        Ratio of the two variances.
    spread : float
        Standard deviation over channels of the logarithm of a channel's own ratio.
    trained, evaluated : float
        Variances over the batch, averaged over channels.
    """

    place: str
    block: int
    shift: float
    spread: float
    trained: float
    evaluated: float


def variance_shift(net: ResNet, **hyperparameters: Any) -> tuple[Shift, ...]:
    """Return the variance shift at every normalisation and behind every block.

    Parameters
    ----------
    net : ResNet
        A network with dropout, its branches of `Linear`, `BatchNorm`, activations and other maps
        of single neurons. Statistics of evaluation are those of training, with masks.
    **hyperparameters
        ``K0``, the covariance matrix of two (or more) exchangeable inputs at layer 0: the variance
        over the batch is ``K_11 - K_12``, that of channel means ``K_12``. Or ``inputs``, with a
        read-in; and every symbol of the network by name.

    Returns
    -------
    tuple of Shift
        In the order of the layers. Exact at infinite width for a batch of infinite size, to a
        quadrature error of about 1e-9; for activations with kinks elsewhere than at zero behind
        a masked layer that is not centred, 1e-5.

    Raises
    ------
    HyperparameterError, KernelError
        If numbers are missing or are arrays, inputs are not exchangeable, or a variance vanishes.
    UnsupportedError
        If weights are correlated between layers, an operation averages over neurons, noise is
        shared between inputs or between neurons, or masks at the end of a branch are met by a
        further block.

    References
    ----------
    Kim et al., arXiv:2302.06112; Li, Chen, Hu & Yang, arXiv:1801.05134.

    Examples
    --------
    >>> from resexpand import Activation, BatchNorm, Branch, Dropout, Linear, ResNet, variance_shift
    >>> unit = [BatchNorm(), Activation("relu"), Linear(2, 0)]
    >>> net = ResNet(Branch(*unit, *unit[:2], Dropout(0.5), unit[2]), scale=1, depth=1)
    >>> [round(s.shift, 5) for s in variance_shift(net, K0=[[1.6, 0.4], [0.4, 1.6]])]
    [1.0, 1.0, 0.65298]
    """
    require_network(net, "the variance shift")
    require_independent_layers(net, "the variance shift")
    point = bind(net, {}, {}, hyperparameters, matrix=True)
    kernel = point.kernel
    if point.grid or kernel.shape[-1] < 2 or not is_exchangeable(kernel, kernel.shape[-1]):
        raise HyperparameterError(
            "the variance shift of this kernel at layer 0",
            "it needs one variance and one covariance, of any two inputs of a batch",
            "give K0=[[variance, covariance], [covariance, variance]]",
        )
    if net.post:
        raise _unknown(net.post[0].op, "it normalises the stream", "normalise in the branch")
    own, pair = float(kernel[0, 0]), float(kernel[0, 1])
    stream = Batch(own - pair, own - pair, np.full((2, 2), pair))
    shifts: list[Shift] = []
    scales = net.scales(point.depth)
    skip = float(value_of(net.skip, point.symbols)) ** 2
    for block in range(1, point.depth + 1):
        weight = float(value_of(scales[block - 1], point.symbols)) ** 2
        out = _through(net, block, stream, point, shifts)
        if isinstance(out, Channels):
            _require_last(net, block, point.depth)
            _, trained, _, evaluated = out.statistics()
            variances = (
                skip * stream.trained + weight * trained,
                skip * stream.evaluated + weight * evaluated,
            )
            shifts.append(_shift(STREAM, block, out, *variances))
            continue
        stream = Batch(
            skip * stream.trained + weight * out.trained,
            skip * stream.evaluated + weight * out.evaluated,
            skip * stream.means + weight * out.means,
        )
        layer = Channels.of(stream)
        shifts.append(_shift(STREAM, block, layer, *layer.statistics()[1::2]))
    return tuple(shifts)


def _through(
    net: ResNet, block: int, stream: Batch, point: Point, shifts: list[Shift]
) -> Batch | Channels:
    """Take a layer through a branch; note what every normalisation meets."""
    ops = [with_numbers(op, point.symbols) for op in net.block(block).ops]
    out: Batch | Channels = stream
    for step in steps_of(ops):
        layer = Channels.of(out) if isinstance(out, Batch) else out
        out = _past(step, block, layer, shifts)
    return out


def _past(step: Step, block: int, layer: Channels, shifts: list[Shift]) -> Batch | Channels:
    op = step.op
    if step.contracts:
        return layer.contracted(*(float(value) for value in op.values))
    if op.over == "batch":
        at = {symbol: float(value) for symbol, value in op.by_symbol.items()}
        if at.get(GHOST):
            raise _unknown(op, "its batches are small", "leave ghost out")
        _, trained, _, evaluated = layer.statistics()
        name = f"{op.kind}{step.suffix}"
        shifts.append(_shift(name, block, layer, trained, evaluated))
        return layer.normalised(at[EPS])
    if op.averages:
        raise _unknown(op, "it averages over neurons", "use BatchNorm()")
    return _mapped(op, layer)


def _mapped(op: Map, layer: Channels) -> Channels:
    """Return what a map of single neurons makes of a layer."""
    at = op.by_symbol
    function = op.expression.xreplace(at)
    if any(noise.shared or noise.over == "block" for noise in op.random):
        raise _unknown(op, "inputs or neurons share what it draws", "use Dropout()")
    if function.diff(X).has(X):
        if op.random or layer.psi is not None:
            raise _unknown(op, "its argument is no Gaussian, or random", "put a Linear() before")
        return layer.activated(Psi(Activation(function)))
    slope, shift = function.diff(X), function.xreplace({X: sp.Integer(0)})
    if not op.random:
        certain = op.certain
        return layer.mapped(float(slope.xreplace(certain)), float(shift.xreplace(certain)))
    drawn = [
        (float(slope.xreplace(values)), float(shift.xreplace(values)), float(chance.xreplace(at)))
        for values, chance in outcomes(op.random)
    ]
    without_noise((op,))  # refuses what evaluation does not leave out
    return layer.masked(drawn)


def _shift(place: str, block: int, layer: Channels, trained: Any, evaluated: Any) -> Shift:
    if min(np.min(trained), np.min(evaluated)) <= 0:
        raise KernelError(
            f"the variance shift at {place} of block {block}",
            "a variance over the batch vanishes",
            "give inputs that differ",
        )
    ratio = np.log(evaluated / trained)
    spread = np.sqrt(layer.average((ratio - layer.average(ratio)) ** 2))
    means = layer.average(trained), layer.average(evaluated)
    return Shift(place, block, means[1] / means[0], float(spread), *means)


def _require_last(net: ResNet, block: int, depth: int) -> None:
    if block < depth:
        raise _unknown(
            net.block(block).ops[-1],
            "it ends the branch, so that the next block meets what is not Gaussian over the batch",
            "ask for depth=1, or end the branch in a Linear()",
        )


def _unknown(op: Operation, why: str, remedy: str) -> UnsupportedError:
    return UnsupportedError(f"the variance shift of a branch with {op!r}", why, remedy)
