"""Accuracy of a run: the difference of two quadrature resolutions, and the status derived from it.

The difference of two resolutions bounds the error of the quadrature. It is relative: for the
covariance of two inputs, which may vanish exactly, to their variances; for an entry of a vector, or
of a matrix of orders, to the largest entry.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.schedule import Schedule, places, slots
from resexpand.codegen.values import QUADRATURE_LIMIT, overflow_problem, relative_difference
from resexpand.theory.recursion import Output

Array = NDArray[np.float64]


def differences(
    plan: Schedule, run: Mapping[str, Array], other: Mapping[str, Array], *, pairs: bool
) -> dict[str, float]:
    """Return by output the largest relative difference of two runs, given by slot.

    Parameters
    ----------
    plan : Schedule
        What was computed.
    run, other : mapping of str to ndarray
        Arrays by slot; the first one tells the scale.
    pairs : bool
        Whether 2 x 2 matrices are covariance kernels of two inputs.
    """
    return {
        output.name: max(
            relative_difference(run[slot], other[slot], scale)
            for slot, scale in zip(slots(output), _scales(output, run, pairs), strict=True)
        )
        for output in plan.outputs
    }


def problems(
    plan: Schedule,
    arrays: Mapping[str, Array],
    quadrature: Mapping[str, float],
) -> tuple[str, ...]:
    """Return a sentence on everything about some arrays that must be known before using them.

    Outputs that are not among the arrays are known to be finite.
    """
    found = []
    for output in plan.outputs:
        if output.name not in arrays:
            continue
        array = np.asarray(arrays[output.name])
        problem = overflow_problem(output.name, array, _is_layered(output))
        found += [problem] if problem else []
    coarse = [
        f"the quadrature in {name} is only good to {error:.1g}"
        for name, error in quadrature.items()
        if error > QUADRATURE_LIMIT
    ]
    return (*found, *coarse)


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
