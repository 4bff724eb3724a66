"""From the keywords of a call to the arrays a routine runs on, with every mistake named.

Hyperparameters left symbolic in the network are given by the name of their symbol and broadcast
against each other; the kernel at layer 0 is `K0`, or is computed from `inputs` by the read-in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray

from resexpand.conventions import WIDTH
from resexpand.errors import HyperparameterError
from resexpand.network.inputs import kernel_between, kernel_from_inputs, validated_kernel
from resexpand.network.resnet import ResNet

Array = NDArray[np.float64]


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
    notes : tuple of str
        What was rounded about the kernel.
    variances : tuple of ndarray
        For two sets of inputs: the variances of both, ``(..., D1)`` and ``(..., D2)``.
    """

    depth: int
    grid: tuple[int, ...]
    values: dict[sp.Symbol, Array]
    layer_values: dict[sp.Symbol, Array]
    kernel: Array
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
        name: given.pop(name) for name in ("K0", "inputs", "others") if name in given
    }
    own = {s for s, value in bindings.items() if s == value and not _is_kernel(s)}
    symbols = _symbol_values(net, own, given)
    _common_shape([value.shape for value in symbols.values()], keywords)
    depth = _depth(net, symbols)
    values = {s: _value(expr, symbols) for s, expr in bindings.items() if not _is_kernel(s)}
    layers = {s: _stacked(exprs, symbols) for s, exprs in layer_bindings.items()}
    _check_ranges(net, values, symbols)
    kernel, notes, variances = _kernel(net, kernel_given, symbols, matrix=matrix)
    trimmed = [kernel.shape[:-2] if matrix else kernel.shape]
    shapes = [v.shape for v in values.values()] + [v.shape[:-1] for v in layers.values()] + trimmed
    grid = _common_shape(shapes, keywords)
    return Point(depth, grid, values, layers, kernel, notes, variances)


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


def _is_kernel(symbol: sp.Symbol) -> bool:
    return str(symbol) == "K0" or str(symbol).startswith("K0_")


def _symbol_values(
    net: ResNet, own: set[sp.Symbol], given: dict[str, Any]
) -> dict[sp.Symbol, Array]:
    """Return what was given, by symbol: those the network leaves open and those of the formulas."""
    free = {s.name: s for s in net.free_symbols | own}
    if "width" in given and WIDTH in own:
        given[WIDTH.name] = given.pop("width")
    if "depth" in given and isinstance(net.depth, sp.Symbol):
        given[net.depth.name] = given.pop("depth")
    elif "depth" in given and net.depth.is_number:
        if np.ndim(given["depth"]) or given["depth"] != int(net.depth):
            raise HyperparameterError(
                f"depth = {given['depth']}",
                f"the network was described with depth {net.depth}",
                "leave it out, or describe the network with a symbol as depth",
            )
        given.pop("depth")
    unknown = [name for name in given if name not in free]
    if unknown:
        known = [*sorted(free), "K0"]
        raise HyperparameterError(
            f"hyperparameter {unknown[0]!r}",
            "the network leaves no symbol of this name open",
            f"it takes {', '.join(known)}",
        )
    return {free[name]: _array(name, value) for name, value in given.items()}


def _array(name: str, value: ArrayLike) -> Array:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise HyperparameterError(
            f"{name} = {value!r}", "it is not a number or an array of numbers", "give numbers"
        ) from None
    if not np.isfinite(array).all():
        raise HyperparameterError(f"{name} = {value!r}", "it is not finite", "give finite numbers")
    return array


def _depth(net: ResNet, symbols: Mapping[sp.Symbol, Array]) -> int:
    if net.depth.is_number:
        return int(net.depth)
    value = _value(net.depth, symbols, name="depth")
    if value.ndim or value != int(value) or value < 1:
        raise HyperparameterError(
            f"depth = {value}", "it is not a positive integer", "give one depth per call"
        )
    return int(value)


def _value(expression: sp.Expr, symbols: Mapping[sp.Symbol, Array], name: str = "") -> Array:
    missing = sorted(s.name for s in expression.free_symbols if s not in symbols)
    if missing:
        wanted = name or missing[0]
        raise HyperparameterError(
            f"a value of {wanted}",
            "the network leaves it symbolic and the call does not give it",
            f"pass {wanted}=...",
        )
    if isinstance(expression, sp.Symbol):
        return symbols[expression]
    if expression.is_number:
        return np.asarray(float(expression))
    order = sorted(expression.free_symbols, key=sp.default_sort_key)
    compiled = sp.lambdify(order, expression, modules="numpy")
    with np.errstate(all="ignore"):
        value: Array = np.asarray(compiled(*(symbols[s] for s in order)), dtype=np.float64)
    if not np.isfinite(value).all():
        raise HyperparameterError(f"{expression}", "it is not finite there", "change the values")
    return value


def _stacked(expressions: tuple[sp.Expr, ...], symbols: Mapping[sp.Symbol, Array]) -> Array:
    columns = np.broadcast_arrays(*(_value(e, symbols) for e in expressions))
    return np.stack(columns, axis=-1)


def _check_ranges(
    net: ResNet, values: Mapping[sp.Symbol, Array], symbols: Mapping[sp.Symbol, Array]
) -> None:
    linears = (*net.branch.linears, *filter(None, (net.read_in, net.read_out)))
    variances = {v for op in linears for v in (op.weight_variance, op.bias_variance)}
    # A read-in belongs to no recursion, so what it leaves open is looked up where it was given.
    known = {**{v: symbols[v] for v in variances if v in symbols}, **values}
    for symbol, value in known.items():
        if symbol == WIDTH and ((value < 1).any() or (value != np.floor(value)).any()):
            raise HyperparameterError(
                f"width {value.min()}", "it is not a positive integer", "give the neurons per layer"
            )
        if (symbol in variances or symbol.is_nonnegative) and (value < 0).any():
            raise HyperparameterError(
                f"{symbol.name} = {value.min()}", "a variance is never negative", "give >= 0"
            )


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
    kernel = kernel_from_inputs(given["inputs"], read_in)
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
    weight = _value(net.read_in.weight_variance, symbols)
    bias = _value(net.read_in.bias_variance, symbols)
    if min(weight.min(initial=0.0), bias.min(initial=0.0)) < 0:
        raise HyperparameterError(
            f"a read-in of variances {weight} and {bias}",
            "a variance is never negative",
            "give >= 0",
        )
    return weight, bias
