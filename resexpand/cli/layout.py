"""How arrays over layers, pairs of inputs and grids become columns of a table.

An array over layers has the shape ``(..., n)`` for one input and ``(..., n, D, D)`` for D inputs,
where ``...`` is the grid of swept hyperparameters and n counts the layers. For D inputs each pair
``a <= b`` is a column of its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Column: TypeAlias = tuple[str, Array]
Table: TypeAlias = tuple[list[str], int, Callable[[int], list[object]]]


def pairs(name: str, values: Array, axes: int, first: int = 1) -> Iterator[Column]:
    """Yield heading and values of each pair of inputs or orders, or of the one input.

    Parameters
    ----------
    name : str
        Heading; pairs get the suffix ``_11``, ``_12``, ...
    values : ndarray
        Array with `axes` axes, or with two more over the inputs.
    axes : int
        Number of axes that are not inputs.
    first : int
        First number: inputs count from 1, orders from 0.
    """
    if values.ndim == axes:
        yield name, values
        return
    inputs = range(values.shape[-1])
    if values.ndim == axes + 1:
        yield from ((f"{name}_{a + first}", values[..., a]) for a in inputs)
        return
    for a, b in itertools.combinations_with_replacement(inputs, 2):
        yield f"{name}_{a + first}{b + first}", values[..., a, b]


def layer_table(columns: Sequence[Column]) -> Table:
    """Return headers, number of rows and the row of each layer."""

    def row(layer: int) -> list[object]:
        return [layer, *(float(values[layer]) for _, values in columns)]

    return ["l", *(name for name, _ in columns)], len(columns[0][1]), row


def grid_table(axes: Mapping[str, Array], columns: Sequence[Column]) -> Table:
    """Return headers, number of rows and the row of each point of the grid."""
    shape = tuple(len(values) for values in axes.values())
    flat = [np.asarray(values, dtype=float).reshape(-1) for _, values in columns]

    def row(index: int) -> list[object]:
        place = np.unravel_index(index, shape)
        point = [float(values[i]) for values, i in zip(axes.values(), place, strict=True)]
        return [*point, *(float(values[index]) for values in flat)]

    return [*axes, *(name for name, _ in columns)], math.prod(shape), row
