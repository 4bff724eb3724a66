r"""The same computation written by hand in Numba: the yardstick of the generated routine.

`plain` is the loop most people would write: points in parallel, layers inside, `math.asin`.
`tuned` takes points in tiles of 32 so that LLVM vectorises over them, uses the branch-free
polynomials of `resexpand` for the arcsine and arccosine (Numba's wheels bring no vectorised
mathematics library), and collects eight layers before it writes rows. Both use the textbook
formulas

    erf:   <phi phi> = 2/pi asin(2 K12/sqrt((1 + 2 K11)(1 + 2 K22))),
           <phi' phi'> = 4/pi ((1 + 2 K11)(1 + 2 K22) - 4 K12^2)^(-1/2)
    relu:  <phi phi> = sqrt(K11 K22)/(2 pi) (sin t + (pi - t) cos t), <phi' phi'> = (pi - t)/(2 pi).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, prange

from resexpand.codegen.targets import OPTIONS, cpu

LANES, PAGE = 32, 8
PI = math.pi

Step = Callable[..., Any]


def _steps(asin: Step, acos: Step) -> dict[tuple[str, int], Step]:
    """Return the update of one point and layer for every case."""
    inlined = njit(forceinline=True, **OPTIONS)

    @inlined
    def erf_one(k, chi, r, w, b):
        d = 1.0 + 2.0 * k
        slope = 4.0 / (PI * d * math.sqrt(1.0 + 4.0 * k))
        return k + r * (w * (2.0 / PI) * asin(2.0 * k / d) + b), chi * (1.0 + r * w * slope)

    @inlined
    def relu_one(k, chi, r, w, b):
        return k + r * (0.5 * w * k + b), chi * (1.0 + 0.5 * r * w)

    @inlined
    def erf_pair(k11, k12, k22, chi, r, w, b):
        d1, d2, g = 1.0 + 2.0 * k11, 1.0 + 2.0 * k22, w * (2.0 / PI)
        d = d1 * d2
        slope = (4.0 / PI) / math.sqrt(d - 4.0 * k12 * k12)
        return (
            k11 + r * (g * asin(2.0 * k11 / d1) + b),
            k12 + r * (g * asin(2.0 * k12 / math.sqrt(d)) + b),
            k22 + r * (g * asin(2.0 * k22 / d2) + b),
            chi * (1.0 + r * w * slope),
        )

    @inlined
    def relu_pair(k11, k12, k22, chi, r, w, b):
        length = math.sqrt(k11 * k22)
        cosine = max(-1.0, min(1.0, k12 / length))
        angle = PI - acos(cosine)
        mean = length / (2.0 * PI) * (math.sqrt(1.0 - cosine * cosine) + angle * cosine)
        return (
            k11 + r * (0.5 * w * k11 + b),
            k12 + r * (w * mean + b),
            k22 + r * (0.5 * w * k22 + b),
            chi * (1.0 + r * w * angle / (2.0 * PI)),
        )

    return {
        ("erf", 1): erf_one,
        ("relu", 1): relu_one,
        ("erf", 2): erf_pair,
        ("relu", 2): relu_pair,
    }


def plain(activation: str, inputs: int, parallel: bool = True) -> Step:
    """Return the simple loop of a case: ``loop(depth, *parameters, *outputs)``."""
    step = _steps(math.asin, math.acos)[activation, inputs]
    return _plain_one(step, parallel) if inputs == 1 else _plain_pair(step, parallel)


def _plain_one(step: Step, parallel: bool) -> Step:
    def loop(depth, rho, weight, bias, kernel, out_chi, out_k):
        for i in prange(rho.size):
            r, w, b, k, chi = rho[i] ** 2, weight[i], bias[i], kernel[i], 1.0
            out_k[i, 0], out_chi[i, 0] = k, chi
            for layer in range(1, depth + 1):
                k, chi = step(k, chi, r, w, b)
                out_k[i, layer], out_chi[i, layer] = k, chi

    return njit(parallel=parallel, **OPTIONS)(loop)


def _plain_pair(step: Step, parallel: bool) -> Step:
    def loop(depth, rho, weight, bias, first, cross, second, out_chi, out_11, out_12, out_22):
        for i in prange(rho.size):
            r, w, b, chi = rho[i] ** 2, weight[i], bias[i], 1.0
            k11, k12, k22 = first[i], cross[i], second[i]
            for layer in range(depth):
                out_11[i, layer], out_12[i, layer], out_22[i, layer] = k11, k12, k22
                out_chi[i, layer] = chi
                k11, k12, k22, chi = step(k11, k12, k22, chi, r, w, b)
            out_11[i, depth], out_12[i, depth], out_22[i, depth] = k11, k12, k22
            out_chi[i, depth] = chi

    return njit(parallel=parallel, **OPTIONS)(loop)


def tuned(activation: str, inputs: int, parallel: bool = True) -> Step:
    """Return the tiled loop of a case: ``loop(depth, write, *parameters, *outputs)``.

    Without `write` only the last layer is stored: what the arithmetic alone takes.
    """
    step = _steps(cpu.function("asin"), cpu.function("acos"))[activation, inputs]
    return _tuned_one(step, parallel) if inputs == 1 else _tuned_pair(step, parallel)


def _tuned_one(step: Step, parallel: bool) -> Step:
    def loop(depth, write, rho, weight, bias, kernel, out_chi, out_k):
        n = rho.size
        for tile in prange((n + LANES - 1) // LANES):
            low = tile * LANES
            count = min(LANES, n - low)
            at = np.empty((5, LANES))
            page = np.empty((2, PAGE, LANES))
            for i in range(LANES):
                j = min(low + i, n - 1)
                at[0, i], at[1, i], at[2, i] = rho[j] * rho[j], weight[j], bias[j]
                at[3, i], at[4, i] = kernel[j], 1.0
            for start in range(0, depth, PAGE):
                layers = min(PAGE, depth - start)
                for s in range(layers):
                    for i in range(LANES):
                        page[0, s, i], page[1, s, i] = at[3, i], at[4, i]
                    for i in range(LANES):
                        k, chi = step(at[3, i], at[4, i], at[0, i], at[1, i], at[2, i])
                        at[3, i], at[4, i] = k, chi
                for i in range(count if write else 0):
                    row_k, row_chi = out_k[low + i], out_chi[low + i]
                    for s in range(layers):
                        row_k[start + s], row_chi[start + s] = page[0, s, i], page[1, s, i]
            for i in range(count):
                out_k[low + i, depth], out_chi[low + i, depth] = at[3, i], at[4, i]

    return njit(parallel=parallel, **OPTIONS)(loop)


def _tuned_pair(step: Step, parallel: bool) -> Step:
    def loop(
        depth, write, rho, weight, bias, first, cross, second, out_chi, out_11, out_12, out_22
    ):
        n = rho.size
        for tile in prange((n + LANES - 1) // LANES):
            low = tile * LANES
            count = min(LANES, n - low)
            at = np.empty((7, LANES))
            page = np.empty((4, PAGE, LANES))
            for i in range(LANES):
                j = min(low + i, n - 1)
                at[0, i], at[1, i], at[2, i], at[6, i] = rho[j] * rho[j], weight[j], bias[j], 1.0
                at[3, i], at[4, i], at[5, i] = first[j], cross[j], second[j]
            for start in range(0, depth, PAGE):
                layers = min(PAGE, depth - start)
                for s in range(layers):
                    for i in range(LANES):
                        page[0, s, i], page[1, s, i] = at[3, i], at[4, i]
                        page[2, s, i], page[3, s, i] = at[5, i], at[6, i]
                    for i in range(LANES):
                        k11, k12, k22, chi = step(
                            at[3, i], at[4, i], at[5, i], at[6, i], at[0, i], at[1, i], at[2, i]
                        )
                        at[3, i], at[4, i], at[5, i], at[6, i] = k11, k12, k22, chi
                for i in range(count if write else 0):
                    row_11, row_12 = out_11[low + i], out_12[low + i]
                    row_22, row_chi = out_22[low + i], out_chi[low + i]
                    for s in range(layers):
                        row_11[start + s], row_12[start + s] = page[0, s, i], page[1, s, i]
                        row_22[start + s], row_chi[start + s] = page[2, s, i], page[3, s, i]
            for i in range(count):
                out_11[low + i, depth], out_12[low + i, depth] = at[3, i], at[4, i]
                out_22[low + i, depth], out_chi[low + i, depth] = at[5, i], at[6, i]

    return njit(parallel=parallel, **OPTIONS)(loop)


@njit(parallel=True, **OPTIONS)
def stream(out):
    """Write an array from first to last element: the fastest way to store the same bytes."""
    for i in prange(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = float(j)
