"""`Routine`: a recursion compiled for a target, called with hyperparameters.

    routine = compile_routine(response(net))
    routine(rho=np.linspace(0, 1, 101), sigma_w2=1, sigma_b2=0, K0=0.1, depth=20)["eta"]

The generated source is kept as a file under its content hash; a second process compiles nothing.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.accuracy import problems, quadrature_errors
from resexpand.codegen.arguments import (
    Arguments,
    arguments_of,
    input_pairs,
    rule_arrays,
)
from resexpand.codegen.assembly import routine_text
from resexpand.codegen.beyond import Found, by_parts, completed, improved, is_poor, without_limits
from resexpand.codegen.binding import Point, bind
from resexpand.codegen.cancellation import unresolved
from resexpand.codegen.cuda.device import chosen, require_cuda
from resexpand.codegen.driver import output_slots, points_per_tile
from resexpand.codegen.gram import gram_arrays
from resexpand.codegen.memory import require_memory
from resexpand.codegen.results import Buffers, Pairs, allocate, assembled, required_bytes
from resexpand.codegen.schedule import Schedule, chosen_outputs, diagonal_slot, schedule
from resexpand.codegen.store import load
from resexpand.codegen.threads import run_tiles
from resexpand.codegen.track import stages
from resexpand.codegen.values import Values
from resexpand.conventions import WIDTH, detached, is_on_device
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.expressions.shown import Card, Shown, listed
from resexpand.gaussian.quadrature import Resolution
from resexpand.references import REFERENCES, Citation
from resexpand.theory.columns import ColumnRecursion
from resexpand.theory.recursion import Recursion

Array = NDArray[np.float64]
Target = Literal["cpu", "cuda", "numpy", "auto"]

CUDA_ASKED = "target='cuda'"
FEWER_OUTPUTS = "name those that are needed, such as outputs=['K'], or take fewer points at a time"


@dataclass(frozen=True, repr=False)
class Routine(Shown):
    """A compiled recursion.

    Attributes
    ----------
    recursion : Recursion
        Its equations.
    target : str
        Where it runs: ``cpu`` or ``cuda``.
    place : str
        The target in words, with the device, or with the reason where it was chosen.
    plan : Schedule
        Arguments and expressions it was generated from.
    source : str
        The generated Python text.
    operations : int
        Arithmetic operations and function calls per point and layer.
    loop : str
        The text of a loop that stands apart, and serves all activations; empty if `source` has it.
    """

    recursion: Recursion
    target: str
    place: str
    plan: Schedule
    source: str
    operations: int
    loop: str = ""

    def card(self) -> Card:
        """Return what it says about itself."""
        return Card(
            f"Routine: {self.recursion.title}, {self.place}",
            (
                ("network", repr(self.recursion.net)),
                ("call", f"routine({listed(f'{name}=' for name in self.signature)})"),
                ("outputs", listed(output.name for output in self.plan.outputs)),
                ("work", f"{self.operations} operations per point and layer"),
                ("quadratures", str(len(self.plan.quadratures) or "")),
                ("source", f"{self.source.count(chr(10))} lines in .source"),
            ),
        )

    def _repr_html_(self) -> str:
        code = f"<details><summary>source</summary><pre>{html.escape(self.source)}</pre></details>"
        return self.card().page + code

    @property
    def citations(self) -> tuple[Citation, ...]:
        """Where its equations stand, and the panels of its quadratures if it has any."""
        rule = (Citation(REFERENCES["pachon2010"]),) if self.plan.quadratures else ()
        return (*self.recursion.citations, *rule)

    @property
    def signature(self) -> tuple[str, ...]:
        """Names of the hyperparameters a call takes (those the network leaves symbolic)."""
        free = {s.name for s in self.recursion.net.free_symbols}
        free |= {WIDTH.name} if self.recursion.takes_width else set()
        depth = () if self.recursion.net.depth.is_number else ("depth",)
        named = free - {str(self.recursion.net.depth)}
        return (*depth, *sorted(named), "K0")

    def __call__(self, /, **hyperparameters: Any) -> Values:
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
        # A trainable tensor may not show where it lies.
        hyperparameters = {k: detached(v) for k, v in hyperparameters.items()}
        on_device = [k for k, v in hyperparameters.items() if is_on_device(v)]
        if on_device:
            hyperparameters = self._fetched(on_device, hyperparameters)
        matrix = recursion.inputs == 2
        bindings = dict(recursion.bindings), dict(recursion.layer_bindings)
        point = bind(recursion.net, *bindings, hyperparameters, matrix=matrix)
        if point.variances and self.target != "cpu":
            raise UnsupportedError(
                f"a kernel between two sets of inputs on target {self.target!r}",
                "it is computed on the CPU",
                "use target='cpu', or give all inputs at once",
            )
        if on_device:
            return self._on_device(point, input_pairs(self.plan, point, recursion.inputs))
        found = self._found(point)
        beyond = None if found.is_finite else without_limits(recursion)
        if beyond is not None:
            found = completed(found, point, self._like(beyond)._found)
        if found.error and is_poor(found) and not point.variances:
            moved = self._like(by_parts(recursion))
            found = improved(found, point, self._found, moved._found)
        looked_at = {} if found.is_finite else found.arrays
        said = problems(self.plan, looked_at, found.error, self.recursion.laws)
        said += found.unresolved
        return Values(
            found.arrays, point.depth, said, found.error, self.citations, self.place, point.notes
        )

    def _like(self, recursion: Recursion) -> Routine:
        """Return the routine of the same outputs of another form of the recursion."""
        names = tuple(output.name for output in self.plan.outputs)
        return _compiled(recursion, self.target, self.place, names)

    def _found(self, point: Point) -> Found:
        """Return the outputs on a grid, in arrays on the host."""
        matrix = self.recursion.inputs == 2
        if matrix and (point.variances or point.kernel.shape[-1] != 2) and self.target == "cpu":
            return self._of_all_pairs(point)
        pairs = input_pairs(self.plan, point, self.recursion.inputs)
        self._require_memory(point, pairs)
        rules: tuple[Resolution, Resolution] = ("fine", "coarse")
        resolutions = rules[: 1 + bool(self.plan.quadratures)]
        fine, *others = (self.run(point, pairs, resolutions[k]) for k in stages(len(resolutions)))
        quadrature: dict[str, float] = {}
        for coarse in others:
            runs = fine.slots, coarse.slots
            with np.errstate(all="ignore"):
                quadrature = quadrature_errors(self.plan, *runs, pairs=matrix, depth=point.depth)
        inputs = point.kernel.shape[-1] if matrix else 0
        arrays = {o.name: assembled(o, fine, point.grid, pairs, inputs) for o in self.plan.outputs}
        start = np.broadcast_to(point.kernel, point.grid) if not matrix else point.kernel
        rounding = unresolved(self.plan.outputs, arrays, start)
        return Found(arrays, quadrature, rounding, fine.is_finite)

    def _of_all_pairs(self, point: Point) -> Found:
        names = tuple(output.name for output in self.plan.outputs)
        # Numbers beyond double precision are reported in words, output by output.
        with np.errstate(all="ignore"):
            found = gram_arrays(self.recursion, names, point, compile_routine)
        return Found(found.arrays, found.error)

    def _require_memory(self, point: Point, pairs: Pairs) -> None:
        points = math.prod(point.grid) * len(pairs)
        runs = 2 if self.plan.quadratures else 1
        size = runs * required_bytes(self.plan, points, point.depth)
        names = ", ".join(output.name for output in self.plan.outputs)
        require_memory(
            f"the outputs {names} of {points} points at depth {point.depth}", size, FEWER_OUTPUTS
        )

    def run(self, point: Point, pairs: Pairs, resolution: Resolution) -> Buffers:
        """Return what the compiled loop fills at one resolution of the quadrature."""
        arguments = arguments_of(self.plan, point, pairs, self.recursion.inputs)
        buffers = allocate(self.plan, arguments.count, point.depth)
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
        module = load(self.loop or self.source)
        run: Callable[..., None] = module.run
        outputs = [buffers.slots[slot] for slot in output_slots(plan)]
        given = (count, depth, *rule_arrays(plan, resolution), *arguments.flat(), *outputs)
        if self.loop:
            from resexpand.codegen.slots import addresses

            functions = vars(load(self.source))
            run = partial(run, addresses(run, module.slots, functions, (0, 0, *given)))
        tiles = -(-count // points_per_tile(plan))
        if self.target == "numpy":
            run(0, tiles, *given)
        else:
            run_tiles(run, tiles, depth * (1000 if plan.quadratures else 1), given)

    def _run_on_cuda(
        self, arguments: Arguments, depth: int, resolution: Resolution, buffers: Buffers
    ) -> Buffers:
        from resexpand.codegen.cuda.launch import Kernels, run_blocks

        rules = rule_arrays(self.plan, resolution)
        diagonals = [diagonal_slot(o.name) for o in self.plan.outputs if o.diagonal is not None]
        wholes = buffers.wholes | {name: buffers.slots[name] for name in diagonals}
        kernels = Kernels(load(self.source), self.plan, depth, arguments.count, rules)
        finite = run_blocks(kernels, arguments, wholes)
        return replace(buffers, is_complete=True, is_finite=finite)

    def _fetched(self, names: list[str], hyperparameters: dict[str, Any]) -> dict[str, Any]:
        """Return the hyperparameters on the host; the named ones lie on a device."""
        if self.target != "cuda":
            where = f"the routine runs on the {self.target}"
            raise HyperparameterError(f"{names[0]} on a device", where, "use target='cuda'")
        from resexpand.codegen.cuda.arrays import fetched

        return {**hyperparameters, **{name: fetched(hyperparameters[name]) for name in names}}

    def _on_device(self, point: Point, pairs: Pairs) -> Values:
        from resexpand.codegen.cuda.on_device import device_values

        return device_values(self, point, pairs)


@lru_cache(maxsize=256)
def _compiled(recursion: Recursion, target: str, place: str, outputs: tuple[str, ...]) -> Routine:
    plan = schedule(recursion, outputs)
    text = routine_text(recursion, plan, target)
    return Routine(recursion, target, place, plan, text.source, text.operations, text.loop)


def compile_routine(
    recursion: Recursion,
    target: Target = "cpu",
    outputs: str | Iterable[str] | None = None,
) -> Routine:
    """Generate and compile the routine of a recursion.

    Parameters
    ----------
    recursion : Recursion
        The equations to compile.
    target : {"cpu", "cuda", "numpy", "auto"}
        Where the routine runs; ``"auto"`` takes a GPU if there is one that can be used, and says in
        ``place`` and in the ``target`` of the result what it took and why. On ``"cuda"``, arrays of
        NumPy give arrays of NumPy, and a grid may be larger than the device's memory; if one
        hyperparameter lies on the device (anything with ``__cuda_array_interface__``), the results
        stay there.
    outputs : str or iterable of str, optional
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
    DeviceError
        If ``target="cuda"`` and no GPU can be used: which package, driver or device is missing.
    """
    if isinstance(recursion, ColumnRecursion):
        raise UnsupportedError(
            "one routine for the kernel over positions",
            "the matrices of all columns are put together block by block",
            "use evaluate(kernel(net, inputs='positions'), K0=...)",
        )
    if not isinstance(recursion, Recursion):
        raise UnsupportedError(
            f"the routine of {type(recursion).__name__}", "it is no recursion", "use evaluate()"
        )
    target, place = _placed(target)
    names = tuple(output.name for output in chosen_outputs(recursion, outputs))
    return _compiled(recursion, target, place, names)


def _placed(target: Any) -> tuple[Any, str]:
    """Return the target that a name stands for, and the place in words."""
    if target == "auto":
        return chosen()
    if target == "cuda":
        return "cuda", f"cuda ({require_cuda(CUDA_ASKED).name})"
    if target == "numpy":
        return "numpy", "numpy"
    if target != "cpu":
        there_are = "use 'cpu', 'cuda', 'numpy' or 'auto'"
        raise UnsupportedError(f"target {target!r}", "there is no such target", there_are)
    if find_spec("numba") is None:
        remedy = "pip install numba, or use target='numpy'"
        raise UnsupportedError("target 'cpu'", "it is compiled by Numba, not installed", remedy)
    return "cpu", "cpu"
