"""The shapes of the blocks of a network: blocks alike but for the values of their parameters.

Blocks of one shape share their formulas: a parameter that differs between them is a tuple of one
value per block. Blocks have one shape if the kinds of their operations and their laws agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp

from resexpand.network.operation import Operation
from resexpand.network.steps import Step, steps_of


@dataclass(frozen=True)
class Shapes:
    """The blocks ``1 ... L`` of a network by shape.

    Attributes
    ----------
    steps : tuple of tuple of Step
        The operations of each shape; values of parameters are numbers, or tuples over the blocks.
    of_block : tuple of int
        Shape of every block; empty if there is one.
    """

    steps: tuple[tuple[Step, ...], ...]
    of_block: tuple[int, ...] = ()


def shapes_of(blocks: Sequence[Sequence[Operation]]) -> Shapes:
    """Return the shapes of the blocks of a network, given by their operations."""
    keys = [tuple((op.kind, op.text) for op in ops) for ops in blocks]
    found = list(dict.fromkeys(keys))
    labels: dict[Any, sp.Symbol] = {}
    shapes = []
    for number, key in enumerate(found, start=1):
        own = [ops if k == key else None for ops, k in zip(blocks, keys, strict=True)]
        steps = steps_of(_merged(own))
        prefix = f"_{number}" if len(found) > 1 else ""
        shapes.append(tuple(named(step, prefix, labels) for step in steps))
    of_block = tuple(found.index(key) for key in keys) if len(found) > 1 else ()
    return Shapes(tuple(shapes), of_block)


def _merged(blocks: Sequence[Sequence[Operation] | None]) -> list[Operation]:
    """Return operations whose values run over the blocks; None is a block of another shape."""
    first = next(ops for ops in blocks if ops is not None)
    merged = []
    for place, op in enumerate(first):
        columns = zip(*((ops or first)[place].values for ops in blocks), strict=True)
        merged.append(op.with_values(tuple(c[0] if len(set(c)) == 1 else c for c in columns)))
    return merged


def named(step: Step, prefix: str, labels: dict[Any, sp.Symbol]) -> Step:
    """Return a step under names that differ from those of other shapes."""
    label = step.label
    if label is not None:
        count = len(labels) + 1
        label = labels.setdefault(step.op.law, sp.Symbol("phi" if count == 1 else f"phi_{count}"))
    suffix = f"{prefix}{step.number if step.suffix else ''}" if prefix else step.suffix
    return replace(step, label=label, suffix=suffix)
