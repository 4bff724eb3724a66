"""`Routine`: a recursion compiled for a target, called with hyperparameters.

    routine = compile_routine(response(net))
    routine(rho=np.linspace(0, 1, 101), sigma_w2=1, sigma_b2=0, K0=0.1, depth=20)["eta"]

The generated source is kept as a file under its content hash; a second process compiles nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.assembly import routine_source
from resexpand.codegen.binding import Point, bind
from resexpand.codegen.driver import output_slots, points_per_tile
from resexpand.codegen.results import Buffers, Pairs, allocate, assembled
from resexpand.codegen.schedule import Schedule, places, schedule, slots
from resexpand.codegen.store import load
from resexpand.codegen.threads import run_tiles
from resexpand.codegen.values import (
    QUADRATURE_LIMIT,
    Values,
    overflow_problem,
    relative_difference,
)
from resexpand.conventions import WIDTH
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.gaussian.quadrature import Resolution, panel_rule, smooth_rule
from resexpand.references import REFERENCES, Citation
from resexpand.theory.recursion import Output, Recursion

Array = NDArray[np.float64]
Target = Literal["cpu"]


@dataclass(frozen=True)
class Routine:
    """A compiled recursion.

    Attributes
    ----------
    recursion : Recursion
        What it computes.
    target : str
        Where it runs.
    plan : Schedule
        Arguments and expressions it was generated from.
    source : str
        The generated Python text.
    operations : int
        Arithmetic operations and function calls per point and layer.
    """

    recursion: Recursion
    target: str
    plan: Schedule
    source: str
    operations: int

    @property
    def citations(self) -> tuple[Citation, ...]:
        """Where its equations stand, and the trapezoidal rule if it has smooth quadratures."""
        smooth = any(quadrature.is_smooth for quadrature in self.plan.quadratures)
        rule = (Citation(REFERENCES["trefethen2014"]),) if smooth else ()
        return (*self.recursion.citations, *rule)

    @property
    def signature(self) -> tuple[str, ...]:
        """Names of the hyperparameters a call takes (those the network leaves symbolic)."""
        free = {s.name for s in self.recursion.net.free_symbols}
        free |= {s.name for s, value in self.recursion.bindings if s == value == WIDTH}
        depth = () if self.recursion.net.depth.is_number else ("depth",)
        named = free - {str(self.recursion.net.depth)}
        return (*depth, *sorted(named), "K0")

    def __call__(self, **hyperparameters: Any) -> Values:
        """Evaluate on a grid of hyperparameters.

        Parameters
        ----------
        **hyperparameters
            ``K0`` (or ``inputs``), ``depth`` unless the network has a number, and every symbol by
            name. Arrays broadcast against each other; ``K0`` of a pair recursion has shape
            ``(..., D, D)``.

        Returns
        -------
        Values
            Arrays of shape ``grid + (layers,)``, ``grid + (layers, D, D)`` for kernels of several
            inputs, ``grid + (L + 1, L + 1)`` for propagators, ``grid`` for final outputs.

        Raises
        ------
        HyperparameterError, KernelError
            If the hyperparameters do not fit the network.
        """
        recursion = self.recursion
        point = bind(
            recursion.net,
            dict(recursion.bindings),
            dict(recursion.layer_bindings),
            hyperparameters,
            matrix=recursion.inputs == 2,
        )
        pairs = _pairs(self.plan, point, recursion.inputs)
        fine = self._run(point, pairs, "fine")
        errors = self._quadrature_error(point, pairs, fine) if self.plan.quadratures else {}
        inputs = point.kernel.shape[-1] if recursion.inputs == 2 else 0
        arrays = {o.name: assembled(o, fine, point.grid, pairs, inputs) for o in self.plan.outputs}
        problems = _problems(self.plan, arrays, errors)
        return Values(arrays, point.depth, problems, errors, self.citations)

    def _run(self, point: Point, pairs: Pairs, resolution: Resolution) -> Buffers:
        run: Callable[..., None] = load(self.source).run
        shape = (*point.grid, len(pairs)) if self.recursion.inputs == 2 else point.grid
        count = int(np.prod(shape, dtype=int))
        arguments = _parameter_arrays(self.plan, point, pairs, shape, self.recursion.inputs)
        buffers = allocate(self.plan, count, point.depth)
        if count:
            outputs = [buffers.slots[slot] for slot in output_slots(self.plan)]
            given = (count, point.depth, *_rules(self.plan, resolution), *arguments, *outputs)
            tiles = -(-count // points_per_tile(self.plan))
            run_tiles(run, tiles, point.depth * (1000 if self.plan.quadratures else 1), given)
        return buffers

    def _quadrature_error(self, point: Point, pairs: Pairs, fine: Buffers) -> dict[str, float]:
        coarse = self._run(point, pairs, "coarse")
        return {
            output.name: max(
                relative_difference(fine.slots[slot], coarse.slots[slot], scale)
                for slot, scale in zip(
                    slots(output),
                    _scales(output, fine.slots, self.recursion.inputs == 2),
                    strict=True,
                )
            )
            for output in self.plan.outputs
        }


def _scales(output: Output, arrays: dict[str, Array], pairs: bool) -> list[Array]:
    """Return what the error of every slot of an output is relative to.

    The covariance of two inputs may vanish exactly; its error is relative to their variances.
    Entries of a vector, or of a matrix of orders, are parts of one whole and relative to the
    largest of them.
    """
    names = slots(output)
    if not output.shape:
        return [np.abs(arrays[names[0]])]
    sizes = {place: np.abs(arrays[n]) for n, place in zip(names, places(output), strict=True)}
    if pairs:
        return [np.sqrt(sizes[i, i]) * np.sqrt(sizes[j, j]) for i, j in sizes]
    largest: Array = np.max([size for place, size in sizes.items() if len(set(place)) == 1], axis=0)
    return [largest] * len(names)


def _pairs(plan: Schedule, point: Point, inputs: int) -> Pairs:
    """Return the pairs of inputs the routine runs on: all of them, once."""
    if inputs == 1:
        return [(0, 0)]
    count = point.kernel.shape[-1]
    single = [o.name for o in plan.outputs if len(o.entries) == 1 or o.kind == "propagator"]
    if single and count != 2:
        raise HyperparameterError(
            f"{single[0]!r} of {count} inputs", "it is of two inputs", "give K0 of shape (2, 2)"
        )
    return [(a, b) for a in range(count) for b in range(a + 1, count)] or [(0, 0)]


def _parameter_arrays(
    plan: Schedule,
    point: Point,
    pairs: Pairs,
    shape: tuple[int, ...],
    inputs: int,
) -> list[Array]:
    kernels = _kernel_entries(point, pairs, inputs)
    arrays = []
    for symbol in plan.parameters:
        if symbol.name in kernels:
            value = kernels[symbol.name]
        else:
            value = point.values[symbol]
            value = value[..., None] if inputs == 2 and value.ndim else value
        arrays.append(_flat(value, shape))
    for symbol in plan.layer_parameters:
        value = point.layer_values[symbol]
        if value.shape[-1] != point.depth:
            raise HyperparameterError("scales", "their number is not the depth", "give one each")
        if value.ndim == 1:
            arrays.append(value[None, :])
            continue
        rows = value[..., None, :] if inputs == 2 else value
        arrays.append(np.broadcast_to(rows, (*shape, point.depth)).reshape(-1, point.depth))
    return arrays


def _flat(value: Array, shape: tuple[int, ...]) -> Array:
    if value.size == 1:
        return np.ascontiguousarray(value.reshape(1))
    return np.ascontiguousarray(np.broadcast_to(value, shape).reshape(-1))


def _kernel_entries(point: Point, pairs: Pairs, inputs: int) -> dict[str, Array]:
    if inputs == 1:
        return {"K0": point.kernel}
    first, second = np.array(pairs).T
    kernel = point.kernel
    return {
        "K0_11": kernel[..., first, first],
        "K0_12": kernel[..., first, second],
        "K0_22": kernel[..., second, second],
    }


def _rules(plan: Schedule, resolution: Resolution) -> list[Array]:
    smooth, panel = smooth_rule(resolution), panel_rule(resolution)
    arrays = {
        "nodes": smooth.nodes,
        "weights": smooth.weights,
        "panel_nodes": panel.nodes,
        "panel_weights": panel.weights,
    }
    return [arrays[rule.name] for rule in plan.rules]


def _problems(
    plan: Schedule, arrays: dict[str, Array], errors: dict[str, float]
) -> tuple[str, ...]:
    found = []
    for output in plan.outputs:
        layered = output.kind in ("trajectory", "layer") and len(output.entries) == 1
        problem = overflow_problem(output.name, np.asarray(arrays[output.name]), layered)
        found += [problem] if problem else []
    found += [
        f"the quadrature in {name} is only good to {error:.1g}"
        for name, error in errors.items()
        if error > QUADRATURE_LIMIT
    ]
    return tuple(found)


@lru_cache(maxsize=256)
def _compiled(recursion: Recursion, target: str, outputs: tuple[str, ...] | None) -> Routine:
    plan = schedule(recursion, outputs)
    source, operations = routine_source(recursion, plan, target)
    return Routine(recursion, target, plan, source, operations)


def compile_routine(
    recursion: Recursion, target: Target = "cpu", outputs: Sequence[str] | None = None
) -> Routine:
    """Generate and compile the routine of a recursion.

    Parameters
    ----------
    recursion : Recursion
        What to compute.
    target : {"cpu"}
        Where the routine runs.
    outputs : sequence of str, optional
        Outputs to compute; all by default. Leaving out a propagator saves its ``(L + 1)^2``
        numbers per point.

    Returns
    -------
    Routine
        Callable with the hyperparameters; its text is ``routine.source``. Machine code is made at
        the first call and kept on disk.

    Raises
    ------
    UnsupportedError
        If the target is unknown, or the recursion holds a function the target has not.
    """
    if target != "cpu":
        raise UnsupportedError(f"target {target!r}", "there is no such target", "use 'cpu'")
    return _compiled(recursion, target, None if outputs is None else tuple(outputs))
