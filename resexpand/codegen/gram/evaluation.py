"""Run a recursion of pairs on all pairs of many inputs, or between two sets of inputs.

A routine of its own computes the values of one input, once per input; the loops over pairs then
go from layer to layer on whole matrices, which they fill from the start in the shape that is
returned.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from types import ModuleType
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.codegen.arguments import arguments_of, rule_arrays
from resexpand.codegen.binding import Point
from resexpand.codegen.gram.driver import BLOCK, GramPlan, gram_source, planned
from resexpand.codegen.gram.series import table
from resexpand.codegen.memory import require_memory
from resexpand.codegen.schedule import restricted, schedule, with_equal_inputs
from resexpand.codegen.store import load
from resexpand.codegen.threads import run_tiles
from resexpand.codegen.track import stages, untracked
from resexpand.codegen.values import relative_difference
from resexpand.conventions import PAIR0
from resexpand.errors import UnsupportedError
from resexpand.expressions.numeric import value_at
from resexpand.gaussian.quadrature import Resolution
from resexpand.theory.gram import split
from resexpand.theory.recursion import Output, Recursion

Array = NDArray[np.float64]

QUADRATURE_WORK, SERIES_WORK, CLOSED_WORK = 100_000, 300, 32
"""Cost of a block of pairs in units of a tile with closed forms, by kind of average."""

Scale = tuple[Array, Array] | None
"""Entries of equal inputs, ``(G, L + 1, D)`` or ``(G, D)``: errors are relative to their roots."""


Compile = Callable[[Recursion], Any]
"""Returns the `Routine` of a recursion of one input."""


@dataclass(frozen=True)
class GramArrays:
    """Outputs of all pairs, and the relative error of those that rest on quadrature or series."""

    arrays: dict[str, Array]
    error: dict[str, float]


def gram_arrays(
    recursion: Recursion, names: tuple[str, ...], point: Point, compile_single: Compile
) -> GramArrays:
    """Return the outputs of a pair recursion for all pairs.

    Parameters
    ----------
    recursion : Recursion
        Of two inputs.
    names : tuple of str
        Outputs that are wanted.
    point : Point
        Hyperparameters; its kernel is ``(..., D, D)``, or ``(..., D1, D2)`` with variances.
    compile_single : callable
        Compiles the recursion of one input.

    Returns
    -------
    GramArrays
        Arrays of shape ``grid + (L + 1, D1, D2)``, ``grid + (D1, D2)`` for final outputs, and
        ``grid + (L + 1, L + 1, D1, D2)`` for propagators.
    """
    source, plan = _planned(recursion, names)
    _require_memory(plan, point)
    single = compile_single(plan.gram.single)
    is_inexact = bool(plan.pair.quadratures or single.plan.quadratures)
    resolutions: tuple[Resolution, ...] = ("fine", "coarse") if is_inexact else ("fine",)
    runs = [_run(plan, source, point, single, resolutions[k]) for k in stages(len(resolutions))]
    fine, coarse = runs[0], runs[-1]
    arrays, error = {}, {}
    for name in names:
        value, scale = fine[name]
        if is_inexact:
            error[name] = _difference(value, coarse[name][0], scale)
        arrays[name] = value.reshape(point.grid + value.shape[1:])
    return GramArrays(arrays, error)


@lru_cache(maxsize=256)
def _planned(recursion: Recursion, names: tuple[str, ...]) -> tuple[str, GramPlan]:
    """Return the source text of the loops over pairs, and the plan behind it."""
    gram = split(restricted(with_equal_inputs(recursion), names), names)
    pair = schedule(gram.pair)
    if pair.constants or any(p.size > 1 for p in pair.propagations):
        raise UnsupportedError(
            f"the {recursion.title} of more than two inputs",
            "its equations mix the entries of the kernel",
            "give K0 of shape (2, 2)",
        )
    plan = planned(gram, pair)
    return gram_source(plan), plan


def _shape(output: Output, point: Point) -> tuple[int, ...]:
    return (math.prod(point.grid), *output.layers(point.depth), *point.kernel.shape[-2:])


def _require_memory(plan: GramPlan, point: Point) -> None:
    pair = plan.pair
    count = sum(math.prod(_shape(output, point)) for output in pair.outputs)
    carried = len(pair.state) + len(pair.propagations)
    runs = 2 if pair.quadratures else 1
    size = 8 * (runs * count + carried * math.prod(point.grid) * math.prod(point.kernel.shape[-2:]))
    names = ", ".join(output.name for output in pair.outputs)
    shape = " x ".join(map(str, point.kernel.shape[-2:]))
    require_memory(
        f"the outputs {names} for {shape} pairs of inputs at depth {point.depth}",
        size,
        "name those that are needed, such as outputs=['K'], or take fewer inputs at a time",
    )


def _run(
    plan: GramPlan, source: str, point: Point, single: Any, resolution: Resolution
) -> dict[str, tuple[Array, Scale]]:
    """Return every output with the scale of its error; None where that is its own size."""
    own = np.diagonal(point.kernel, axis1=-2, axis2=-1)
    with untracked():
        sides = [
            _of_singles(single, point, variances, resolution)
            for variances in point.variances or (own,)
        ]
    outputs = {o.name: np.empty(_shape(o, point)) for o in plan.pair.outputs}
    _fill(plan, source, point, (sides[0], sides[-1]), resolution, outputs)
    return {
        name: _with_scale(array, sides[0].get(name), sides[-1].get(name), not point.variances)
        for name, array in outputs.items()
    }


def _of_singles(
    single: Any, point: Point, variances: Array, resolution: Resolution
) -> dict[str, Array]:
    """Return the quantities of single inputs by name, of shape ``(L + 1, G, D)`` or ``(G, D)``."""
    values = {s: v[..., None] if v.ndim else v for s, v in point.values.items()}
    layers = {s: v[..., None, :] if v.ndim > 1 else v for s, v in point.layer_values.items()}
    full = np.broadcast_to(variances, (*point.grid, variances.shape[-1]))
    own = Point(point.depth, full.shape, values, layers, full)
    shape = (math.prod(point.grid), full.shape[-1])
    return {
        name: np.ascontiguousarray(np.moveaxis(array.reshape(*shape, *array.shape[1:]), -1, 0))
        if array.ndim > 1
        else array.reshape(shape)
        for name, array in single.run(own, [(0, 0)], resolution).slots.items()
    }


def _fill(
    plan: GramPlan,
    source: str,
    point: Point,
    sides: tuple[dict[str, Array], dict[str, Array]],
    resolution: Resolution,
    outputs: dict[str, Array],
) -> None:
    """Carry all pairs through the layers, and fill the outputs on the way."""
    pair, gram, module = plan.pair, plan.gram, load(source)
    size = (math.prod(point.grid), point.kernel.shape[-2], point.kernel.shape[-1])
    factors = {name: np.empty(size) for name in plan.factors}
    initial = dict(zip(gram.pair.state, gram.pair.initial, strict=True))
    states = [_start(initial[symbol], point).reshape(size) for symbol in pair.state]
    given = [*rule_arrays(pair, resolution), *arguments_of(pair, point, [], 1).flat()]
    given += [side[s.name] for side in sides for s in gram.first]
    filled = [outputs[s] for s in plan.slots] + list(factors.values())
    filled += [outputs[s] for s in plan.finals]
    square = not point.variances
    tiles = _tiles(*size, square)
    work = CLOSED_WORK
    if pair.quadratures:
        work = SERIES_WORK if plan.is_series else QUADRATURE_WORK
    for layer in stages(point.depth + 1):
        last = layer == point.depth
        loop = module.finish_run if last and plan.is_finished else module.run
        block = min(layer, point.depth - 1)
        fixed = (tiles, layer, block, square, float(resolution == "coarse"))
        tables = _tables(plan, module, sides, layer, resolution)
        run_tiles(loop, len(tiles), work, (*fixed, *given, *tables, *states, *filled))
        for name, factor in factors.items():
            array = outputs[name]
            array[:, layer, layer], array[:, layer, layer + 1 :] = 1.0, 0.0
            if not last:
                before = array[:, layer, : layer + 1]
                np.multiply(factor[:, None], before, out=array[:, layer + 1, : layer + 1])


def _start(value: sp.Expr, point: Point) -> Array:
    """Return what a quantity of the pairs begins with."""
    at = {symbol: number[..., None, None] for symbol, number in point.values.items()}
    start = value_at(value, {**at, PAIR0[1]: point.kernel})
    return np.broadcast_to(start, (*point.grid, *point.kernel.shape[-2:])).copy()


def _tables(
    plan: GramPlan,
    module: ModuleType,
    sides: tuple[dict[str, Array], dict[str, Array]],
    layer: int,
    resolution: Resolution,
) -> list[Array]:
    """Return the coefficients of all series at a layer, of the first and of the second inputs."""
    tables: list[Array] = []
    # Values of second inputs are stored under the symbols of the first.
    names = dict(zip(plan.gram.second, plan.gram.first, strict=True))
    for series in plan.series:
        last = len(series.functions) - 1
        variances = sides[0][series.key[1].name][layer], sides[1][names[series.key[2]].name][layer]
        alike = last == 0 and np.array_equal(*variances)
        for k, variance in zip((0, last), variances, strict=True):
            if alike and len(tables) % 2:
                tables.append(tables[-1])
                continue
            features = getattr(module, f"{series.name}_feature{k}s")
            own = table(features, series, np.sqrt(variance).ravel(), resolution)
            tables.append(own.reshape(*variance.shape, -1))
    return tables


def _tiles(points: int, rows: int, columns: int, square: bool) -> NDArray[np.int64]:
    """Return the blocks of pairs: point of the grid, first and last row, first and last column."""

    def edges(size: int) -> list[tuple[int, int]]:
        count = -(-size // BLOCK)
        return [(size * k // count, size * (k + 1) // count) for k in range(count)]

    tiles = [
        (point, *a, *b)
        for point, a, b in product(range(points), edges(rows), edges(columns))
        if not square or b[0] >= a[0]
    ]
    return np.array(tiles, dtype=np.int64).reshape(-1, 5)


def _with_scale(
    array: Array, first: Array | None, second: Array | None, square: bool
) -> tuple[Array, Scale]:
    """Return an output with its diagonal, and what its error is relative to."""
    if first is None or second is None:
        return array, None
    one, two = (np.moveaxis(v, 0, 1) if v.ndim > 2 else v for v in (first, second))
    if square:
        each = np.arange(array.shape[-1])
        array[..., each, each] = one
    return array, (one, two)


def _difference(fine: Array, coarse: Array, scale: Scale) -> float:
    """Return the largest relative difference, matrix by matrix."""

    def of(k: tuple[int, ...]) -> float:
        if scale is None:
            return relative_difference(fine[k], coarse[k], np.abs(fine[k]))
        one, two = (np.sqrt(np.abs(variances[k])) for variances in scale)
        return relative_difference(fine[k], coarse[k], np.outer(one, two))

    return max(map(of, np.ndindex(fine.shape[:-2])), default=0.0)
