"""How far two runs of one routine lie apart, and what is said about arrays that cannot be trusted.

Runs at two resolutions of the quadrature bound its error; runs in single and in double precision
show what rounding costs. Differences are relative to what they are a difference of: the covariance
of two inputs may vanish exactly, so its error is relative to their variances; entries of a vector,
or of a matrix of orders, are parts of one whole and relative to the largest of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import numpy as np
from numpy.typing import NDArray

from resexpand.activations.growth import growth
from resexpand.codegen.schedule import Schedule, places, slots
from resexpand.codegen.values import overflow_problem, relative_difference
from resexpand.theory.closure import Laws
from resexpand.theory.recursion import Output

Array = NDArray[np.float64]

QUADRATURE_LIMIT = {"double": 1e-6, "single": 1e-4}
"""Relative difference of the two resolutions above which a result is flagged."""

ROUNDING_LIMIT = 1e-3
"""Relative difference from double precision above which a result in single precision is flagged."""


ROUNDING = 8e-15
"""Rounding of one layer of quadratures, which two runs may share."""


def quadrature_errors(
    plan: Schedule,
    fine: Mapping[str, Array],
    coarse: Mapping[str, Array],
    *,
    pairs: bool,
    depth: int,
) -> dict[str, float]:
    """Return by output a bound of the error of its quadratures, from runs at two resolutions."""
    found = differences(plan, fine, coarse, pairs=pairs)
    return {name: error + ROUNDING * (depth + 1) for name, error in found.items()}


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
    rounding: Mapping[str, float],
    precision: str,
    laws: Laws = (),
) -> tuple[str, ...]:
    """Return a sentence on everything about some arrays that must be known before using them.

    Outputs that are not among the arrays are known to be finite.
    """
    found = []
    for output in plan.outputs:
        if output.name not in arrays:
            continue
        array = np.asarray(arrays[output.name])
        problem = overflow_problem(output.name, array, is_layered(output), precision)
        found += [problem] if problem else []
    found += infinite_averages(laws) if found else []
    return (*found, *accuracy_problems(quadrature, rounding, precision))


def infinite_averages(laws: Laws) -> list[str]:
    """Return a sentence for every activation whose averages end at some variance."""
    sentences = []
    for _, law in laws:
        largest = growth(law).largest_variance(2)
        if largest < inf:
            limit = f"a variance of {largest:.4g} on" if largest > 0 else "any variance above 0 on"
            sentences.append(
                f"{law.name} grows so fast that the Gaussian average of its square is infinite "
                f"from {limit}"
            )
    return sentences


def accuracy_problems(
    quadrature: Mapping[str, float], rounding: Mapping[str, float], precision: str
) -> list[str]:
    """Return a sentence for every error above its limit."""
    limit = QUADRATURE_LIMIT[precision]
    coarse = [
        f"the quadrature in {name} is only good to {error:.1g}"
        for name, error in quadrature.items()
        if error > limit
    ]
    rough = [
        f"rounding to single precision changes {name} by {error:.1g}"
        for name, error in rounding.items()
        if error > ROUNDING_LIMIT
    ]
    return coarse + rough


def is_layered(output: Output) -> bool:
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
