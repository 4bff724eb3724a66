"""Checks of each field of the plan in a store.

A digest says that a plan is as it was written; whether that was by this package it cannot say. What
is read from a file is therefore checked field by field before anything is made of it. A check takes
a field and all of them, of which the lengths of some depend on others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, TypeAlias

LARGEST = 2**31
"""Bound on depths, widths and counts."""

LONGEST = 4096
"""Characters of a text: expressions and labels."""

Fields: TypeAlias = Mapping[str, Any]
Check: TypeAlias = Callable[[Any, Fields], bool]
"""Says of a field, and of all of them, whether the field is possible."""


def text(value: Any, _: Fields) -> bool:
    """Whether it is a text of a sensible length."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST


def whole(low: int, high: int = LARGEST) -> Check:
    """Whether it is a whole number, ``low <= value < high``."""
    return lambda value, _: type(value) is int and low <= value < high


def number(low: float = -math.inf) -> Check:
    """Whether it is a finite number that is not below a bound."""
    return lambda value, _: type(value) in (int, float) and math.isfinite(value) and value >= low


def listed(each: Check, least: int = 0, count: Callable[[Fields], int] | None = None) -> Check:
    """Whether it is a list of at least, or exactly, so many fields of one kind."""

    def check(value: Any, fields: Fields) -> bool:
        if not isinstance(value, list) or len(value) < least:
            return False
        right = count is None or len(value) == count(fields)
        return right and all(each(entry, fields) for entry in value)

    return check


def distinct(check: Check) -> Check:
    """Whether the entries of a list differ as well."""
    return lambda value, fields: check(value, fields) and len(set(value)) == len(value)


def either(*checks: Check) -> Check:
    """Whether one of several checks holds."""
    return lambda value, fields: any(check(value, fields) for check in checks)


def nothing(value: Any, _: Fields) -> bool:
    """Whether there is no value."""
    return value is None


def pair(each: Check) -> Check:
    """Whether it is a list of two."""
    return listed(each, count=lambda _: 2)


def _operations(fields: Fields) -> list[str]:
    """Return the operation of every row of `variances`: kind of block by kind, of equal length."""
    ending = [*fields.get("head", []), *([fields["post_norm"]] if "post_norm" in fields else [])]
    kinds = [[*own, *ending] for own in (fields["branch"], *fields.get("blocks", []))]
    rows = max(map(len, kinds))
    return [op for own in kinds for op in [*own, *[""] * (rows - len(own))]]


def _parameters(value: Any, fields: Fields) -> bool:
    """Whether every operation has its numbers, and a linear one variances."""
    try:
        ops = _operations(fields)
    except (KeyError, TypeError):
        return False
    if not listed(listed(number(), least=2))(value, fields) or len(value) != len(ops):
        return False
    variances = [row for op, row in zip(ops, value, strict=True) if op == "Linear"]
    return len(set(map(len, value))) == 1 and all(min(row) >= 0 for row in variances)


def _kernel(value: Any, fields: Fields) -> bool:
    size = len(value) if isinstance(value, list) else 0
    return listed(listed(number(), count=lambda _: size), least=1)(value, fields)


def _edges(value: Any, fields: Fields) -> bool:
    return isinstance(value, dict) and all(
        listed(number())(edges, fields) and all(low < high for low, high in pairwise(edges))
        for edges in value.values()
    )


def _part(value: Any, fields: Fields) -> bool:
    return pair(whole(0))(value, fields) and value[0] < value[1]


PLAN: Mapping[str, Check] = {
    "identity": text,
    "settings": lambda value, _: isinstance(value, dict),
    "chunk": whole(1, LARGEST + 1),
    "draws": whole(1),
    "unregistered": distinct(listed(text)),
    "shards": listed(_part, least=1),
    "until": either(nothing, lambda value, fields: number(0.0)(value, fields) and value > 0),
}
"""Fields of the table, in order; texts of JSON already read."""

SETTINGS: Mapping[str, Check] = {
    "branch": listed(text, least=1),
    "blocks": listed(listed(text, least=1), least=1),
    "head": listed(text),
    "post_norm": text,
    "depth": whole(1),
    "scales": either(number(), listed(number(), count=lambda fields: fields.get("depth", 0))),
    "skip": number(),
    "variances": _parameters,
    "read_out": either(nothing, pair(number(0.0))),
    "observables": distinct(listed(text, least=1)),
    "K0": _kernel,
    "width": whole(1),
    "method": text,
    "seed": whole(0, 2**64),
    "weights": text,
    "control": text,
    "histograms": _edges,
}
"""Settings of a run."""

OPTIONAL = ("blocks", "head", "post_norm", "skip", "weights", "control", "histograms")


def wrong_field(fields: Fields, checks: Mapping[str, Check]) -> str:
    """Return the name of the first field that is missing or impossible, empty if there is none."""
    for name, check in checks.items():
        if name not in fields:
            if name not in OPTIONAL:
                return name
        elif not check(fields[name], fields):
            return name
    return ""
