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
from numpy.typing import NDArray

from resexpand.codegen.accuracy import accuracy_problems, differences, is_layered, quadrature_errors
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
from resexpand.codegen.results import Buffers, allocate, assembled
from resexpand.codegen.schedule import Schedule, diagonal_slot
from resexpand.codegen.store import load
from resexpand.codegen.values import Values, overflow_sentence
from resexpand.errors import HyperparameterError
from resexpand.gaussian.quadrature import Resolution
from resexpand.references import Citation
from resexpand.theory.recursion import Output, Recursion

SAMPLE = 1024
"""Points at which two resolutions of a quadrature are compared."""

COMPARED = 16
"""Points at which a run in single precision is compared with double precision."""


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

    def exact(self, arguments: Arguments, depth: int) -> Buffers:
        """Return the same in double precision on the CPU."""


@dataclass(frozen=True)
class Given:
    """The parameters of a call on the device, and which point reads which value of them.

    The rows of `places` are shift, repetitions and period of a parameter; `where` are the same on
    the device. `held` are the parameters that were given there, by their number.
    """

    parameters: list[Any]
    places: NDArray[np.int64]
    where: Any
    count: int
    held: frozenset[int]


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
    sent = len(plan.parameters) + point.depth * len(plan.layer_parameters)
    with memory.said_of(arguments.count, sent * np.dtype(number).itemsize):
        given = _given(routine, arguments, point, held, number)
    fine, finite = _run(routine, given, point.depth, "fine", number)
    quadrature: dict[str, float] = {}
    if plan.quadratures and given.count:
        coarse, _ = _run(routine, given, point.depth, "coarse", number)
        few = [_few(plan, arrays, given.count, point.depth, number) for arrays in (fine, coarse)]
        runs = few[0].slots, few[1].slots
        quadrature = quadrature_errors(plan, *runs, pairs=matrix, depth=point.depth)
    rounding: dict[str, float] = {}
    if routine.precision == "single" and given.count:
        rounding = _rounding(routine, arguments, given, fine, point.depth)
    arrays = {o.name: _shown(o, fine[o.name], point) for o in plan.outputs}
    suspects = () if finite else plan.outputs
    found = [s for o in suspects for s in _flaws(o, fine[o.name], point, routine.precision)]
    found += accuracy_problems(quadrature, rounding, routine.precision)
    values, problems = cast(Any, arrays), tuple(found)
    said = quadrature, routine.citations, routine.place, rounding
    return Values(values, point.depth, problems, *said)


def _view(name: str, value: Any, number: Any) -> Any:
    if name in ("depth", "inputs", "width"):
        raise HyperparameterError(f"{name} on a device", "the host needs it", "pass a NumPy array")
    view = view_of(value)
    if view.dtype != np.dtype(number):
        raise HyperparameterError(
            f"{name} of {view.dtype} on a device",
            f"the routine computes in {np.dtype(number)} and copies nothing",
            f"convert it there{_other_precision(view.dtype)}",
        )
    if not view.is_c_contiguous():
        raise HyperparameterError(
            f"{name} on a device", "it is not contiguous", "make a contiguous copy of it"
        )
    return view


def _other_precision(kind: Any) -> str:
    """Return what else would do for numbers of some type: to compute in it, where that is known."""
    known = {"float32": "single", "float64": "double"}.get(str(kind))
    return f", or use precision={known!r}" if known else ""


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
    on_device = frozenset(k for k, s in enumerate(plan.parameters) if taken[s] is not None)
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
    return Given(parameters, rows, cuda.to_device(rows), arguments.count, on_device)


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
    with memory.said_of(given.count, numbers * np.dtype(number).itemsize):
        arrays = {
            name: memory.device_array((rows, given.count), number)
            for name, rows in kernels.rows.items()
        }
    if given.count:
        kernels.launch(given.count, given.where, given.parameters, arrays, 0)
    return arrays, kernels.all_finite()


def _rounding(
    routine: Compiled, arguments: Arguments, given: Given, run: dict[str, Any], depth: int
) -> dict[str, float]:
    """Return what single precision changes, at a few points that the CPU computes as well."""
    plan = routine.plan
    few = _few(plan, run, given.count, depth, np.float32, COMPARED)
    points = np.arange(0, given.count, -(-given.count // COMPARED))
    at = np.unravel_index(points, arguments.shape) if arguments.shape else ()
    parameters = []
    for k, value in enumerate(arguments.parameters):
        if k in given.held:
            shift, repeat, period = given.places[k]
            read = (points + shift) // repeat % period
            parameters.append(np.array([given.parameters[k][int(i)] for i in read], np.float64))
        else:
            parameters.append(np.broadcast_to(value, arguments.shape)[at].reshape(points.size))
    layered = [
        np.broadcast_to(value, (*arguments.shape, value.shape[-1]))[at].reshape(points.size, -1)
        for value in arguments.layered
    ]
    exact = routine.exact(Arguments((points.size,), tuple(parameters), tuple(layered)), depth)
    own = {name: values.astype(np.float64) for name, values in few.slots.items()}
    # The device has multiplied these by their diagonals.
    products = [o for o in plan.outputs if o.diagonal is not None]
    whole = {o.name: assembled(o, exact, (points.size,), [(0, 0)], 0) for o in products}
    pairs = routine.recursion.inputs == 2
    return differences(plan, {**exact.slots, **whole}, own, pairs=pairs)


def _few(
    plan: Schedule, arrays: dict[str, Any], count: int, depth: int, number: Any, most: int = SAMPLE
) -> Buffers:
    """Return the results at a few points as arrays of the host."""
    step = -(-count // most)
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
