"""The schedule of a routine: the plan between a recursion and its source text.

A `Schedule` lists the arguments of a routine and the lowered expressions of its scalar functions:
the initial state, the outputs of a state, the step from one layer to the next with the outputs of a
block, and the outputs behind the last block.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.codegen.quadrature import rule_arguments, with_rules
from resexpand.codegen.resolution import resolution
from resexpand.codegen.rewrite import Lowering, Quadrature
from resexpand.conventions import PAIR
from resexpand.errors import HyperparameterError
from resexpand.theory.recursion import Output, Recursion

COVARIANCE = re.compile(r"(K|C\d*|Theta)_12")
"""Names of the covariances of two inputs: of the stream, behind linear operations, of tangents."""


@dataclass(frozen=True)
class Propagation:
    """A propagator output: the entries of its matrix and the position that is kept.

    Attributes
    ----------
    name : str
        Output name.
    size : int
        Rows of the matrix.
    row, column : int
        Entry of the ordered products that is kept.
    """

    name: str
    size: int
    row: int
    column: int


@dataclass(frozen=True)
class Schedule:
    """Arguments and expressions of a routine.

    Attributes
    ----------
    parameters : tuple of sympy.Symbol
        Scalar arguments per point: hyperparameters and the kernel at layer 0.
    layer_parameters : tuple of sympy.Symbol
        Arguments with one value per block.
    state : tuple of sympy.Symbol
        Carried from layer to layer.
    constants : tuple of sympy.Symbol
        Computed once per point, before the first layer.
    definitions : tuple of (sympy.Symbol, sympy.Expr)
        Lowered intermediate quantities of a block.
    initial, once, step, read, layer, last : tuple of sympy.Expr
        Lowered expressions: initial state; constants; next state; trajectory outputs of a state;
        layer outputs (and propagator matrices) of the state before a block; outputs of the last
        state.
    trajectory_slots, layer_slots, last_slots : tuple of str
        Names of the output arrays filled by `read`, `layer` and `last`.
    propagations : tuple of Propagation
        Propagator outputs; their matrices follow the layer outputs in `layer`.
    quadratures : tuple of Quadrature
        Averages computed numerically.
    outputs : tuple of Output
        The outputs that were asked for.
    """

    parameters: tuple[sp.Symbol, ...]
    layer_parameters: tuple[sp.Symbol, ...]
    state: tuple[sp.Symbol, ...]
    constants: tuple[sp.Symbol, ...]
    definitions: tuple[tuple[sp.Symbol, sp.Expr], ...]
    initial: tuple[sp.Expr, ...]
    once: tuple[sp.Expr, ...]
    step: tuple[sp.Expr, ...]
    read: tuple[sp.Expr, ...]
    layer: tuple[sp.Expr, ...]
    last: tuple[sp.Expr, ...]
    trajectory_slots: tuple[str, ...]
    layer_slots: tuple[str, ...]
    last_slots: tuple[str, ...]
    propagations: tuple[Propagation, ...]
    quadratures: tuple[Quadrature, ...]
    outputs: tuple[Output, ...]

    @cached_property
    def panels(self) -> tuple[NDArray[np.float64], ...]:
        """Edges on which all integrands are resolved, their singular points, and their sizes."""
        return resolution(self.quadratures)

    @property
    def rules(self) -> tuple[sp.Symbol, ...]:
        """Names of the quadrature-rule arrays among the arguments."""
        return rule_arguments(self.quadratures)


def slots(output: Output) -> tuple[str, ...]:
    """Return the names of the arrays that hold an output, one per entry."""
    if output.shape == ():
        return (output.name,)
    comma = "" if output.shape[0] < 10 else "_"
    return tuple(f"{output.name}_{comma.join(str(i + 1) for i in p)}" for p in places(output))


def places(output: Output) -> list[tuple[int, ...]]:
    """Return the indices of the entries of a vector or of the upper triangle of a matrix."""
    indices = range(output.shape[0] if output.shape else 0)
    return list(combinations_with_replacement(indices, len(output.shape)))


def diagonal_slot(name: str) -> str:
    """Return the name of the array that holds the diagonal of a propagator with one."""
    return f"{name}_diagonal"


def chosen_outputs(recursion: Recursion, names: Any) -> tuple[Output, ...]:
    """Return the outputs of the given names, all if none are given.

    Raises
    ------
    HyperparameterError
        If a name is not among the outputs.
    """
    for output in recursion.outputs:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", output.name):
            raise HyperparameterError(
                f"an output called {output.name!a}",
                "generated code names its arrays after it",
                "use a name of ASCII letters, digits and underscores",
            )
    known = [output.name for output in recursion.outputs]
    kept = chosen_names(names, known, f"the {recursion.title}")
    return tuple(output for output in recursion.outputs if output.name in kept)


def chosen_names(names: Any, known: Sequence[str], title: str) -> tuple[str, ...]:
    """Return the names of outputs that are asked for, in their own order; all for None.

    Parameters
    ----------
    names : str, iterable of str or None
        Names asked for; one text is one name.
    known : sequence of str
        Names that exist.
    title : str
        Name of the theory that has these outputs.

    Raises
    ------
    HyperparameterError
        If there is no such output, or none is asked for.
    """
    if names is None:
        return tuple(known)
    if not isinstance(names, str | Iterable):
        raise HyperparameterError(
            f"outputs={names!r}", "it is no list of names", f"use some of {list(known)}"
        )
    asked = [names] if isinstance(names, str) else list(names)
    for name in asked:
        if name not in known:
            raise HyperparameterError(
                f"output {name!r}", f"{title} has none", f"use one of {list(known)}"
            )
    if not asked:
        raise HyperparameterError("no outputs", "nothing is asked for", f"use one of {list(known)}")
    return tuple(name for name in known if name in asked)


def schedule(recursion: Recursion, names: Sequence[str] | None = None) -> Schedule:
    """Plan the routine of a recursion.

    Parameters
    ----------
    recursion : Recursion
        The recursion.
    names : sequence of str, optional
        Outputs to compute; all by default. State that no output needs is not carried.
    """
    recursion = with_equal_inputs(recursion)
    outputs = chosen_outputs(recursion, names)
    by_kind = {
        kind: [o for o in outputs if o.kind == kind]
        for kind in ("trajectory", "layer", "final", "propagator")
    }
    lowering = Lowering(recursion.laws)
    needed = _needed_symbols(recursion, outputs)
    constants = [(s, value) for s, value in recursion.constants if s in needed]
    definitions = [(s, value) for s, value in recursion.definitions if s in needed]
    state = tuple(s for s in recursion.state if s in needed)

    def lowered(expressions: Sequence[sp.Expr]) -> tuple[sp.Expr, ...]:
        return tuple(lowering.lower(e) for e in expressions)

    update = dict(zip(recursion.state, recursion.update, strict=True))
    initial = dict(zip(recursion.state, recursion.initial, strict=True))
    diagonals = [(o.name, o.diagonal) for o in outputs if o.diagonal is not None]
    matrices = [entry for o in by_kind["propagator"] if o.matrix is not None for entry in o.matrix]
    parts = {
        "initial": lowered([initial[s] for s in state]),
        "once": lowered([recursion.flat(value) for _, value in constants]),
        "values": lowered([value for _, value in definitions]),
        "step": lowered([update[s] for s in state]),
        "read": lowered(_entries(by_kind["trajectory"]) + [value for _, value in diagonals]),
        "layer": lowered([*_entries(by_kind["layer"]), *matrices]),
        "last": lowered(
            [e for o in by_kind["layer"] for e in o.at_end] + _entries(by_kind["final"])
        ),
    }
    quadratures = tuple(lowering.quadratures.values())
    finished = {k: tuple(with_rules(e, quadratures) for e in v) for k, v in parts.items()}
    values = finished.pop("values")
    return Schedule(
        parameters=tuple(symbol for symbol, _ in recursion.bindings),
        layer_parameters=tuple(symbol for symbol, _ in recursion.layer_bindings),
        state=state,
        constants=tuple(s for s, _ in constants),
        definitions=tuple(zip((s for s, _ in definitions), values, strict=True)),
        **finished,
        trajectory_slots=(
            *_slot_names(by_kind["trajectory"]),
            *(diagonal_slot(name) for name, _ in diagonals),
        ),
        layer_slots=_slot_names(by_kind["layer"]),
        last_slots=_slot_names(by_kind["layer"] + by_kind["final"]),
        propagations=tuple(_propagation(o) for o in by_kind["propagator"]),
        quadratures=quadratures,
        outputs=outputs,
    )


ONE_INPUT = sp.And(sp.Eq(PAIR[0], PAIR[1]), sp.Eq(PAIR[2], PAIR[1]))
"""Condition that the two inputs of a pair are equal."""


def with_equal_inputs(recursion: Recursion) -> Recursion:
    """Set the covariance of equal inputs to their variance, bit by bit.

    Different formulas compute the two, and an angle would turn a difference by rounding into its
    square root. A recursion without both variances is returned unchanged; so is that of a network
    with noise for each input, where equal inputs do not stay equal.
    """
    if not {PAIR[0], PAIR[2]} <= set(recursion.state) or recursion.net.parts_equal_inputs:
        return recursion
    update = _merged(dict(zip(recursion.state, recursion.update, strict=True)))
    return replace(
        recursion,
        definitions=tuple(_merged(dict(recursion.definitions)).items()),
        update=tuple(update[s] for s in recursion.state),
        outputs=tuple(_equal_at_end(o, recursion) for o in recursion.outputs),
    )


def _merged(values: dict[sp.Symbol, sp.Expr]) -> dict[sp.Symbol, sp.Expr]:
    by_name = {symbol.name: value for symbol, value in values.items()}
    return {
        symbol: _equal_where_one(by_name[f"{symbol.name[:-2]}11"], value)
        if COVARIANCE.fullmatch(symbol.name) and f"{symbol.name[:-2]}11" in by_name
        else value
        for symbol, value in values.items()
    }


def _equal_where_one(variance: sp.Expr, covariance: sp.Expr) -> sp.Expr:
    return sp.Piecewise((variance, ONE_INPUT), (covariance, True))


def _equal_at_end(output: Output, recursion: Recursion) -> Output:
    """Return an output whose entries of the last state are alike for equal inputs."""
    is_final = output.kind == "final"
    entries = output.entries if is_final else output.at_end
    if recursion.state[: len(PAIR)] != PAIR or len(entries) != len(PAIR):
        return output
    first, both, last = entries
    merged = (first, _equal_where_one(first, both), last)
    return replace(output, entries=merged) if is_final else replace(output, at_end=merged)


def _entries(outputs: Sequence[Output]) -> list[sp.Expr]:
    return [entry for output in outputs for entry in output.entries]


def _slot_names(outputs: Sequence[Output]) -> tuple[str, ...]:
    return tuple(slot for output in outputs for slot in slots(output))


def _propagation(output: Output) -> Propagation:
    if output.matrix is None:
        raise TypeError(f"the propagator {output.name!r} has no matrix")
    row, column = (int(index) for index in output.entries)
    return Propagation(output.name, output.matrix.rows, row, column)


def restricted(recursion: Recursion, names: Sequence[str]) -> Recursion:
    """Return a recursion without the state and the definitions that some outputs do not need."""
    outputs = tuple(output for output in recursion.outputs if output.name in names)
    kept = _needed_symbols(recursion, outputs)
    carried = zip(recursion.state, recursion.initial, recursion.update, strict=True)
    state = [row for row in carried if row[0] in kept]
    symbols, initial, update = zip(*state, strict=True) if state else ((), (), ())
    definitions = tuple((s, v) for s, v in recursion.definitions if s in kept)
    return replace(
        recursion,
        state=symbols,
        initial=initial,
        update=update,
        definitions=definitions,
        outputs=outputs,
    )


def _needed_symbols(recursion: Recursion, outputs: Sequence[Output]) -> set[sp.Basic]:
    """Return the state, definitions and constants on which the chosen outputs depend."""
    made_of = dict(zip(recursion.state, recursion.update, strict=True))
    made_of |= dict((*recursion.definitions, *recursion.constants))
    read = [e for o in outputs if o.kind != "propagator" for e in (*o.entries, *o.at_end)]
    read += [entry for o in outputs if o.matrix is not None for entry in o.matrix]
    read += [o.diagonal for o in outputs if o.diagonal is not None]
    needed: set[sp.Basic] = set()
    frontier = {s for e in read for s in e.free_symbols if s in made_of}
    while frontier:
        needed |= frontier
        fed = {s for f in frontier for s in made_of[f].free_symbols if s in made_of}
        frontier = fed - needed
    return needed
