"""Accuracy of a run: the difference of two quadrature resolutions, and the status derived from it.

The difference of two resolutions bounds the error of the quadrature. It is relative: for the
covariance of two inputs, which may vanish exactly, to their variances; for an entry of a vector, or
of a matrix of orders, to the largest entry.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from resexpand.activations.growth import growth
from resexpand.activations.rounding import lost_below
from resexpand.codegen.schedule import Schedule, places, slots
from resexpand.codegen.values import QUADRATURE_LIMIT, overflow_problem, relative_difference
from resexpand.theory.closure import Laws
from resexpand.theory.recursion import Output

Array = NDArray[np.float64]


PIECE = 1 << 20
"""Entries that are compared at a time."""


ROUNDING = 8e-15
"""Rounding of one layer of quadratures, which two runs may share."""

NO_DIGIT = 0.1
"""Relative difference of two runs from which they share no digit: both may be rounding."""

UNRELATED = 10.0
"""Difference of two such runs, in units of which their errors are bounded."""


def quadrature_errors(
    plan: Schedule, run: Mapping[str, Array], other: Mapping[str, Array], *, pairs: bool, depth: int
) -> dict[str, float]:
    """Return by output a bound of the error of its quadratures, from runs at two resolutions.

    Parameters
    ----------
    plan : Schedule
        The plan of the routine.
    run, other : mapping of str to ndarray
        Arrays by slot; the first one tells the scale.
    pairs : bool
        Whether 2 x 2 matrices are covariance kernels of two inputs.
    depth : int
        Number of blocks.
    """
    rounding = ROUNDING * (depth + 1)
    apart = {o.name: _difference(o, run, other, pairs) for o in plan.outputs}
    return {
        name: (error if error < NO_DIGIT else UNRELATED * error) + rounding
        for name, error in apart.items()
    }


def _difference(
    output: Output, run: Mapping[str, Array], other: Mapping[str, Array], pairs: bool
) -> float:
    worst, names = 0.0, slots(output)
    for piece in _pieces(run[names[0]].shape):
        own = {name: run[name][piece] for name in names}
        scales = _scales(output, own, pairs)
        compared = (
            relative_difference(own[name], other[name][piece], scale)
            for name, scale in zip(names, scales, strict=True)
        )
        worst = max(worst, *compared)
    return worst


def _pieces(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Cut an array along its first two axes, so that what is made of a piece stays small."""
    per_point = math.prod(shape[1:])
    points = max(1, PIECE // max(per_point, 1))
    for start in range(0, shape[0], points):
        if per_point <= PIECE:
            yield (slice(start, start + points),)
            continue
        rows = max(1, PIECE // math.prod(shape[2:]))
        for row in range(0, shape[1], rows):
            yield slice(start, start + 1), slice(row, row + rows)


def problems(
    plan: Schedule,
    arrays: Mapping[str, Array],
    quadrature: Mapping[str, float],
    laws: Laws = (),
) -> tuple[str, ...]:
    """Return a sentence on everything about some arrays that must be known before using them.

    Outputs that are not among the arrays are known to be finite.
    """
    sentences = []
    for output in plan.outputs:
        if output.name not in arrays:
            continue
        array = np.asarray(arrays[output.name])
        problem = overflow_problem(output.name, array, _is_layered(output))
        sentences += [problem] if problem else []
    sentences += [*infinite_averages(laws), *_cancelling(laws)] if sentences else []
    coarse = [
        f"the quadrature in {name} is only good to {error:.1g}"
        for name, error in quadrature.items()
        if error > QUADRATURE_LIMIT
    ]
    return (*sentences, *coarse)


def infinite_averages(laws: Laws) -> list[str]:
    """Return a sentence for every activation whose averages end at some variance."""
    sentences = []
    for _, law in laws:
        largest = growth(law).largest_variance(2)
        if largest < math.inf:
            limit = "any variance above 0 on"
            if largest > 0:
                limit = f"a variance of {largest:.4g} on, and sums may not end within 5 % below it"
            sentences.append(
                f"{law.name} grows so fast that the Gaussian average of its square is infinite "
                f"from {limit}"
            )
    return sentences


def _cancelling(laws: Laws) -> list[str]:
    """Return a sentence for every activation that is rounding at small arguments."""
    sizes = [(law.name, lost_below(law.expression)) for _, law in laws]
    return [
        f"{name} is a difference of larger terms, and rounding at arguments below {size:.1g}"
        for name, size in sizes
        if size
    ]


def _is_layered(output: Output) -> bool:
    """Whether the last axis of an output is that of the layers."""
    return output.kind in ("trajectory", "layer") and len(output.entries) == 1


def _scales(output: Output, arrays: Mapping[str, Array], pairs: bool) -> list[Array]:
    """Return what the error of every slot of an output is relative to."""
    names = slots(output)
    if not output.shape:
        return [np.abs(arrays[names[0]])]
    sizes = {place: np.abs(arrays[n]) for n, place in zip(names, places(output), strict=True)}
    if pairs:
        return [np.sqrt(sizes[i, i]) * np.sqrt(sizes[j, j]) for i, j in sizes]
    largest: Array = np.max([size for place, size in sizes.items() if len(set(place)) == 1], axis=0)
    return [largest] * len(names)
