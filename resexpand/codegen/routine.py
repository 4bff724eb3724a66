"""`Routine`: a recursion compiled for a target, called with hyperparameters.

    routine = compile_routine(response(net))
    routine(rho=np.linspace(0, 1, 101), sigma_w2=1, sigma_b2=0, K0=0.1, depth=20)["eta"]

The generated source is kept as a file under its content hash; a second process compiles nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.accuracy import differences, problems, quadrature_errors
from resexpand.codegen.arguments import (
    Arguments,
    arguments_of,
    input_pairs,
    rule_arrays,
    sampled,
)
from resexpand.codegen.assembly import routine_source
from resexpand.codegen.binding import Point, bind
from resexpand.codegen.cuda.device import chosen, require_cuda
from resexpand.codegen.driver import output_slots, points_per_tile
from resexpand.codegen.results import Buffers, Pairs, allocate, assembled
from resexpand.codegen.schedule import Schedule, diagonal_slot, schedule
from resexpand.codegen.store import load
from resexpand.codegen.threads import run_tiles
from resexpand.codegen.values import Values
from resexpand.conventions import WIDTH
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.gaussian.quadrature import Resolution
from resexpand.references import REFERENCES, Citation
from resexpand.theory.recursion import Recursion

Array = NDArray[np.float64]
Target = Literal["cpu", "cuda", "auto"]
Precision = Literal["double", "single"]

CUDA_ASKED = "target='cuda'"
COMPARED = 16
"""Points of the grid at which a run in single precision is compared with double precision."""


@dataclass(frozen=True)
class Routine:
    """A compiled recursion.

    Attributes
    ----------
    recursion : Recursion
        What it computes.
    target : str
        Where it runs: ``cpu`` or ``cuda``.
    precision : str
        ``double`` or ``single``: what it computes in.
    place : str
        The target in words, with the device, or with the reason where it was chosen.
    plan : Schedule
        Arguments and expressions it was generated from.
    source : str
        The generated Python text.
    operations : int
        Arithmetic operations and function calls per point and layer.
    """

    recursion: Recursion
    target: str
    precision: Precision
    place: str
    plan: Schedule
    source: str
    operations: int

    @property
    def citations(self) -> tuple[Citation, ...]:
        """Where its equations stand, and the panels of its quadratures if it has any."""
        rule = (Citation(REFERENCES["pachon2010"]),) if self.plan.quadratures else ()
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
        on_device = [k for k, v in hyperparameters.items() if _is_on_device(v)]
        if on_device:
            return self._on_device(on_device[0], hyperparameters)
        matrix = recursion.inputs == 2
        bindings = dict(recursion.bindings), dict(recursion.layer_bindings)
        point = bind(recursion.net, *bindings, hyperparameters, matrix=matrix)
        pairs = input_pairs(self.plan, point, recursion.inputs)
        fine = self._run(point, pairs, "fine")
        quadrature: dict[str, float] = {}
        if self.plan.quadratures:
            coarse = self._run(point, pairs, "coarse")
            runs = fine.slots, coarse.slots
            quadrature = quadrature_errors(self.plan, *runs, pairs=matrix, depth=point.depth)
        rounding = self._rounding(point, pairs, fine) if self.precision == "single" else {}
        inputs = point.kernel.shape[-1] if matrix else 0
        arrays = {o.name: assembled(o, fine, point.grid, pairs, inputs) for o in self.plan.outputs}
        looked_at = {} if fine.is_finite else arrays
        errors = quadrature, rounding
        found = problems(self.plan, looked_at, *errors, self.precision, self.recursion.laws)
        citations = self.citations
        return Values(arrays, point.depth, found, quadrature, citations, self.place, rounding)

    def _run(self, point: Point, pairs: Pairs, resolution: Resolution) -> Buffers:
        arguments = arguments_of(self.plan, point, pairs, self.recursion.inputs)
        number = np.float64 if self.precision == "double" else np.float32
        buffers = allocate(self.plan, arguments.count, point.depth, number)
        if not arguments.count:
            return buffers
        if self.target == "cuda":
            return self._run_on_cuda(arguments, point.depth, resolution, buffers)
        self._run_on_cpu(arguments, point.depth, resolution, buffers)
        return buffers

    def _run_on_cpu(
        self, arguments: Arguments, depth: int, resolution: Resolution, buffers: Buffers
    ) -> None:
        plan, count = self.plan, arguments.count
        run: Callable[..., None] = load(self.source).run
        outputs = [buffers.slots[slot] for slot in output_slots(plan)]
        given = (count, depth, *rule_arrays(plan, resolution), *arguments.flat(), *outputs)
        tiles = -(-count // points_per_tile(plan))
        run_tiles(run, tiles, depth * (1000 if plan.quadratures else 1), given)

    def _run_on_cuda(
        self, arguments: Arguments, depth: int, resolution: Resolution, buffers: Buffers
    ) -> Buffers:
        from resexpand.codegen.cuda.launch import Kernels, streamed

        rules = rule_arrays(self.plan, resolution)
        number = np.float64 if self.precision == "double" else np.float32
        diagonals = [diagonal_slot(o.name) for o in self.plan.outputs if o.diagonal is not None]
        wholes = buffers.wholes | {name: buffers.slots[name] for name in diagonals}
        kernels = Kernels(load(self.source), self.plan, depth, arguments.count, rules, number)
        finite = streamed(kernels, arguments, wholes)
        return replace(buffers, is_complete=True, is_finite=finite)

    def _on_device(self, name: str, hyperparameters: dict[str, Any]) -> Values:
        if self.target != "cuda":
            raise HyperparameterError(
                f"{name} on a device", f"the routine runs on the {self.target}", "use target='cuda'"
            )
        from resexpand.codegen.cuda.on_device import device_values

        values: Values = device_values(self, hyperparameters)
        return values

    def exact(self, arguments: Arguments, depth: int) -> Buffers:
        """Return the same in double precision on the CPU: what single precision is held against."""
        whole = compile_routine(self.recursion, "cpu", [o.name for o in self.plan.outputs])
        buffers = allocate(self.plan, arguments.count, depth)
        whole._run_on_cpu(arguments, depth, "fine", buffers)
        return buffers

    def _rounding(self, point: Point, pairs: Pairs, run: Buffers) -> dict[str, float]:
        """Return what single precision changes, at a few points that the CPU computes as well."""
        count, matrix = int(np.prod(point.grid, dtype=int)), self.recursion.inputs == 2
        if not count:
            return {}
        indices = np.unique(np.linspace(0, count - 1, COMPARED).astype(int))
        few_points = sampled(point, indices, matrix=matrix)
        arguments = arguments_of(self.plan, few_points, pairs, self.recursion.inputs)
        few = self.exact(arguments, point.depth)
        rows = (indices[:, None] * len(pairs) + np.arange(len(pairs))).reshape(-1)
        own = {slot: run.slots[slot][rows].astype(np.float64) for slot in few.slots}
        # The device has multiplied these by their diagonals.
        products = [o for o in self.plan.outputs if o.diagonal is not None]
        whole = {o.name: assembled(o, few, (indices.size,), pairs, 0) for o in products}
        return differences(self.plan, {**few.slots, **whole}, own, pairs=matrix)


def _is_on_device(value: Any) -> bool:
    return hasattr(value, "__cuda_array_interface__")


@lru_cache(maxsize=256)
def _compiled(
    recursion: Recursion, target: str, precision: Precision, place: str, outputs: tuple[str, ...]
) -> Routine:
    plan = schedule(recursion, outputs)
    name = target if precision == "double" else f"{target}_single"
    source, operations = routine_source(recursion, plan, name)
    return Routine(recursion, target, precision, place, plan, source, operations)


def compile_routine(
    recursion: Recursion,
    target: Target = "cpu",
    outputs: Sequence[str] | None = None,
    *,
    precision: Precision = "double",
) -> Routine:
    """Generate and compile the routine of a recursion.

    Parameters
    ----------
    recursion : Recursion
        What to compute.
    target : {"cpu", "cuda", "auto"}
        Where the routine runs; ``"auto"`` takes a GPU if there is one that can be used, and says in
        ``place`` and in the ``target`` of the result what it took and why. On ``"cuda"``, arrays of
        NumPy give arrays of NumPy, with grids larger than the device's memory streamed through it;
        if one hyperparameter lies on the device (anything with ``__cuda_array_interface__``), the
        results stay there.
    outputs : sequence of str, optional
        Outputs to compute; all by default. Leaving out a propagator saves its ``(L + 1)^2``
        numbers per point.
    precision : {"double", "single"}
        What to compute in; single precision is for ``"cuda"`` alone. Its error, measured at a few
        points of the grid, is the ``rounding_error`` of the result. Where ``"auto"`` takes the CPU,
        it computes in double precision.

    Returns
    -------
    Routine
        Callable with the hyperparameters; its text is ``routine.source``. Machine code is made at
        the first call and kept on disk.

    Raises
    ------
    UnsupportedError
        If the target or the precision is unknown, or the recursion holds a function the target has
        not.
    DeviceError
        If ``target="cuda"`` and no GPU can be used: which package, driver or device is missing.
    """
    target, place = _placed(target)
    if precision not in get_args(Precision):
        raise UnsupportedError(
            f"precision {precision!r}", "there is no such precision", "use 'double' or 'single'"
        )
    if precision == "single":
        if target == "cpu" and place == "cpu":
            raise UnsupportedError(
                "precision 'single' on target 'cpu'",
                "the CPU computes in double precision",
                "use target='cuda', or leave the precision out",
            )
        precision = "double" if target == "cpu" else precision
        place += " in double precision" if target == "cpu" else " in single precision"
    names = tuple(o.name for o in recursion.outputs) if outputs is None else tuple(outputs)
    return _compiled(recursion, target, precision, place, names)


def _placed(target: Any) -> tuple[Any, str]:
    """Return the target that a name stands for, and the place in words."""
    if target == "auto":
        return chosen()
    if target == "cuda":
        return "cuda", f"cuda ({require_cuda(CUDA_ASKED).name})"
    if target != "cpu":
        raise UnsupportedError(
            f"target {target!r}", "there is no such target", "use 'cpu', 'cuda' or 'auto'"
        )
    return "cpu", "cpu"
