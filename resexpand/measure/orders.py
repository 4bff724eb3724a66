r"""The orders ``T_0 ... T_k`` of a given network in its residual scales.

With all residual scales multiplied by lambda, the stream is a power series ``h^L = sum_k T_k
lambda^k``; ``T_k`` contains the network's own scales, so the sum at ``lambda = 1`` is the network.
The coefficients travel through the network as jets: a `Linear` acts on each, an activation by the
recurrences of `resexpand.series.jets`, and a block multiplies by one more lambda. All orders and
the network itself share one product with each matrix.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from resexpand.errors import UnsupportedError
from resexpand.measure.given_network import Array, GivenNetwork, read
from resexpand.measure.jet_routine import jet_routine
from resexpand.measure.propagation import Propagation, Step
from resexpand.measure.radius import ConvergenceWarning, Radius, radius_of
from resexpand.measure.shares import Parts, energies, relative_rest
from resexpand.network.numbers import whole_number
from resexpand.network.operation import Map
from resexpand.network.resnet import Branch, ResNet
from resexpand.references import REFERENCES, Citation

HIGHEST = 40
"""Highest order: a compiled routine of it takes up to ten seconds to build."""


@dataclass(frozen=True, eq=False, repr=False)
class MeasuredOrders(Parts):
    """The orders ``T_0 ... T_k`` of a network at given inputs, beside what `Parts` have.

    Attributes
    ----------
    layers : array, shape (L + 1, order + 1[, batch]), or None
        Energies at every layer, where asked for.
    radius : Radius
        Radius of convergence in units of the network's scales.
    status : str
        Conclusion about convergence at the network's own scales.
    """

    layers: Array | None
    radius: Radius
    status: str

    what = "order"
    citations = (Citation(REFERENCES["dherin2025"]),)

    @property
    def order(self) -> int:
        """Highest order k."""
        return len(self.terms) - 1

    def at(self, factor: float) -> Array:
        """Return ``sum_k factor^k T_k``: the truncated network at scales times a factor."""
        powers = float(factor) ** np.arange(len(self.terms))
        return np.asarray(np.tensordot(powers, self.terms, axes=1))


def measure_orders(
    net: ResNet,
    weights: Any,
    x: Any,
    order: int,
    *,
    biases: Any = None,
    scales: Any = None,
    layers: bool = False,
) -> MeasuredOrders:
    """Measure the orders of the residual expansion of a given network.

    Parameters
    ----------
    net : ResNet
        The branch and the residual scales; variances do not matter, and a read-in or read-out is
        not applied.
    weights : sequence of array, or array of shape (L, N, N)
        One matrix of shape (outputs, inputs) per block; for a branch with several `Linear` a tuple
        of matrices per block, in data-flow order.
    x : array, shape (N,) or (N, batch)
        The stream ``h^0``.
    order : int
        Highest order k, from 1.
    biases : sequence, optional
        One vector (or tuple of vectors) per block; none by default.
    scales : number or sequence of L numbers, optional
        Residual scales in place of those of `net`.
    layers : bool, optional
        Whether the energies at every layer are kept.

    Returns
    -------
    MeasuredOrders
        Exact to rounding: the recurrences are those of the Taylor coefficients themselves.

    Raises
    ------
    UnsupportedError
        If an activation is not smooth, where `measure_paths` is exact instead.
    HyperparameterError
        If arrays do not fit together or a number is not finite.

    Warns
    -----
    ConvergenceWarning
        If the network lies beyond the estimated radius of convergence.

    Notes
    -----
    The expansion is that of Dherin & Munn, arXiv:2510.03470, to any order. Cost: one product of
    every matrix with ``k + 1`` columns, and O(k^2) operations per neuron and layer.

    Examples
    --------
    >>> import numpy as np
    >>> from resexpand import Activation, Branch, Linear, ResNet
    >>> net = ResNet(Branch(Activation("identity"), Linear()), scale=1, depth=3)
    >>> found = measure_orders(net, np.ones((3, 1, 1)), [1.0], 3)
    >>> found.terms[:, 0]
    array([1., 3., 3., 1.])
    """
    checked = whole_number(order, "order", 1, HIGHEST + 1, ": order 0 is the input itself")
    given = read(net, weights, x, biases, scales)
    _require_smooth(given.net.branch)

    def step(op: Map) -> Step:
        routine: Step = jet_routine(op, checked)
        return routine

    carried = Propagation(given, checked, step)
    kept = [energies(carried.stream[1:])] if layers else None
    for number in range(given.depth):
        carried.block(number, checked)
        if kept is not None:
            kept.append(energies(carried.stream[1:]))
    return _result(given, carried.stream, None if kept is None else np.array(kept))


def _result(given: GivenNetwork, stream: Array, layers: Array | None) -> MeasuredOrders:
    radius = radius_of(given.net.branch, stream[1:])
    status, beyond = _status(radius, float(np.max(relative_rest(stream[0], stream[1:]))))
    if beyond:
        warnings.warn(status, ConvergenceWarning, stacklevel=3)
    kept = None if layers is None else given.per_input(layers)
    return MeasuredOrders.of(given, stream, layers=kept, radius=radius, status=status)


def _status(radius: Radius, rest: float) -> tuple[str, bool]:
    """Return what the radius says about the network's own scales, and whether it lies beyond."""
    far = f"; the orders kept leave {rest:.2g} of the stream" if rest > 0.1 else ""
    if radius.value is None:
        return f"radius of convergence not resolved by these orders{far}", False
    if np.isinf(radius.value):
        return f"converges at every scale: the activations are entire{far}", False
    assert radius.uncertainty is not None
    if radius.value + radius.uncertainty < 1:
        return (
            f"the scales lie beyond the radius of convergence {radius}: the series diverges",
            True,
        )
    if radius.value < 1:
        return f"the scales may lie beyond the radius of convergence {radius}", True
    if radius.value - radius.uncertainty < 1:
        return f"close to the radius of convergence {radius}{far}", False
    return f"converges: radius of convergence {radius}{far}", False


def _require_smooth(branch: Branch) -> None:
    for op in branch.maps:
        if not op.is_smooth:
            where = ", ".join(map(str, (*op.kinks, *op.jumps)))
            raise UnsupportedError(
                f"the orders of a network with activation {op.name}",
                f"it is not smooth at {where}: its Taylor series ends at the first gate that flips",
                "use measure_paths(), the gated path sum, which is exact for every scale",
            )
