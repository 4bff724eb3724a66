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
from numbers import Integral
from typing import Any

import numpy as np

from resexpand.errors import HyperparameterError
from resexpand.measure.given_network import Array, GivenNetwork, read
from resexpand.measure.propagation import Propagation, Step
from resexpand.measure.shares import energies, relative_rest, shares, table
from resexpand.network.operation import Map
from resexpand.network.resnet import ResNet
from resexpand.references import REFERENCES, Citation
from resexpand.theory.gated_paths.pieces import piecewise_linear


@dataclass(frozen=True, eq=False)
class MeasuredPaths:
    """The path sums of a network at given inputs.

    Attributes
    ----------
    terms : array, shape (longest + 1, N) or (longest + 1, N, batch)
        ``P_0 ...``: the sum over the paths of each length, scales included.
    output : array, shape (N,) or (N, batch)
        The network itself, ``h^L``.
    energies : array, shape (longest + 1,) or (longest + 1, batch)
        ``|P_k|^2 / N``.
    shares : array, same shape
        ``P_k . h^L / |h^L|^2``; over all lengths they sum to one.
    residual : float or array of shape (batch,)
        ``|h^L - sum_k P_k| / |h^L|``: rounding if all lengths are kept, else the longer paths.
    complete : bool
        Whether all lengths are kept.
    """

    terms: Array
    output: Array
    energies: Array
    shares: Array
    residual: float | Array
    complete: bool

    citations = (Citation(REFERENCES["dherin2025"]), Citation(REFERENCES["veit2016"]))

    @property
    def longest(self) -> int:
        """Largest length kept."""
        return len(self.terms) - 1

    def __repr__(self) -> str:
        return f"<MeasuredPaths\n{self}>"

    def __str__(self) -> str:
        return table(self.energies, self.shares, "length", self.residual)


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
    kept = _longest(longest, given)
    carried = Propagation(given, kept, _gated)
    for number in range(given.depth):
        carried.block(number, min(number + 1, kept))
    output, terms = carried.stream[0], carried.stream[1:]
    return MeasuredPaths(
        terms=given.as_given(terms),
        output=given.as_given(output),
        energies=given.per_input(energies(terms)),
        shares=given.per_input(shares(output, terms)),
        residual=given.per_input(relative_rest(output, terms))[()],
        complete=kept == given.depth,
    )


def _gated(op: Map) -> Step:
    """Return the step of a piecewise-linear activation."""
    pieces = piecewise_linear(op)

    def step(source: Array, target: Array) -> None:
        np.multiply(source, pieces.slope(source[0]), out=target)
        if not pieces.is_homogeneous:
            target[:2] += pieces.intercept(source[0])

    return step


def _longest(longest: object, given: GivenNetwork) -> int:
    if longest is None:
        longest = given.depth
    if not isinstance(longest, Integral) or isinstance(longest, bool) or int(longest) < 1:
        raise HyperparameterError(
            f"longest = {longest!r}", "path lengths are whole numbers from 1", "give one"
        )
    return min(int(longest), given.depth)
