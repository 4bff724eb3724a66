"""Blocks of one kind as one branch: variances and other parameters, pooled over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from resexpand.models.branch_parts import Map, Reading, number
from resexpand.models.laws import WeightLaw
from resexpand.network.branch import Branch
from resexpand.network.numbers import hyperparameter
from resexpand.network.operation import Operation
from resexpand.network.scale import Scale

VARIES = 1.25
"""Ratio of the largest to the smallest variance of blocks, from which a note is made."""


def kinds_of(
    readings: list[Reading], laws: list[WeightLaw], names: list[str], notes: list[str]
) -> list[Branch]:
    """Return the branches of the shortest cycle of kinds, variances pooled over it."""
    forms = [[_form(part) for part in reading.parts] for reading in readings]
    period = next(
        p
        for p in range(1, len(forms) + 1)
        if all(form == forms[k % p] for k, form in enumerate(forms))
    )
    by_block = [[law for law in laws if law.block == name] for name in names]
    branches = []
    for start in range(period):
        same = list(range(start, len(forms), period))
        numbers = iter(zip(*(by_block[k] for k in same), strict=True))
        ops = [_pooled([readings[k].parts[j] for k in same], numbers, notes) for j in
               range(len(forms[start]))]  # fmt: skip
        branches.append(Branch(*filter(None, ops)))
    return branches


def _form(part: Any) -> str:
    """Return the kind of a part, and what its numbers do not say."""
    return part.form if isinstance(part, Map) else str(part.text)


def _pooled(parts: list[Any], numbers: Any, notes: list[str]) -> Operation | None:
    """Return one operation for those at the same place of several blocks; none for a copy."""
    if isinstance(parts[0], Map):
        laws: Sequence[WeightLaw] = next(numbers)
        if parts[0].is_copy:
            return None
        variances = [law.variance for law in laws]
        if max(variances) > VARIES * min(variances):
            notes.append(
                f"{laws[0].name} and its like: variances from {min(variances):.3g} to "
                f"{max(variances):.3g} are pooled"
            )
        biases = [law.bias_variance for law in laws]
        own = number(float(np.mean(variances))), number(float(np.mean(biases)))
        return parts[0].operation(*own, parts)
    first: Operation = parts[0]
    if all(part == first for part in parts):
        return None if first == Scale(1) else first
    values = np.array([[float(v) for v in part.values] for part in parts])
    notes.append(f"{first.kind}: parameters of several blocks are pooled")
    means = zip(values.mean(axis=0), first.parameters, strict=True)
    return first.with_values(tuple(hyperparameter(number(v), p.name) for v, p in means))


def law_notes(laws: list[WeightLaw]) -> list[str]:
    """Return which weights do not follow the law that they are described by."""
    notes = []
    for what, wrong in (
        ("are not Gaussian", [law for law in laws if not law.is_gaussian]),
        ("are not independent", [law for law in laws if not law.is_independent]),
    ):
        if wrong:
            notes.append(
                f"the weights of {len(wrong)} of {len(laws)} maps {what}, such as {wrong[0].name}"
            )
    return notes
