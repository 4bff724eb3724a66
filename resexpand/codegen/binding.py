"""From the keywords of a call to the arrays a routine runs on, with every mistake named.

Hyperparameters left symbolic in the network are given by the name of their symbol and broadcast
against each other; the kernel at layer 0 is `K0`, or is computed from `inputs` by the read-in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray

from resexpand.conventions import K0, PAIR0
from resexpand.errors import HyperparameterError
from resexpand.network.inputs import kernel_between, kernel_from_inputs, validated_kernel
from resexpand.network.resnet import ResNet
from resexpand.network.values import depth_of, read_values, value_of

Array = NDArray[np.float64]

KERNELS = (K0, *PAIR0)
"""Symbols of the kernel at layer 0, which has a shape of its own."""


@dataclass(frozen=True)
class Point:
    """Hyperparameters of a call as arrays.

    Attributes
    ----------
    depth : int
        Number of blocks.
    grid : tuple of int
        Common shape of everything that was given.
    values : dict
        Symbol to an array that broadcasts to `grid`.
    layer_values : dict
        Symbol to an array of shape ``(..., depth)``.
    kernel : ndarray
        Kernel at layer 0: shape ``(...,)`` for one input, ``(..., D, D)`` for more; ``(..., D1,
        D2)`` between two sets of inputs.
    symbols : dict
        Symbols of the network and of the formulas to what was given for them.
    notes : tuple of str
        Sentences on how the kernel was rounded.
    variances : tuple of ndarray
        For two sets of inputs: the variances of both, ``(..., D1)`` and ``(..., D2)``.
    """

    depth: int
    grid: tuple[int, ...]
    values: dict[sp.Symbol, Array]
    layer_values: dict[sp.Symbol, Array]
    kernel: Array
    symbols: dict[sp.Symbol, Array] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    variances: tuple[Array, ...] = ()


def bind(
    net: ResNet,
    bindings: Mapping[sp.Symbol, sp.Expr],
    layer_bindings: Mapping[sp.Symbol, tuple[sp.Expr, ...]],
    keywords: Mapping[str, Any],
    *,
    matrix: bool,
) -> Point:
    """Return the arrays of a call.

    Parameters
    ----------
    net : ResNet
        The network.
    bindings, layer_bindings : mapping
        Symbols of the formulas and the values the network gives them.
    keywords : mapping
        Values that the caller gave.
    matrix : bool
        Whether the kernel at layer 0 is a matrix over inputs or a number.

    Raises
    ------
    HyperparameterError
        If something is missing, unknown, of the wrong shape or outside its range.
    KernelError
        If the kernel is not symmetric positive semi-definite.
    """
    given = dict(keywords)
    kernel_given: dict[str, Any] = {
        name: given.pop(name) for name in ("K0", "inputs", "others") if name in given
    }
    bound = {s: value for s, value in bindings.items() if s not in KERNELS}
    reads = [net.read_in.weight_variance, net.read_in.bias_variance] if net.read_in else []
    needed = [
        *(*bound.values(), *(e for listed in layer_bindings.values() for e in listed), net.depth),
        *(reads if "inputs" in kernel_given else ()),
    ]
    own = {s for s, value in bound.items() if s == value}
    symbols = read_values(net, given, needed, own, () if kernel_given else ("K0",))
    common_shape([value.shape for value in symbols.values()], _shapes(keywords))
    depth = depth_of(net, symbols)
    values = {s: value_of(expression, symbols) for s, expression in bound.items()}
    layers = {s: _stacked(expressions, symbols) for s, expressions in layer_bindings.items()}
    kernel, notes, variances = _kernel(net, kernel_given, symbols, matrix=matrix)
    trimmed = [kernel.shape[:-2] if matrix else kernel.shape]
    shapes = [v.shape for v in values.values()] + [v.shape[:-1] for v in layers.values()] + trimmed
    grid = common_shape(shapes, _shapes(keywords))
    return Point(depth, grid, values, layers, kernel, symbols, notes, variances)


def _shapes(keywords: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the shapes as they were given; they are read only where something is wrong."""
    return ((name, np.shape(value)) for name, value in keywords.items())


def common_shape(
    shapes: Iterable[tuple[int, ...]], given: Iterable[tuple[str, tuple[int, ...]]]
) -> tuple[int, ...]:
    """Return the shape to which shapes broadcast.

    Parameters
    ----------
    shapes : iterable of tuple of int
        What must broadcast.
    given : iterable of (str, tuple of int)
        Names and shapes for the error.

    Raises
    ------
    HyperparameterError
        If they do not broadcast.
    """
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        named = ", ".join(f"{name} {shape}" for name, shape in given)
        raise HyperparameterError(
            f"hyperparameters of shapes {named}",
            "they do not broadcast against each other",
            "give arrays of one common shape, or numbers",
        ) from None


def _stacked(expressions: tuple[sp.Expr, ...], symbols: Mapping[sp.Symbol, Array]) -> Array:
    columns = np.broadcast_arrays(*(value_of(e, symbols) for e in expressions))
    return np.stack(columns, axis=-1)


def _kernel(
    net: ResNet, given: Mapping[str, Any], symbols: Mapping[sp.Symbol, Array], *, matrix: bool
) -> tuple[Array, tuple[str, ...], tuple[Array, ...]]:
    """Return the kernel at layer 0, notes on it, and the variances of two sets of inputs."""
    others = given.get("others")
    if ("K0" in given) == ("inputs" in given) or ("K0" in given and others is not None):
        raise HyperparameterError(
            "the kernel at layer 0",
            "exactly one of K0 and inputs is needed (others= goes with inputs=)",
            "pass K0=..., or inputs=... if the network has a read_in",
        )
    if "K0" in given:
        return *validated_kernel(given["K0"], matrix=matrix), ()
    read_in = _read_in_variances(net, symbols)
    if others is not None:
        return _between(given["inputs"], others, read_in, matrix=matrix)
    kernel = kernel_from_inputs(given["inputs"], read_in, net.positions)
    if matrix:
        return kernel, (), ()
    if kernel.shape[-1] != 1:
        raise HyperparameterError(
            f"{kernel.shape[-1]} inputs",
            "the recursion is of one input",
            "use inputs=2 in kernel()",
        )
    return np.asarray(kernel[..., 0, 0]), (), ()


def _between(
    inputs: ArrayLike, others: ArrayLike, read_in: tuple[Array, Array] | None, *, matrix: bool
) -> tuple[Array, tuple[str, ...], tuple[Array, ...]]:
    if not matrix:
        raise HyperparameterError(
            "a kernel between inputs and others",
            "the recursion is of one input",
            "use inputs=2 in kernel(), or the covariance response",
        )
    kernel, *variances = kernel_between(inputs, others, read_in)
    return kernel, (), tuple(variances)


def _read_in_variances(
    net: ResNet, symbols: Mapping[sp.Symbol, Array]
) -> tuple[Array, Array] | None:
    if net.read_in is None:
        return None
    return value_of(net.read_in.weight_variance, symbols), value_of(
        net.read_in.bias_variance, symbols
    )
