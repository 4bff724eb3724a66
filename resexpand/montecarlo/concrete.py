"""A network with numbers in place of symbols: what a sampler needs, and nothing symbolic.

Hyperparameters are given by the name of their symbol (``rho=0.3``); the depth, whatever its symbol
is called, by ``depth=``. Each symbol of the network takes exactly one finite real number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resexpand.errors import HyperparameterError
from resexpand.network.layers import LayerLaw
from resexpand.network.operation import Operation
from resexpand.network.resnet import ResNet
from resexpand.network.values import Symbols, depth_of, read_values, value_of

Law = tuple[float, float]
"""Weight variance (times fan-in) and bias variance of a linear operation."""


@dataclass(frozen=True)
class ConcreteNet:
    """The numbers of a network.

    Attributes
    ----------
    depth : int
        Number of blocks L.
    scales : tuple of float
        Residual scale of each block.
    laws : tuple of tuple of float
        Parameters of each operation, filled up with zeros to the same number: the variances of a
        linear operation, zeros for activations. Kind of block by kind, filled up to as many rows;
        behind each, maps in front of the read-out that are not those that open the branch, and the
        map that follows every block.
    read_in, read_out : (float, float) or None
        Variances of the first and last linear map.
    last_linears : tuple of int
        Row of the last linear operation of each kind of block.
    skip : float
        Factor of the stream.
    layers : LayerLaw or None
        Law of the covariance between layers, its parameters numbers.
    """

    depth: int
    scales: tuple[float, ...]
    laws: tuple[tuple[float, ...], ...]
    read_in: Law | None
    read_out: Law | None
    last_linears: tuple[int, ...]
    skip: float = 1.0
    layers: LayerLaw | None = None

    @property
    def branch_law(self) -> Law:
        """Variances of the last linear operation of the branch, where there is one kind."""
        ((weight, bias),) = self.branch_laws
        return weight, bias

    @property
    def branch_laws(self) -> tuple[Law, ...]:
        """Variances of the last linear operation of each kind of block."""
        return tuple((self.laws[row][0], self.laws[row][1]) for row in self.last_linears)


def concrete(net: ResNet, hyperparameters: Mapping[str, object]) -> ConcreteNet:
    """Put numbers in place of the symbols of a network.

    Parameters
    ----------
    net : ResNet
    hyperparameters : mapping
        Symbol name (or ``"depth"``) to number.

    Raises
    ------
    HyperparameterError
        If a symbol has no value, a name belongs to no symbol, a value is not a finite real number,
        a variance is negative, or the depth is not a positive integer.
    """
    values = read_values(net, hyperparameters, net.free_symbols)
    for symbol, value in values.items():
        if value.ndim:
            raise HyperparameterError(
                f"{symbol} of shape {value.shape}",
                "a sampled network takes one real number",
                "loop over the values",
            )
    depth = depth_of(net, values)
    given = net.scales(depth)
    if len(given) != depth:
        raise HyperparameterError(
            f"depth = {depth}", f"the network has {len(given)} scales", f"use depth={len(given)}"
        )
    # One number per distinct expression: substitution is slow and depth may be 10^4.
    numbers = {scale: float(value_of(scale, values)) for scale in set(given)}
    ending = [step.op for step in net.head] if net.has_own_head else []
    ending += [step.op for step in net.post]
    kinds = [(*branch.ops, *ending) for branch in net.kinds]
    rows = max(map(len, kinds))
    size = max(len(op.parameters) for ops in kinds for op in ops)
    laws = [[_numbers_of(op, values, size) for op in ops] for ops in kinds]
    filled = [[*own, *[(0.0,) * size] * (rows - len(own))] for own in laws]
    return ConcreteNet(
        depth=depth,
        scales=tuple(numbers[scale] for scale in given),
        laws=tuple(row for own in filled for row in own),
        read_in=None if net.read_in is None else _law(net.read_in, values),
        read_out=None if net.read_out is None else _law(net.read_out, values),
        last_linears=last_linears(kinds),
        skip=float(value_of(net.skip, values)),
        layers=_layers(net, values),
    )


def _layers(net: ResNet, values: Symbols) -> LayerLaw | None:
    """Return the law of the covariance between layers, with numbers."""
    law = net.layers
    return None if law is None else law.at([float(value_of(v, values)) for v in law.values])


def last_linears(kinds: Sequence[Sequence[Operation]]) -> tuple[int, ...]:
    """Return the rows of the last linear operations, as many rows for each kind of block."""
    rows = max(map(len, kinds))
    places = (max(j for j, op in enumerate(ops) if op.contracts) for ops in kinds)
    return tuple(k * rows + place for k, place in enumerate(places))


def _law(op: Any, values: Symbols) -> Law:
    """Return the two variances of a linear operation."""
    return float(value_of(op.weight_variance, values)), float(value_of(op.bias_variance, values))


def _numbers_of(op: Operation, values: Symbols, size: int) -> tuple[float, ...]:
    """Return the parameters of an operation as numbers, filled up with zeros."""
    numbers = tuple(float(value_of(value, values)) for value in op.values)
    return (*numbers, *(0.0,) * (size - len(numbers)))
