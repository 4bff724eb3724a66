"""Routines on arrays that lie on a device: nothing is copied to the host but what is said of it.

Hyperparameters that lie on the device are read there, wherever on the grid they broadcast to; all
others are sent. Results are `DeviceArray` and stay. What the host would have checked is checked by
small kernels: that numbers are finite, variances not negative, covariance kernels semi-definite,
and what of the results is not finite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import sympy as sp
from numba import cuda

from resexpand.codegen.accuracy import accuracy_problems, differences, is_layered
from resexpand.codegen.arguments import (
    Arguments,
    arguments_of,
    axes_of,
    input_pairs,
    placed,
    placed_layers,
    rule_arrays,
)
from resexpand.codegen.binding import Point, bind
from resexpand.codegen.cuda import memory
from resexpand.codegen.cuda.arrays import DeviceArray, flaws, is_on_device, sendable, take, view_of
from resexpand.codegen.cuda.checks import check_kernel, check_values
from resexpand.codegen.cuda.launch import Kernels
from resexpand.codegen.results import Buffers, allocate
from resexpand.codegen.schedule import Schedule, diagonal_slot
from resexpand.codegen.store import load
from resexpand.codegen.values import Values, overflow_sentence
from resexpand.errors import HyperparameterError
from resexpand.gaussian.quadrature import Resolution
from resexpand.references import Citation
from resexpand.theory.recursion import Output, Recursion

SAMPLE = 1024
"""Points at which two resolutions of a quadrature are compared."""


class Compiled(Protocol):
    """What is asked of a routine."""

    @property
    def recursion(self) -> Recursion:
        """What it computes."""

    @property
    def plan(self) -> Schedule:
        """Arguments and expressions it was generated from."""

    @property
    def source(self) -> str:
        """The generated text."""

    @property
    def precision(self) -> Any:
        """``double`` or ``single``."""

    @property
    def place(self) -> str:
        """Where it runs, in words."""

    @property
    def citations(self) -> tuple[Citation, ...]:
        """Where its equations stand."""


@dataclass(frozen=True)
class Given:
    """The parameters of a call on the device, and which point reads which value of them."""

    parameters: list[Any]
    where: Any
    count: int


def device_values(routine: Compiled, hyperparameters: dict[str, Any]) -> Values:
    """Evaluate a routine on hyperparameters of which some lie on the device.

    Parameters
    ----------
    routine : Routine
        For the target ``cuda``.
    hyperparameters : dict
        As for a call of the routine. An array on the device has the routine's precision, is
        contiguous, and belongs to a symbol of the network or to ``K0``.

    Returns
    -------
    Values
        Of `DeviceArray`.

    Raises
    ------
    HyperparameterError, KernelError
        If the hyperparameters do not fit the network, or cannot be read where they lie.
    DeviceMemoryError
        If the results do not fit the device.
    """
    plan, recursion = routine.plan, routine.recursion
    number = np.float64 if routine.precision == "double" else np.float32
    held = {k: _view(k, v, number) for k, v in hyperparameters.items() if is_on_device(v)}
    matrix = recursion.inputs == 2
    stand_ins = {k: _stand_in(tuple(v.shape), matrix=matrix and k == "K0") for k, v in held.items()}
    bindings = dict(recursion.bindings), dict(recursion.layer_bindings)
    point = bind(recursion.net, *bindings, {**hyperparameters, **stand_ins}, matrix=matrix)
    pairs = input_pairs(plan, point, recursion.inputs)
    if len(pairs) > 1 or (matrix and point.kernel.shape[-1] != 2):
        raise HyperparameterError(
            f"K0 of {point.kernel.shape[-1]} inputs on a device",
            "the matrices of more or less than two inputs are put together on the host",
            "pass arrays of NumPy, or K0 of shape (..., 2, 2)",
        )
    _check(recursion, held)
    arguments = arguments_of(plan, point, pairs, recursion.inputs)
    given = _given(routine, arguments, point, held, number)
    fine, finite = _run(routine, given, point.depth, "fine", number)
    quadrature: dict[str, float] = {}
    if plan.quadratures and given.count:
        coarse, _ = _run(routine, given, point.depth, "coarse", number)
        few = [_few(plan, arrays, given.count, point.depth, number) for arrays in (fine, coarse)]
        quadrature = differences(plan, few[0].slots, few[1].slots, pairs=matrix)
    arrays = {o.name: _shown(o, fine[o.name], point) for o in plan.outputs}
    suspects = () if finite else plan.outputs
    found = [s for o in suspects for s in _flaws(o, fine[o.name], point, routine.precision)]
    found += accuracy_problems(quadrature, {}, routine.precision)
    values = cast(Any, arrays)
    return Values(values, point.depth, tuple(found), quadrature, routine.citations, routine.place)


def _view(name: str, value: Any, number: Any) -> Any:
    if name in ("depth", "inputs", "width"):
        raise HyperparameterError(f"{name} on a device", "the host needs it", "pass a NumPy array")
    view = view_of(value)
    if view.dtype != np.dtype(number):
        raise HyperparameterError(
            f"{name} of {view.dtype} on a device",
            f"the routine computes in {np.dtype(number)} and copies nothing",
            f"convert it there, or use precision={_precision_of(view.dtype)!r}",
        )
    if not view.is_c_contiguous():
        raise HyperparameterError(
            f"{name} on a device", "it is not contiguous", "make a contiguous copy of it"
        )
    return view


def _precision_of(kind: Any) -> str:
    return "single" if kind == np.float32 else "double"


def _stand_in(shape: tuple[int, ...], *, matrix: bool) -> Any:
    """Return an array of the host with the shape of one of the device, and valid values."""
    if matrix and len(shape) > 1 and shape[-1] == shape[-2]:
        return np.broadcast_to(np.eye(shape[-1]), shape)
    return np.broadcast_to(np.float64(1.0), shape)


def _check(recursion: Recursion, held: dict[str, Any]) -> None:
    for name, view in held.items():
        if name == "K0":
            check_kernel(recursion.net, view, matrix=recursion.inputs == 2)
        else:
            check_values(recursion.net, name, view)


def _given(
    routine: Compiled, arguments: Arguments, point: Point, held: dict[str, Any], number: Any
) -> Given:
    """Return all parameters on the device."""
    plan, shape = routine.plan, arguments.shape
    bindings = dict(routine.recursion.bindings)
    taken = {symbol: _source(symbol, bindings[symbol], held) for symbol in plan.parameters}
    _refuse_others(routine.recursion, plan, held)
    parameters, where = [], []
    for symbol, value in zip(plan.parameters, arguments.parameters, strict=True):
        source = taken[symbol]
        if source is None:
            own = placed(value, shape)
            parameters.append(cuda.to_device(sendable(own.values, number)))
            where.append((0, own.repeat, own.period))
        else:
            parameters.append(source)
            where.append((0, *_axes(symbol.name, value.shape, shape)))
    for value in arguments.layered:
        own = placed_layers(value, shape)
        parameters.append(cuda.to_device(sendable(own.values, number)))
        where.append((0, own.repeat, own.period))
    rows = np.array(where, dtype=np.int64).reshape(-1, 3)
    return Given(parameters, cuda.to_device(rows), arguments.count)


def _source(symbol: sp.Symbol, value: sp.Expr, held: dict[str, Any]) -> Any:
    """Return the flat values of a parameter that lies on the device, None if it does not."""
    name = symbol.name
    if name in ("K0", "K0_11", "K0_12", "K0_22") and "K0" in held:
        entry = {"K0_11": 0, "K0_12": 1, "K0_22": 3}.get(name)
        flat = held["K0"].reshape(held["K0"].size)
        return flat if entry is None else flat[entry::4]
    on_device = sorted(s.name for s in value.free_symbols if s.name in held)
    if not on_device:
        return None
    if not isinstance(value, sp.Symbol):
        raise _not_direct(on_device[0], value)
    return held[value.name].reshape(held[value.name].size)


def _refuse_others(recursion: Recursion, plan: Schedule, held: dict[str, Any]) -> None:
    """Raise where a value on the device is needed for something that the host computes."""
    for symbol, values in recursion.layer_bindings:
        for value in values:
            names = sorted(s.name for s in value.free_symbols if s.name in held)
            if names and symbol in plan.layer_parameters:
                raise _not_direct(names[0], value)


def _not_direct(name: str, value: sp.Expr) -> HyperparameterError:
    return HyperparameterError(
        f"{name} on a device",
        f"the network uses it in {value}, which the host computes",
        "pass it as an array of NumPy, or let a symbol of its own stand for the expression",
    )


def _axes(name: str, own: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, int]:
    found = axes_of((1,) * (len(shape) - len(own)) + own, shape)
    if found is None:
        raise HyperparameterError(
            f"{name} of shape {own} on a device, on a grid of shape {shape}",
            "it varies along axes between which it does not",
            "broadcast it there, or bring its axes together",
        )
    return found


def _run(
    routine: Compiled, given: Given, depth: int, resolution: Resolution, number: Any
) -> tuple[dict[str, Any], bool]:
    """Run the kernels on all points at once.

    Return arrays of shape ``(rows, points)``, and whether all their numbers are finite.
    """
    rules = rule_arrays(routine.plan, resolution)
    kernels = Kernels(load(routine.source), routine.plan, depth, given.count, rules, number)
    numbers = sum(kernels.rows.values())
    try:
        arrays = {
            name: memory.device_array((rows, given.count), number)
            for name, rows in kernels.rows.items()
        }
    except memory.FAILURES as error:
        if not memory.is_out_of_memory(error):
            raise
        per_point = numbers * np.dtype(number).itemsize
        asked = f"{given.count} points"
        raise memory.too_little(asked, given.count, per_point) from error
    if given.count:
        kernels.launch(given.count, given.where, given.parameters, arrays, 0)
    return arrays, kernels.all_finite()


def _few(plan: Schedule, arrays: dict[str, Any], count: int, depth: int, number: Any) -> Buffers:
    """Return the results at a few points as arrays of the host."""
    step = -(-count // SAMPLE)
    buffers = allocate(plan, -(-count // step), depth, number)
    diagonals = [diagonal_slot(o.name) for o in plan.outputs if o.diagonal is not None]
    wholes = buffers.wholes | {name: buffers.slots[name] for name in diagonals}
    for name, whole in wholes.items():
        rows = arrays[name].shape[0]
        result = memory.device_array((rows, whole.shape[0]), number)
        take(arrays[name], step, result, 0)
        whole.reshape(-1, rows)[...] = result.copy_to_host().T
    return buffers


def _shown(output: Output, held: Any, point: Point) -> DeviceArray:
    layers = point.depth + 1
    trailing: tuple[int, ...] = (layers, *output.shape)
    if output.kind == "final":
        trailing = ()
    elif output.kind == "propagator":
        trailing = (layers, layers)
    return DeviceArray(held, point.grid, trailing)


def _flaws(output: Output, held: Any, point: Point, precision: str) -> list[str]:
    if not held.size:
        return []
    bad, has_nan, row = flaws(held, 0)
    if not bad:
        return []
    first = row if is_layered(output) else None
    return [overflow_sentence(output.name, (bad, held.size), has_nan, first, precision)]
