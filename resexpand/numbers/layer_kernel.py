"""Loops of the kernel of two layers over the history, and what follows from them for one input.

The generated module holds two scalar functions, the covariance of the branches of two blocks and
its slopes, and a loop over m that runs over ``l <= m`` inside, where the entries of one column do
not depend on each other. Linear quantities follow on the host, column by column.

    R[l] = sum_{b <= m} rho_b B^{lb},      K^{lm} = K^{l-1,m} + rho_l R[l]

Sums of positive and negative terms of the size of the answer; no difference of kernels is formed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.codegen.quadrature import quadrature_functions, rule_arguments, with_rules
from resexpand.codegen.resolution import resolution
from resexpand.codegen.rewrite import Lowering, Quadrature
from resexpand.codegen.routine import compile_routine
from resexpand.codegen.source import argument_names, module_source, scalar_function
from resexpand.gaussian.quadrature import Resolution, panel_rule
from resexpand.theory.kernel import kernel as kernel_of
from resexpand.theory.layer_kernel import FACTORS, LAYERS, LayerKernel
from resexpand.theory.response import ResponseKind, response

Array = NDArray[np.float64]

RUN = '''
@driver
def run(depth, {rules}numbers, scales, c, start, kernel, linear, slopes):
    """Fill kernel[m, l] and slopes[:, m - 1, l - 1] for l <= m, where there is room, and linear."""
    row = np.empty(depth)
    diagonal, own = np.empty(depth + 1), np.empty(depth)
    sums = np.zeros(depth)
    diagonal[0] = start
    for m in range(depth + 1):
        kernel[m, 0] = start
    for m in range(1, depth + 1):
        own[m - 1] = c[m - 1, m - 1]
        before, factors = kernel[m - 1], c[m - 1]
        for l in range(1, m + 1):
            row[l - 1] = covariance({arguments})
        l = m
        linear[m - 1] = last_linear({arguments})
        if slopes.size:
            for l in range(1, m + 1):
                first, both, last = slope({arguments})
                slopes[0, m - 1, l - 1] = first
                slopes[1, m - 1, l - 1] = both
                slopes[2, m - 1, l - 1] = last
        total = 0.0
        for l in range(1, m):
            sums[l - 1] += scales[m - 1] * row[l - 1]
            total += scales[l - 1] * row[l - 1]
        sums[m - 1] = total + scales[m - 1] * row[m - 1]
        for l in range(1, m + 1):
            kernel[m, l] = kernel[m, l - 1] + scales[l - 1] * sums[l - 1]
        diagonal[m] = kernel[m, m]
'''

ARGUMENTS = (
    "diagonal[l - 1], before[l - 1], diagonal[m - 1], own[l - 1], factors[l - 1], own[m - 1]"
)


PAIR_ARGUMENTS = (
    "first[l - 1], kernel[l - 1, m - 1], second[m - 1], c[l - 1, l - 1], c[l - 1, m - 1], "
    "c[m - 1, m - 1]"
)
"""Arguments of a pair of inputs, one at layer l, the other at m."""


@dataclass(frozen=True)
class Program:
    """Generated source of a kernel of two layers, and its quadratures."""

    source: str
    quadratures: tuple[Quadrature, ...]

    def rules(self, resolution_name: Resolution) -> list[Array]:
        """Return the rule arrays of a resolution."""
        if not self.quadratures:
            return []
        return [*panel_rule(resolution_name), *resolution(self.quadratures)]


@lru_cache(maxsize=64)
def program(theory: LayerKernel, with_slopes: bool, further: str = "", header: str = "") -> Program:
    """Return the generated text; `further` loops and what they import stand around the first."""
    lowering = Lowering(theory.laws)
    parameters = tuple(symbol for symbol, _ in theory.bindings)
    definitions = [(s, lowering.lower(value)) for s, value in theory.definitions]
    branch = lowering.lower(theory.branch)
    slopes = [lowering.lower(e) for e in theory.slopes] if with_slopes else [sp.Integer(0)] * 3
    own = lowering.lower(theory.added) if further and with_slopes else sp.Integer(0)
    quadratures = tuple(lowering.quadratures.values())
    rules = rule_arguments(quadratures)
    inputs = (*LAYERS, *FACTORS, *parameters, *rules)
    helpers = {q.name: q.name for q in quadratures}
    given = [(s, with_rules(e, quadratures)) for s, e in definitions]
    covariance, last = (
        scalar_function(
            name, inputs, [with_rules(e, quadratures)], helpers=helpers, definitions=given
        )
        for name, e in (("covariance", branch), ("last_linear", theory.last[2]))
    )
    slope = scalar_function(
        "slope", inputs, [with_rules(e, quadratures) for e in slopes], helpers=helpers
    )
    names = argument_names(rules)
    passed = [ARGUMENTS, *(f"numbers[{k}]" for k in range(len(parameters))), *names]
    given_rules = "".join(f"{n}, " for n in names)
    texts = [RUN.format(rules=given_rules, arguments=", ".join(passed))]
    added = []
    if further:
        passed[0] = PAIR_ARGUMENTS
        texts.append(further.format(rules=given_rules, arguments=", ".join(passed)))
        added = [
            scalar_function("added", inputs, [with_rules(own, quadratures)], helpers=helpers),
            scalar_function(
                "pair_linear",
                inputs,
                [with_rules(theory.last[1], quadratures)],
                helpers=helpers,
                definitions=given,
            ),
        ]
    functions = [covariance, last, slope, *added, *texts]
    functions = [header, *quadrature_functions(quadratures), *functions]
    return Program(
        f"# {theory.title}\n" + module_source(filter(None, functions), "cpu"), quadratures
    )


@dataclass(frozen=True)
class Place:
    """A point of the grid.

    Attributes
    ----------
    given : dict
        Numbers of the symbols.
    scales : ndarray, shape (L + 1,)
        Of all blocks, and zero for one more, whose covariance is read.
    c : ndarray, shape (L + 1, L + 1)
        Covariance of the weights of blocks.
    start : ndarray, shape (D, D)
        Kernel at layer 0.
    """

    given: dict[sp.Symbol, float]
    scales: Array
    c: Array
    start: Array

    def numbers(self, theory: LayerKernel) -> Array:
        """Return the parameters of the loops."""
        return np.array([self.given.get(s, 0.0) for s, _ in theory.bindings])


def of_one_input(
    theory: LayerKernel, at: Place, module: Any, rules: list[Array], names: tuple[str, ...]
) -> dict[str, Array]:
    """Return what was asked for of one input at a point of the grid."""
    count = len(at.scales)
    kernel, linear = np.zeros((count + 1, count + 1)), np.zeros(count)
    slopes = np.zeros((3, count, count) if theory.follows != "kernel" else (0, 0, 0))
    given = (*rules, at.numbers(theory), at.scales, at.c, at.start[0, 0])
    module.run(count, *given, kernel, linear, slopes)
    kernel, slopes, scales = kernel[:count, :count], slopes[:, :-1, :-1], at.scales[:-1]
    own = np.diagonal(kernel).copy()
    values = {"K": own}
    if "K_layers" in names:
        values["K_layers"] = _symmetric(kernel)
    if "C" in names:
        values["C"] = linear
        if theory.net.read_out is not None:  # the last entry belongs to the read-out
            end = behind(theory, kernel_of, ["C"], kernel[-1, -1:], at.given)["C"]
            values["C"] = np.append(linear[:-1], end[:, -1])
    if theory.follows == "kernel":
        return values
    kind: ResponseKind = "variance" if theory.follows == "variance" else "tangent"
    eta = behind(theory, partial(response, kind=kind), ["eta"], own, at.given)["eta"]
    eta = np.broadcast_to(eta, own.shape)
    if theory.follows == "variance":
        growth = np.diagonal(_moved(slopes, scales)).copy()
    else:
        both = _symmetric(slopes[1])
        if theory.follows == "gradient":
            return {**values, "gradient": eta[-1] * np.diagonal(back(both, scales))}
        growth = forward(both, scales)
    layers = eta * growth
    return {**values, "chi_0": growth, "eta_layers": layers, "eta": layers[-1]}


def _symmetric(lower: Array) -> Array:
    """Return the symmetric matrix of a lower triangle."""
    return np.asarray(np.tril(lower) + np.tril(lower, -1).T)


def back(slope: Array, scales: Array) -> Array:
    """Return ``P^{lm} = 1 + sum_{i > l, j > m} rho_i rho_j M^{ij} P^{ij}``, l, m = 0 ... L."""
    depth = len(scales)
    products = np.ones((depth + 1, depth + 1))
    for l in range(depth - 1, -1, -1):  # noqa: E741
        row = scales * slope[l] * products[l + 1, 1:]
        behind = np.append(np.cumsum(row[::-1])[::-1], 0.0)
        products[l] = products[l + 1] + scales[l] * behind
    return products


def forward(slope: Array, scales: Array) -> Array:
    """Return ``T^{ll}``, ``T^{lm} = 1 + sum_{i <= l, j <= m} rho_i rho_j M^{ij} T^{i-1,j-1}``."""
    # A history from the input on is one from the output on, read backwards.
    return np.diagonal(back(slope[::-1, ::-1], scales[::-1]))[::-1]


def _moved(slopes: Array, scales: Array) -> Array:
    """Return the derivative of the kernel by its start, of slopes ll, lm, mm; lower triangle."""
    depth = len(scales)
    moved, sums = np.zeros((depth + 1, depth + 1)), np.zeros(depth)
    moved[:, 0] = 1.0
    diagonal = np.ones(depth + 1)
    for m in range(1, depth + 1):
        own = slice(0, m)
        row = slopes[1, m - 1, own] * moved[m - 1, own]
        row = row + slopes[0, m - 1, own] * diagonal[own] + slopes[2, m - 1, own] * diagonal[m - 1]
        sums[: m - 1] += scales[m - 1] * row[:-1]
        sums[m - 1] = scales[own] @ row
        moved[m, 1 : m + 1] = 1.0 + np.cumsum(scales[own] * sums[own])
        diagonal[m] = moved[m, m]
    return moved


def behind(
    theory: LayerKernel, derive: Any, names: list[str], kernel: Array, given: dict[sp.Symbol, float]
) -> Any:
    """Return what a theory of independent layers says of a read-out at a kernel.

    A read-out knows nothing of other layers: a block of scale zero in front of it is no layer.
    """
    free = theory.net.altered(layers=None, read_in=None).with_scale(0, 1)
    named = {s.name: float(v) for s, v in given.items() if s in free.free_symbols}
    return compile_routine(derive(free), "cpu", names)(K0=kernel, **named)
