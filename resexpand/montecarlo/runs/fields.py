"""What each field of the plan in a store may hold.

A digest says that a plan is as it was written; whether that was by this package it cannot say. What
is read from a file is therefore checked field by field before anything is made of it.
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

Check: TypeAlias = Callable[[Any, Mapping[str, Any]], bool]
"""Says of a field, and of all of them, whether the field is possible."""


def _whole(value: Any, low: int, high: int = LARGEST) -> bool:
    return type(value) is int and low <= value < high


def _text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST


def _texts(value: Any, least: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) >= least
        and all(map(_text, value))
        and len(set(value)) == len(value)
    )


def _number(value: Any, low: float = -math.inf) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= low


def _numbers(value: Any, count: int, low: float = -math.inf) -> bool:
    return isinstance(value, list) and len(value) == count and all(_number(v, low) for v in value)


def _scales(value: Any, fields: Mapping[str, Any]) -> bool:
    return _number(value) or _numbers(value, fields.get("depth", 0))


def _variances(value: Any, fields: Mapping[str, Any]) -> bool:
    # Several kinds of blocks, and maps behind a branch, have rows behind those of the first branch.
    branch = fields.get("branch", ())
    if not isinstance(value, list) or len(value) < len(branch) or not isinstance(value[0], list):
        return False
    bounds = [0.0 if text == "Linear" else -math.inf for text in branch]
    bounds += [-math.inf] * (len(value) - len(branch))
    size = max(len(value[0]), 2)
    return all(_numbers(row, size, low) for row, low in zip(value, bounds, strict=True))


def _kernel(value: Any, _: Mapping[str, Any]) -> bool:
    return (
        isinstance(value, list) and len(value) > 0 and all(_numbers(r, len(value)) for r in value)
    )


def _edges(value: Any, _: Mapping[str, Any]) -> bool:
    return isinstance(value, dict) and all(
        isinstance(edges, list)
        and all(map(_number, edges))
        and all(low < high for low, high in pairwise(edges))
        for edges in value.values()
    )


def _parts(value: Any, _: Mapping[str, Any]) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(
            isinstance(part, list)
            and len(part) == 2
            and _whole(part[1], 1)
            and _whole(part[0], 0, part[1])
            for part in value
        )
    )


PLAN: Mapping[str, Check] = {
    "identity": lambda value, _: _text(value),
    "settings": lambda value, _: isinstance(value, dict),
    "chunk": lambda value, _: _whole(value, 1, LARGEST + 1),
    "draws": lambda value, _: _whole(value, 1),
    "unregistered": lambda value, _: _texts(value, 0),
    "shards": _parts,
    "until": lambda value, _: value is None or (_number(value) and value > 0),
}
"""Fields of the table, in order; texts of JSON already read."""

SETTINGS: Mapping[str, Check] = {
    "branch": lambda value, _: isinstance(value, list) and bool(value) and all(map(_text, value)),
    "depth": lambda value, _: _whole(value, 1),
    "scales": _scales,
    "variances": _variances,
    "read_out": lambda value, _: value is None or _numbers(value, 2, 0.0),
    "observables": lambda value, _: _texts(value, 1),
    "K0": _kernel,
    "width": lambda value, _: _whole(value, 1),
    "method": lambda value, _: _text(value),
    "seed": lambda value, _: _whole(value, 0, 2**64),
    "weights": lambda value, _: _text(value),
    "control": lambda value, _: _text(value),
    "post_norm": lambda value, _: _text(value),
    "histograms": _edges,
}
"""Settings of a run."""

OPTIONAL = ("weights", "control", "post_norm", "histograms")


def wrong_field(fields: Mapping[str, Any], checks: Mapping[str, Check]) -> str:
    """Return the name of the first field that is missing or impossible, empty if there is none."""
    for name, check in checks.items():
        if name not in fields:
            if name not in OPTIONAL:
                return name
        elif not check(fields[name], fields):
            return name
    return ""
