"""A recommendation from a comparison, by one rule that is stated with it.

A candidate is steady if, at every depth, the kernel and the second moment of the gradient change
by at most a factor `STEADY` from the first layer to the last. Of the steady candidates that do
not make the network the identity, the one of largest response at the largest depth is
recommended; of several whose responses are within `CLOSE` of it the first in the table.
"""

from __future__ import annotations

from typing import Any

import numpy as np

STEADY = 10.0
CLOSE = 0.01
"""Relative difference up to which a response is as good as the largest."""

SAME = 1e-6
"""Difference up to which numbers of order one count as equal."""

LIMITS = (
    "training: learning rates, optimisers, and scalars that start at zero and are trained "
    "(SkipInit, Fixup, LayerScale)",
    "accuracy and generalisation: no data are involved",
    "weights that depend on each other over the layers, as those of trained networks do",
)


Table = Any
"""A `ScaleComparison`, whose properties the rule reads."""


def advice(table: Table) -> str:
    """Return the recommendation with its reason, or why there is none."""
    steady = [k for k in range(len(table.names)) if _is_steady(table, k)]
    within = f"keep kernel and gradients within a factor of {STEADY:g}"
    if not steady:
        return f"none: of candidates that are more than the identity none {within} at all depths"
    if len(steady) > 1 and all(_alike(table, k, steady[0]) for k in steady):
        return (
            f"none: kernel, {table.response_kind} response and gradients are the same under all "
            f"{len(steady)} candidates that {within}"
        )
    largest = max(_response(table, k) for k in steady)
    close = [k for k in steady if _response(table, k) >= largest - CLOSE * abs(largest)]
    best = close[0]
    which = f"of the {len(steady)} candidates that {within}"
    if len(steady) == 1:
        why = f"it is the only one to {within}"
    elif largest < 0:
        why = f"{which} it is the first; their {table.response_kind} responses are not known"
    elif len(close) == len(steady):
        why = f"{which} it is the first; their {table.response_kind} responses hardly differ"
    else:
        top = f"the largest {table.response_kind} response"
        value = f"{table['response'][best, -1]:.4g}"
        own = _response(table, best)
        why = f"{which} it has {top}, {value}"
        if own < largest:
            why = (
                f"{which} its {table.response_kind} response, {value}, is within 1 % of the largest"
            )
    at = f"scale {table['scale'][best, -1]:.4g} at depth {table.depths[-1]}"
    return f"{table.titles[best]} ({at}), because {why}"


def _alike(table: Table, one: int, other: int) -> bool:
    """Whether two candidates lead to the same numbers at all depths."""
    names = ("growth", "response", "gradient_ratio")
    pairs = ((table[name][one], table[name][other]) for name in names)
    return all(np.allclose(a, b, rtol=SAME, atol=SAME, equal_nan=True) for a, b in pairs)


def _is_steady(table: Table, k: int) -> bool:
    scales = table["scale"][k]
    if np.isnan(scales).any() or table.names[k] in table.identities:
        return False
    ratios = np.concatenate([table["growth"][k], table["gradient_ratio"][k]])
    known = ratios[~np.isnan(ratios)]  # infinite ones are known, and not steady
    return known.size > 0 and bool((known <= STEADY).all() and (known >= 1 / STEADY).all())


def _response(table: Table, k: int) -> float:
    """Return the size of the response at the largest depth; -1 if it is not known."""
    value = abs(float(table["response"][k, -1]))
    return -1.0 if np.isnan(value) else 0.0 if value < SAME else value
