"""Weights, biases, scales and inputs of one concrete network, read and checked.

The network is ``h^l = h^{l-1} + lambda_l f_l(h^{l-1})``; its description (`ResNet`) says which
operations make up a branch, the numbers are given as arrays. A `Linear` maps ``u`` to
``W u + b`` with ``W`` of shape (outputs, inputs).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.conventions import detached
from resexpand.errors import DescriptionError, HyperparameterError
from resexpand.network.numbers import listed, real_array
from resexpand.network.requirements import require_plain
from resexpand.network.resnet import ResNet
from resexpand.network.values import value_of

Array = NDArray[np.float64]
Blocks = tuple[tuple[Array, ...], ...]


@dataclass(frozen=True, eq=False)
class GivenNetwork:
    """The numbers of a network and of its inputs.

    Attributes
    ----------
    net : ResNet
    weights : tuple of tuple of array
        For every block the matrices of its `Linear` operations, in data-flow order.
    biases : tuple of tuple of array, or None
        The same for biases.
    scales : tuple of float
        One residual scale per block.
    x : array, shape (batch, N)
        The inputs, one per row.
    single : bool
        Whether one input was given as a vector.
    """

    net: ResNet
    weights: Blocks
    biases: Blocks | None
    scales: tuple[float, ...]
    x: Array
    single: bool

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.weights)

    def as_given(self, values: Array) -> Array:
        """Return results of shape (..., batch, N) with the axes of the inputs as they came."""
        return values[..., 0, :].copy() if self.single else np.swapaxes(values, -1, -2).copy()

    def per_input(self, values: Array) -> Array:
        """Return results of shape (..., batch) without the batch if there was none."""
        return values[..., 0].copy() if self.single else values


def read(net: ResNet, weights: Any, x: Any, biases: Any = None, scales: Any = None) -> GivenNetwork:
    """Read the numbers of a network.

    Raises
    ------
    DescriptionError
        If `net` is no `ResNet`.
    HyperparameterError
        If arrays do not fit together, are not finite real numbers, or a scale has no value.
    """
    if not isinstance(net, ResNet):
        raise DescriptionError(f"a network {net!r}", "it is no ResNet", "give ResNet(Branch(...))")
    inputs, single = _inputs(x)
    require_plain(net, "measuring the parts")
    count = len(net.branch.linears)
    read_weights = _blocks(weights, count, 2, "weights")
    depth = len(read_weights)
    if net.depth.is_Integer and int(net.depth) != depth:
        raise HyperparameterError(
            f"weights for {depth} blocks", f"the network has {net.depth}", "give one per block"
        )
    _check_widths(read_weights, inputs.shape[1])
    read_biases = None
    if biases is not None:
        read_biases = _blocks(biases, count, 1, "biases")
        _check_biases(read_biases, read_weights)
    return GivenNetwork(net, read_weights, read_biases, _scales(net, scales, depth), inputs, single)


def _inputs(x: Any) -> tuple[Array, bool]:
    array = real_array(x, "the input x")
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise HyperparameterError(
            f"an input of shape {array.shape}",
            "it is neither a vector nor a matrix",
            "give shape (N,) for one input, (N, batch) for several",
        )
    return np.ascontiguousarray(array[None] if array.ndim == 1 else array.T), array.ndim == 1


def _blocks(values: Any, count: int, ndim: int, name: str) -> Blocks:
    """Return one tuple of arrays per block. Entries are checked later, where they are used."""
    values = detached(values)
    if hasattr(values, "__array__") and not isinstance(values, np.ndarray):
        values = real_array(values, name, finite=False)
    each = "one array" if count == 1 else f"a tuple of {count} arrays"
    if not isinstance(values, Sequence | np.ndarray) or isinstance(values, str) or not len(values):
        raise HyperparameterError(f"{name} {type(values).__name__}", "no list", f"{each} per block")
    blocks = []
    for number, block in enumerate(values, start=1):
        single = count == 1 and not (isinstance(block, tuple) and len(block) == 1)
        parts = [block] if single else block
        if not isinstance(parts, Sequence | np.ndarray) or len(parts) != count:
            several = len(parts) if hasattr(parts, "__len__") else 1
            raise HyperparameterError(
                f"{name} of block {number}",
                f"{several} arrays for a branch with {count} Linear",
                f"give {each} per block, in data-flow order",
            )
        called = f"{name} of block {number}"
        arrays = [real_array(part, called, finite=ndim == 1) for part in parts]
        for array in arrays:
            if array.ndim != ndim:
                shape = "(outputs, inputs)" if ndim == 2 else "(outputs,)"
                raise HyperparameterError(
                    f"{name} of block {number}", f"shape {array.shape}", f"give shape {shape}"
                )
        blocks.append(tuple(arrays))
    return tuple(blocks)


def _check_widths(weights: Blocks, width: int) -> None:
    for number, block in enumerate(weights, start=1):
        size = width
        for position, matrix in enumerate(block):
            rows, columns = matrix.shape
            last = position == len(block) - 1
            if columns != size or (last and rows != width):
                wanted = f"({width if last else 'any'}, {size})"
                raise HyperparameterError(
                    f"weights of block {number}, Linear {position + 1}: shape {matrix.shape}",
                    f"the stream has {width} neurons",
                    f"give shape {wanted} = (outputs, inputs)",
                )
            size = rows


def _check_biases(biases: Blocks, weights: Blocks) -> None:
    if len(biases) != len(weights):
        raise HyperparameterError(
            f"biases for {len(biases)} blocks", f"weights for {len(weights)}", "give one per block"
        )
    for number, (own, block) in enumerate(zip(biases, weights, strict=True), start=1):
        for bias, matrix in zip(own, block, strict=True):
            if bias.shape != matrix.shape[:1]:
                raise HyperparameterError(
                    f"biases of block {number}: shape {bias.shape}",
                    f"its weights have {matrix.shape[0]} rows",
                    f"give shape ({matrix.shape[0]},)",
                )


def _scales(net: ResNet, scales: Any, depth: int) -> tuple[float, ...]:
    """Return one number per block, from the argument or else from the network."""
    if scales is not None:
        given = listed(scales, "scales")
        array = real_array(scales if given is None else given, "scales")
        if array.ndim and array.shape != (depth,):
            raise HyperparameterError(
                f"scales of shape {array.shape}",
                f"the network has {depth} blocks",
                f"give one number, or {depth}",
            )
        return tuple(map(float, np.broadcast_to(array, (depth,))))
    own = net.scales(depth)
    values = {net.depth: np.asarray(float(depth))} if net.depth.is_Symbol else {}
    open_symbols = {s.name for scale in own for s in scale.free_symbols - values.keys()}
    if open_symbols:
        raise HyperparameterError(
            f"the residual scale {own[0]}",
            f"{', '.join(sorted(open_symbols))} has no value",
            "pass scales=...",
        )
    numbers = {scale: float(value_of(scale, values)) for scale in set(own)}
    return tuple(numbers[scale] for scale in own)
