"""How arrays over layers, pairs of inputs and grids become columns of a table.

An array over layers has the shape ``(..., n)`` for one input and ``(..., n, D, D)`` for D inputs,
where ``...`` is the grid of swept hyperparameters and n counts the layers. For D inputs each pair
``a <= b`` is a column of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Column: TypeAlias = tuple[str, Array]
Rows: TypeAlias = Iterator[Sequence[object]]


def pairs(name: str, values: Array, axes: int) -> Iterator[Column]:
    """Yield heading and values of each pair of inputs, or of the one input.

    Parameters
    ----------
    name : str
        Heading; pairs get the suffix ``_11``, ``_12``, ...
    values : ndarray
        Array with `axes` axes, or with two more over the inputs.
    axes : int
        Number of axes that are not inputs.
    """
    if values.ndim == axes:
        yield name, values
        return
    inputs = range(values.shape[-1])
    if values.ndim == axes + 1:
        yield from ((f"{name}_{a + 1}", values[..., a]) for a in inputs)
        return
    for a, b in itertools.combinations_with_replacement(inputs, 2):
        yield f"{name}_{a + 1}{b + 1}", values[..., a, b]


def layer_table(columns: Sequence[Column]) -> tuple[list[str], Rows]:
    """Return headers and one row per layer."""
    rows: Rows = (
        [layer, *(float(value) for value in row)]
        for layer, row in enumerate(zip(*(values for _, values in columns), strict=True))
    )
    return ["l", *(name for name, _ in columns)], rows


def grid_table(axes: Mapping[str, Array], columns: Iterable[Column]) -> tuple[list[str], Rows]:
    """Return headers and one row per point of the grid."""
    kept = list(columns)
    flat = [np.asarray(values, dtype=float).reshape(-1) for _, values in kept]
    rows: Rows = (
        [*map(float, point), *(float(values[i]) for values in flat)]
        for i, point in enumerate(itertools.product(*axes.values()))
    )
    return [*axes, *(name for name, _ in kept)], rows
