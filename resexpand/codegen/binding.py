"""From the keywords of a call to the arrays a routine runs on, with every mistake named.

Hyperparameters left symbolic in the network are given by the name of their symbol and broadcast
against each other; the kernel at layer 0 is `K0`, or is computed from `inputs` by the read-in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.conventions import K0, PAIR0
from resexpand.errors import HyperparameterError, KernelError
from resexpand.network.inputs import kernel_from_inputs, validated_kernel
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
        Kernel at layer 0: shape ``(...,)`` for one input, ``(..., D, D)`` for more.
    symbols : dict
        Symbols of the network and of the formulas to what was given for them.
    """

    depth: int
    grid: tuple[int, ...]
    values: dict[sp.Symbol, Array]
    layer_values: dict[sp.Symbol, Array]
    kernel: Array
    symbols: dict[sp.Symbol, Array] = field(default_factory=dict)


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
        What the caller gave.
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
        name: given.pop(name) for name in ("K0", "inputs") if name in given
    }
    bound = {s: value for s, value in bindings.items() if s not in KERNELS}
    reads = [net.read_in.weight_variance, net.read_in.bias_variance] if net.read_in else []
    needed = [
        *(*bound.values(), *(e for listed in layer_bindings.values() for e in listed), net.depth),
        *(reads if "inputs" in kernel_given else ()),
    ]
    own = {s for s, value in bound.items() if s == value}
    symbols = read_values(net, given, needed, own, () if kernel_given else ("K0",))
    _common_shape([value.shape for value in symbols.values()], keywords)
    depth = depth_of(net, symbols)
    values = {s: value_of(expression, symbols) for s, expression in bound.items()}
    layers = {s: _stacked(expressions, symbols) for s, expressions in layer_bindings.items()}
    kernel = _kernel(net, kernel_given, symbols, matrix=matrix)
    _check_zero_variance(net, kernel, matrix=matrix)
    trimmed = [kernel.shape[:-2] if matrix else kernel.shape]
    shapes = [v.shape for v in values.values()] + [v.shape[:-1] for v in layers.values()] + trimmed
    return Point(depth, _common_shape(shapes, keywords), values, layers, kernel, symbols)


def _common_shape(shapes: list[tuple[int, ...]], keywords: Mapping[str, Any]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        named = ", ".join(f"{k} {np.shape(v)}" for k, v in keywords.items())
        raise HyperparameterError(
            f"hyperparameters of shapes {named}",
            "they do not broadcast against each other",
            "give arrays of one common shape, or numbers",
        ) from None


def _stacked(expressions: tuple[sp.Expr, ...], symbols: Mapping[sp.Symbol, Array]) -> Array:
    columns = np.broadcast_arrays(*(value_of(e, symbols) for e in expressions))
    return np.stack(columns, axis=-1)


def _check_zero_variance(net: ResNet, kernel: Array, *, matrix: bool) -> None:
    """Raise where averages are not continuous: at variance zero of an input to a jump at zero."""
    variances = np.diagonal(kernel, axis1=-2, axis2=-1) if matrix else kernel
    jumps = [step.op for step in net.branch.opening if 0 in step.op.jumps]
    if jumps and (variances == 0).any():
        raise KernelError(
            "K0 with a variance of zero",
            f"{jumps[0].name} jumps at zero, so its averages have no limit there",
            "give a positive variance",
        )


def _kernel(
    net: ResNet, given: Mapping[str, Any], symbols: Mapping[sp.Symbol, Array], *, matrix: bool
) -> Array:
    if len(given) != 1:
        raise HyperparameterError(
            "the kernel at layer 0",
            "exactly one of K0 and inputs is needed",
            "pass K0=..., or inputs=... if the network has a read_in",
        )
    if "K0" in given:
        return validated_kernel(given["K0"], matrix=matrix)
    kernel = kernel_from_inputs(given["inputs"], _read_in_variances(net, symbols))
    if matrix:
        return kernel
    if kernel.shape[-1] != 1:
        raise HyperparameterError(
            f"{kernel.shape[-1]} inputs",
            "the recursion is of one input",
            "use inputs=2 in kernel()",
        )
    return np.asarray(kernel[..., 0, 0])


def _read_in_variances(
    net: ResNet, symbols: Mapping[sp.Symbol, Array]
) -> tuple[Array, Array] | None:
    if net.read_in is None:
        return None
    return value_of(net.read_in.weight_variance, symbols), value_of(
        net.read_in.bias_variance, symbols
    )
