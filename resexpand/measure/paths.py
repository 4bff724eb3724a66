r"""Gated path sums of a given network, grouped by path length.

A piecewise-linear activation is ``phi(h) = D h + c`` with gates ``D`` and intercepts ``c`` that
are read off the trajectory of the network itself. A path picks some of the blocks and skips the
others; ``P_k`` is the sum over all paths through k blocks,

    P_k^l = P_k^{l-1} + lambda_l W_l D_l P_{k-1}^{l-1},

exact for every scale, with no derivative in it. Intercepts and biases start paths of their own in
the block they belong to: they enter ``P_1``. The sum over all lengths is the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resexpand.measure.given_network import Array, read
from resexpand.measure.propagation import Propagation, Step
from resexpand.measure.shares import Parts
from resexpand.network.numbers import whole_number
from resexpand.network.operation import Map
from resexpand.network.resnet import ResNet
from resexpand.references import REFERENCES, Citation
from resexpand.theory.gated_paths.pieces import piecewise_linear


@dataclass(frozen=True, eq=False, repr=False)
class MeasuredPaths(Parts):
    """The sums ``P_0 ...`` over the paths of each length, beside what `Parts` have.

    Attributes
    ----------
    complete : bool
        Whether all lengths are kept.
    """

    complete: bool

    what = "length"
    citations = (Citation(REFERENCES["dherin2025"]), Citation(REFERENCES["veit2016"]))

    @property
    def longest(self) -> int:
        """Largest length kept."""
        return len(self.terms) - 1


def measure_paths(
    net: ResNet,
    weights: Any,
    x: Any,
    *,
    biases: Any = None,
    scales: Any = None,
    longest: int | None = None,
) -> MeasuredPaths:
    """Measure the gated path sums of a given network by path length.

    Parameters
    ----------
    net : ResNet
        A branch whose activations are piecewise linear and continuous.
    weights, x, biases, scales
        As in `resexpand.measure.orders.measure_orders`.
    longest : int, optional
        Largest path length kept, from 1; all lengths, up to the depth, by default.

    Raises
    ------
    UnsupportedError
        If an activation is curved somewhere, or jumps.
    HyperparameterError
        If arrays do not fit together, a number is not finite, or the sums would not fit in memory.

    Examples
    --------
    >>> import numpy as np
    >>> from resexpand import Activation, Branch, Linear, ResNet
    >>> net = ResNet(Branch(Activation("relu"), Linear()), scale=1, depth=2)
    >>> measure_paths(net, np.ones((2, 1, 1)), [1.0]).terms[:, 0]
    array([1., 2., 1.])
    """
    given = read(net, weights, x, biases, scales)
    kept = given.depth
    if longest is not None:
        kept = min(whole_number(longest, "longest", least=1), kept)
    carried = Propagation(given, kept, _gated)
    for number in range(given.depth):
        carried.block(number, min(number + 1, kept))
    return MeasuredPaths.of(given, carried.stream, complete=kept == given.depth)


def _gated(op: Map) -> Step:
    """Return the step of a piecewise-linear activation."""
    pieces = piecewise_linear(op)

    def step(source: Array, target: Array) -> None:
        np.multiply(source, pieces.slope(source[0]), out=target)
        if not pieces.is_homogeneous:
            target[:2] += pieces.intercept(source[0])

    return step
