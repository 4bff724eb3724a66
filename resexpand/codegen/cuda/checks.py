"""What the host checks of hyperparameters, checked on the device for those that lie there."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from resexpand.codegen.cuda.arrays import flaws, threads_and_blocks
from resexpand.errors import HyperparameterError, KernelError
from resexpand.network.resnet import ResNet

TOLERANCE = {"float64": 1e-9, "float32": 1e-5}
"""Of a covariance, relative to the variances: what rounding may have changed."""


def check_values(net: ResNet, name: str, values: Any) -> None:
    """Check a hyperparameter: finite, and not negative where it is a variance.

    Raises
    ------
    HyperparameterError
        With the number of values that are wrong.
    """
    bad, _, _ = flaws(values.reshape((1, values.size)), 0)
    if bad:
        raise HyperparameterError(
            f"{name} on a device", f"{bad} of its values are not finite", "give finite numbers"
        )
    variances = {value for parameter, value in net.parameters if parameter.minimum == 0}
    symbols = [s for s in net.free_symbols if s.name == name]
    if any(s in variances or s.is_nonnegative for s in symbols):
        negative = _counted(values.reshape(values.size))[0]
        if negative:
            raise HyperparameterError(
                f"{name} on a device", f"{negative} of its values are negative", "give >= 0"
            )


def check_kernel(net: ResNet, values: Any, *, matrix: bool) -> None:
    """Check a kernel at layer 0: finite, symmetric, semi-definite, and not where averages jump.

    Raises
    ------
    KernelError
        With the number of values that are wrong.
    """
    flat = values.reshape(values.size)
    bad, _, _ = flaws(values.reshape((1, values.size)), 0)
    if bad:
        raise KernelError(
            "K0 on a device", f"{bad} of its values are not finite", "give finite numbers"
        )
    diagonals = [flat[0::4], flat[3::4]] if matrix else [flat]
    counts = [_counted(diagonal) for diagonal in diagonals]
    negative, zero = (sum(count[k] for count in counts) for k in range(2))
    indefinite = _indefinite_count(flat) if matrix else 0
    if negative or indefinite:
        raise KernelError(
            "K0 on a device",
            f"{negative + indefinite} of its values are not symmetric positive semi-definite",
            "give the covariance kernels of inputs",
        )
    jumps = [step.op for step in net.openings if 0 in step.op.jumps]
    if zero and jumps:
        raise KernelError(
            "K0 with a variance of zero",
            f"{jumps[0].name} jumps at zero, so its averages have no limit there",
            "give a positive variance",
        )


def _counted(values: Any) -> tuple[int, int]:
    """Return how many numbers are negative, and how many are zero."""
    marks = cuda.to_device(np.zeros(2, dtype=np.int64))
    blocks, threads = threads_and_blocks(values.size)
    _signs()[blocks, threads](values, marks)
    negative, zero = marks.copy_to_host()
    return int(negative), int(zero)


@cache
def _signs() -> Any:
    def signs(values: Any, marks: Any) -> None:
        i = cuda.grid(1)
        if i < values.size:
            if values[i] < 0:
                cuda.atomic.add(marks, 0, 1)
            if values[i] == 0:
                cuda.atomic.add(marks, 1, 1)

    return cuda.jit(signs)


def _indefinite_count(flat: Any) -> int:
    """Return how many 2 x 2 matrices are not symmetric, or have a negative determinant."""
    marks = cuda.to_device(np.zeros(1, dtype=np.int64))
    blocks, threads = threads_and_blocks(flat.size // 4)
    _indefinite()[blocks, threads](flat, TOLERANCE[str(flat.dtype)], marks)
    return int(marks.copy_to_host()[0])


@cache
def _indefinite() -> Any:
    def indefinite(flat: Any, tolerance: Any, marks: Any) -> None:
        i = 4 * cuda.grid(1)
        if i < flat.size:
            product = flat[i] * flat[i + 3]
            gap = flat[i + 1] - flat[i + 2]
            beyond = flat[i + 1] * flat[i + 1] > product * (1 + tolerance)
            if beyond or gap * gap > product * tolerance * tolerance:
                cuda.atomic.add(marks, 0, 1)

    return cuda.jit(indefinite)
