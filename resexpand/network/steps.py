"""Steps: the operations of a branch in data-flow order, each with its names.

Theory, samplers, stores and printers read a branch as its steps. They use only the instruction of a
step, contraction or map, and the data that its operation declares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import sympy as sp

from resexpand.errors import UnsupportedError
from resexpand.network.operation import Map, Operation, X


@dataclass(frozen=True)
class Step:
    """One operation of a branch.

    Attributes
    ----------
    position : int
        Place in the branch, from 0.
    op : Operation
        The operation; its attributes are those of a `Map` or a `Contraction`.
    number : int
        Place among the contractions, or among the maps of its kind, from 1.
    suffix : str
        Suffix of its hyperparameters: ``"_2"`` where the branch has several of its kind.
    label : sympy.Symbol or None
        Name in formulas, ``phi`` or ``phi_2``, of a map that states a law.
    """

    position: int
    op: Any
    number: int
    suffix: str
    label: sp.Symbol | None

    @property
    def contracts(self) -> bool:
        """Whether it is a contraction; a map otherwise."""
        return bool(self.op.contracts)

    @property
    def gate(self) -> sp.Symbol:
        """Name in formulas of the activation of a gate."""
        return sp.Symbol(f"psi{self.suffix}")

    @property
    def normalises(self) -> bool:
        """Whether it is linear given averages over the neurons, as `LayerNorm` is."""
        return not self.contracts and bool(self.op.averages) and bool(self.op.is_linear)

    def divides_by_zero(self, values: Sequence[float]) -> bool:
        """Whether a column of zeros has no image, `values` being those of the parameters."""
        if not self.normalises:
            return False
        at: dict[sp.Expr, sp.Expr] = {symbol: sp.Integer(0) for symbol, _ in self.op.averages}
        numbers = zip(self.op.parameters, values, strict=False)
        at |= {p.symbol: sp.Integer(0) if v == 0 else sp.Float(v) for p, v in numbers}
        return bool(self.op.derivative(1).xreplace(at).has(sp.zoo, sp.oo, sp.nan))


def steps_of(ops: Sequence[Operation]) -> tuple[Step, ...]:
    """Return the steps of a sequence of operations."""
    kinds = ["contraction" if op.contracts else op.kind for op in ops]
    steps, labels = [], 0
    for position, op in enumerate(ops):
        kind = kinds[position]
        number = kinds[: position + 1].count(kind)
        suffix = f"_{number}" if kinds.count(kind) > 1 else ""
        label = None
        if getattr(op, "law", None) is not None:
            labels += 1
            label = sp.Symbol("phi" if labels == 1 else f"phi_{labels}")
        steps.append(Step(position, op, number, suffix, label))
    return tuple(steps)


def opening_of(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return the maps in front of the first contraction."""
    return tuple(takewhile(lambda step: not step.contracts, steps))


def head_of(
    steps: tuple[Step, ...], ops: Sequence[Operation] | None, known: Sequence[Step] = ()
) -> tuple[Step, ...]:
    """Return the maps in front of the read-out of a network.

    If `ops` is None, or equals the operations that open the branch, these are the opening steps.
    Other operations get positions behind the branch. A law keeps its label if one of these steps,
    or of the steps `known` in other blocks, has one for it.
    """
    opening = opening_of(steps)
    if ops is None or list(ops) == [step.op for step in opening]:
        return opening
    labelled = [step for step in (*known, *steps) if step.label is not None]
    found, labels = [], {step.op.law: step.label for step in labelled}
    taken = len({step.label for step in labelled})
    for number, op in enumerate(ops, start=1):
        law, label = getattr(op, "law", None), None
        if law is not None:
            fresh = sp.Symbol("phi" if taken == 0 else f"phi_{taken + 1}")
            label = labels.setdefault(law, fresh)
            taken += label == fresh
        found.append(Step(len(steps) + number - 1, op, number, "_out", label))
    return tuple(found)


def without_noise(ops: Sequence[Operation]) -> tuple[Operation, ...]:
    """Return the operations in evaluation: those that are the identity in the mean are left out.

    Raises
    ------
    UnsupportedError
        If an operation with noise is not the identity in the mean.
    """
    kept = []
    for op in ops:
        if not (isinstance(op, Map) and op.noise) or op.gates is not None:
            kept.append(op)
        elif sp.simplify(op.mean_expression - X) != 0:
            raise UnsupportedError(
                f"{op!r} in evaluation",
                "it is not the identity where its noise takes the mean",
                "describe the network in evaluation by itself",
            )
    return tuple(kept)
