"""Which inputs are computed: equal ones once, since their kernels are singular and stay so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.binding import Point
from resexpand.theory.kernel import kernel as mean_field_kernel
from resexpand.theory.one_loop import OneLoop
from resexpand.theory.one_loop.layers import layers
from resexpand.theory.recursion import Recursion

Array = NDArray[np.float64]

EQUAL = 1e-9
"""Squared distance of two inputs, relative to their length, at which they are taken for the same:
results change by about as much, while closed averages lose `1e-16` of it to rounding."""


@dataclass(frozen=True)
class Problem:
    """The inputs that are computed: of several equal ones the first.

    Attributes
    ----------
    kernel : ndarray
        Kernel at layer 0: ``(...,)`` for one input, ``(..., d, d)`` for d different ones.
    places : list of int
        Which of these each input is.
    layers : Recursion
        The recursion of one or of two inputs.
    """

    kernel: Array
    places: list[int]
    layers: Recursion

    @property
    def count(self) -> int:
        """Number of inputs that are computed."""
        return max(self.places) + 1

    def expanded(self, name: str, array: Array) -> Array:
        """Return a result for all inputs."""
        index = np.array(self.places)
        whole = array[:, :, index[:, None], index]
        return whole[..., index[:, None], index] if name.endswith("_cov") else whole


def distinct_inputs(theory: OneLoop, point: Point) -> Problem:
    """Find equal inputs, whose kernels are singular and stay so."""
    kernel = point.kernel
    if theory.inputs == 1:
        return Problem(kernel, [0], theory.layers)
    places: list[int] = []
    first: list[int] = []
    for i in range(theory.inputs):
        # Masks of their own make different inputs of equal ones.
        alike = () if theory.net.parts_equal_inputs else enumerate(first)
        equal = [n for n, j in alike if _are_equal(kernel, i, j)]
        places.append(equal[0] if equal else len(first))
        if not equal:
            first.append(i)
    if len(first) == 1:
        single = layers(mean_field_kernel(theory.net), theory.process)
        return Problem(kernel[..., 0, 0], places, single)
    return Problem(kernel[..., first, :][..., first], places, theory.layers)


def _are_equal(kernel: Array, i: int, j: int) -> bool:
    """Whether two inputs are equal at all points of the grid."""
    distance = kernel[..., i, i] + kernel[..., j, j] - 2 * kernel[..., i, j]
    return bool((distance <= EQUAL * kernel[..., i, i]).all())
