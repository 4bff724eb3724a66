"""The same computation in NumPy, vectorised over points with a loop over layers.

`by_numpy` is written by hand; `by_lambdify` lets `sympy.lambdify` write the update (NumPy module,
common subexpressions shared). Both keep layers on the *first* axis, which suits NumPy best, and
return ``(chi, K)`` or ``(chi, K11, K12, K22)``. NumPy needs no SciPy here: the recursions of erf
and relu hold arcsines and arccosines only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import sympy as sp
from cases import Array, Case

Update = Callable[..., tuple[Array, ...]]


def by_numpy(case: Case) -> Callable[[], tuple[Array, ...]]:
    """Return the evaluation of a case with an update written by hand."""
    update = {
        ("erf", 1): _erf_one,
        ("relu", 1): _relu_one,
        ("erf", 2): _erf_pair,
        ("relu", 2): _relu_pair,
    }[case.activation, case.inputs]
    return lambda: _run(case, update)


def by_lambdify(case: Case) -> Callable[[], tuple[Array, ...]]:
    """Return the evaluation of a case with an update written by `sympy.lambdify`."""
    symbols, update = _formulas(case.activation, case.inputs)
    function = sp.lambdify(symbols, update, modules="numpy", cse=True)
    return lambda: _run(case, function)


def _run(case: Case, update: Update) -> tuple[Array, ...]:
    rho, weight, bias, *kernel = case.parameters
    r = rho * rho
    state = (np.ones(case.points), *kernel)
    out = tuple(np.empty((case.depth + 1, case.points)) for _ in state)
    for layer in range(case.depth):
        for rows, values in zip(out, state, strict=True):
            rows[layer] = values
        state = tuple(update(*state, r, weight, bias))
    for rows, values in zip(out, state, strict=True):
        rows[case.depth] = values
    return out


def _erf_one(chi: Array, k: Array, r: Array, w: Array, b: Array) -> tuple[Array, ...]:
    d = 1 + 2 * k
    slope = 4 / np.pi / (d * np.sqrt(1 + 4 * k))
    return chi * (1 + r * w * slope), k + r * (w * (2 / np.pi) * np.arcsin(2 * k / d) + b)


def _relu_one(chi: Array, k: Array, r: Array, w: Array, b: Array) -> tuple[Array, ...]:
    half = 0.5 * w
    return chi * (1 + r * half), k + r * (half * k + b)


def _erf_pair(
    chi: Array, k11: Array, k12: Array, k22: Array, r: Array, w: Array, b: Array
) -> tuple[Array, ...]:
    d1, d2, g = 1 + 2 * k11, 1 + 2 * k22, w * (2 / np.pi)
    d = d1 * d2
    slope = 4 / np.pi / np.sqrt(d - 4 * k12 * k12)
    return (
        chi * (1 + r * w * slope),
        k11 + r * (g * np.arcsin(2 * k11 / d1) + b),
        k12 + r * (g * np.arcsin(2 * k12 / np.sqrt(d)) + b),
        k22 + r * (g * np.arcsin(2 * k22 / d2) + b),
    )


def _relu_pair(
    chi: Array, k11: Array, k12: Array, k22: Array, r: Array, w: Array, b: Array
) -> tuple[Array, ...]:
    length, half = np.sqrt(k11 * k22), 0.5 * w
    cosine = np.clip(k12 / length, -1, 1)
    angle = np.pi - np.arccos(cosine)
    mean = length / (2 * np.pi) * (np.sqrt(1 - cosine * cosine) + angle * cosine)
    return (
        chi * (1 + r * w * angle / (2 * np.pi)),
        k11 + r * (half * k11 + b),
        k12 + r * (w * mean + b),
        k22 + r * (half * k22 + b),
    )


def _formulas(activation: str, inputs: int) -> tuple[list[sp.Symbol], list[sp.Expr]]:
    chi, k11, k12, k22, r, w, b = symbols = sp.symbols("chi k11 k12 k22 r w b", positive=True)
    slope, means = _erf_averages(k11, k12, k22) if activation == "erf" else _relu(k11, k12, k22)
    if inputs == 2:
        kernels = zip((k11, k12, k22), means, strict=True)
        new = [chi * (1 + r * w * slope), *(k + r * (w * mean + b) for k, mean in kernels)]
        return list(symbols), new
    # The response of one input is that of the variance: the derivative of the update itself.
    new_kernel = k11 + r * (w * means[0] + b)
    return [chi, k11, r, w, b], [chi * sp.diff(new_kernel, k11), new_kernel]


def _erf_averages(a: sp.Expr, c: sp.Expr, b: sp.Expr) -> tuple[sp.Expr, list[sp.Expr]]:
    def mean(x: sp.Expr, y: sp.Expr, z: sp.Expr) -> sp.Expr:
        norm = (1 + 2 * x) if x == z else sp.sqrt((1 + 2 * x) * (1 + 2 * z))
        return 2 / sp.pi * sp.asin(2 * y / norm)

    slope = 4 / sp.pi / sp.sqrt((1 + 2 * a) * (1 + 2 * b) - 4 * c**2)
    return slope, [mean(a, a, a), mean(a, c, b), mean(b, b, b)]


def _relu(a: sp.Expr, c: sp.Expr, b: sp.Expr) -> tuple[sp.Expr, list[sp.Expr]]:
    length = sp.sqrt(a * b)
    angle = sp.pi - sp.acos(c / length)
    mean = length / (2 * sp.pi) * (sp.sqrt(1 - c**2 / (a * b)) + angle * c / length)
    return angle / (2 * sp.pi), [a / 2, mean, b / 2]
