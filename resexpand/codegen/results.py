"""Arrays a routine writes into, and the shape in which the caller gets them.

The compiled loop writes one array per slot, points first and layers last. The entries of a
symmetric matrix, such as the kernel of two inputs, are views into one array of matrices, so that
nothing has to be put together afterwards; for more than two inputs the pairs are gathered into
D x D matrices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.schedule import Schedule, diagonal_slot, places, slots
from resexpand.theory.recursion import Output

Array = NDArray[np.float64]
Pairs = list[tuple[int, int]]


@dataclass(frozen=True)
class Buffers:
    """Arrays of one run.

    Attributes
    ----------
    slots : dict of str to ndarray
        Arrays that the compiled loop writes, by slot: shape ``(points,)``, ``(points, L + 1)`` or
        ``(points, L + 1, L + 1)``.
    wholes : dict of str to ndarray
        The same by output; n x n matrices have shape ``(points, L + 1, n, n)``, or ``(points, n,
        n)`` behind the last block.
    is_complete : bool
        Whether the loop filled symmetric matrices on both sides, propagators multiplied
        by their diagonals among them.
    is_finite : bool
        Whether all numbers are known to be finite.
    """

    slots: dict[str, Array]
    wholes: dict[str, Array]
    is_complete: bool = False
    is_finite: bool = False


def allocate(plan: Schedule, points: int, depth: int) -> Buffers:
    """Return empty buffers for a schedule; propagators are zero above the diagonal.

    The diagonal that some propagators have in place of ones is an array of its own.
    """
    views: dict[str, Array] = {}
    wholes: dict[str, Array] = {}
    for output in plan.outputs:
        names = slots(output)
        made = np.zeros if output.kind == "propagator" else np.empty
        whole = made((points, *output.layers(depth), *output.shape))
        if output.diagonal is not None:
            views[diagonal_slot(output.name)] = np.empty((points, depth + 1))
        wholes[output.name] = whole
        if len(names) == 1:
            views[names[0]] = whole
        else:
            at = zip(names, places(output), strict=True)
            views |= {name: _entry(whole, place) for name, place in at}
    return Buffers(views, wholes)


def required_bytes(plan: Schedule, points: int, depth: int) -> int:
    """Return the bytes that `allocate` takes for a schedule."""
    numbers = sum(math.prod((*o.layers(depth), *o.shape)) for o in plan.outputs)
    numbers += sum((depth + 1) * (o.diagonal is not None) for o in plan.outputs)
    return points * numbers * np.dtype(np.float64).itemsize


def _entry(whole: Array, place: tuple[int, ...]) -> Array:
    """Return one entry of the vectors or matrices in the last axes."""
    return whole[..., place[0]] if len(place) == 1 else whole[..., place[0], place[1]]


def assembled(
    output: Output, buffers: Buffers, grid: tuple[int, ...], pairs: Pairs, inputs: int
) -> Array:
    """Return an output in its final shape.

    Parameters
    ----------
    output : Output
        Which one.
    buffers : Buffers
        Of ``prod(grid) * len(pairs)`` points, the pairs fastest.
    grid : tuple of int
        Shape of the hyperparameters.
    pairs : list of (int, int)
        Inputs of every pair.
    inputs : int
        Number of inputs D of a recursion of pairs, 0 of a recursion of one input.

    Returns
    -------
    ndarray
        ``grid + (layers, D, D)`` for kernels of several inputs, ``grid + (layers, n, n)`` for
        other matrices, ``grid + (layers, n)`` for vectors, else ``grid + (layers,)``,
        ``grid + (layers, layers)`` or ``grid``; what is final has no axis of layers.
    """
    whole = buffers.wholes[output.name]
    if output.diagonal is not None and not buffers.is_complete:
        whole *= buffers.slots[diagonal_slot(output.name)][:, None, :]
        for layer in range(whole.shape[1]):
            whole[:, layer, layer + 1 :] = whole[:, layer + 1 :, layer]
    if len(slots(output)) == 1:
        return whole.reshape(grid + whole.shape[1:])[()]
    if not output.vector and not buffers.is_complete:
        for i, j in combinations(range(output.shape[0]), 2):
            whole[..., j, i] = whole[..., i, j]
    if not inputs or output.vector:
        return whole.reshape(grid + whole.shape[1:])
    if len(pairs) == 1:
        return whole.reshape(grid + whole.shape[1:])[..., :inputs, :inputs]
    by_pair = whole.reshape(*grid, len(pairs), *whole.shape[1:])
    result = np.empty((*grid, *whole.shape[1:-2], inputs, inputs), whole.dtype)
    for i, j in product(range(2), repeat=2):
        rows, columns = (np.array([pair[k] for pair in pairs]) for k in (i, j))
        result[..., rows, columns] = np.moveaxis(by_pair[..., i, j], len(grid), -1)
    return result
