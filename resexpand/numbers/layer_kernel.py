"""Numbers of the kernel of two layers: a compiled loop over the history.

The generated module holds two scalar functions, the covariance of the branches of two blocks and
its slopes, and a loop over m that runs over ``l <= m`` inside, where the entries of one column do
not depend on each other. Linear quantities follow on the host, column by column.

    R[l] = sum_{b <= m} rho_b B^{lb},      K^{lm} = K^{l-1,m} + rho_l R[l]

Sums of positive and negative terms of the size of the answer; no difference of kernels is formed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.codegen.accuracy import ROUNDING
from resexpand.codegen.binding import Point, bind
from resexpand.codegen.memory import require_memory
from resexpand.codegen.quadrature import quadrature_functions, rule_arguments, with_rules
from resexpand.codegen.resolution import resolution
from resexpand.codegen.rewrite import Lowering, Quadrature
from resexpand.codegen.routine import compile_routine
from resexpand.codegen.schedule import chosen_names
from resexpand.codegen.source import argument_names, module_source, scalar_function
from resexpand.codegen.store import load
from resexpand.codegen.track import done
from resexpand.codegen.values import QUADRATURE_LIMIT, Values, overflow_problem, relative_difference
from resexpand.errors import UnsupportedError
from resexpand.gaussian.quadrature import Resolution, panel_rule
from resexpand.theory.kernel import kernel as kernel_of
from resexpand.theory.layer_kernel import FACTORS, LAYERS, LayerKernel
from resexpand.theory.response import ResponseKind, response

Array = NDArray[np.float64]

RESOLUTIONS: tuple[Resolution, ...] = ("fine", "coarse")

OUTPUTS = {
    "kernel": ("K", "K_layers", "C"),
    "variance": ("chi_0", "eta", "eta_layers", "K"),
    "tangent": ("chi_0", "eta", "eta_layers", "K"),
    "gradient": ("gradient", "K"),
}
"""Outputs of each quantity."""

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


class History(NamedTuple):
    """Arrays of one point.

    Kernel (L+1, L+1), covariance of the last `Linear` of blocks 1 ... L+1, slopes (3, L, L) or
    empty, scales (L,).
    """

    kernel: Array
    linear: Array
    slopes: Array
    scales: Array


def require_host(theory: LayerKernel, target: str) -> None:
    """Refuse other targets than the CPU."""
    if target not in ("cpu", "auto"):
        raise UnsupportedError(
            f"the {theory.title} on target {target!r}",
            "its loop over the history is compiled for the CPU",
            "use target='cpu'",
        )


def evaluate_layer_kernel(
    theory: LayerKernel,
    *,
    target: str = "cpu",
    outputs: str | Iterable[str] | None = None,
    **hyperparameters: Any,
) -> Values:
    """Evaluate a kernel of two layers, see `resexpand.evaluate`."""
    require_host(theory, target)
    names = chosen_names(outputs, OUTPUTS[theory.follows], theory.title)
    law = theory.law
    symbols = {sp.Dummy(p.name): value for p, value in law.pairs}
    bindings = {**dict(theory.bindings), **symbols}
    point = bind(theory.net, bindings, dict(theory.layer_bindings), hyperparameters, matrix=False)
    _require_memory(theory, point, names)
    with_slopes = theory.follows != "kernel"
    found = program(theory, with_slopes)
    run = load(found.source).run
    arrays: dict[str, list[Array]] = {name: [] for name in names}
    error = dict.fromkeys(names, 0.0)
    count = int(np.prod(point.grid, dtype=int))
    for k, place in enumerate(product(*map(range, point.grid))):
        given = {s: _at(v, place, point.grid) for s, v in point.values.items()}
        layers = law.at([given[s] for s in symbols])
        c = np.ascontiguousarray(layers.covariance(point.depth, further=1))
        runs = []
        for accuracy in RESOLUTIONS[: 1 + bool(found.quadratures)]:
            history = _history(theory, point, place, given, c, run, found.rules(accuracy))
            runs.append(_read(theory, history, given, names))
        for name in names:
            arrays[name].append(runs[0][name])
            if len(runs) > 1:
                scale = np.abs(runs[0][name])
                gap = relative_difference(runs[0][name], runs[1][name], scale)
                error[name] = max(error[name], gap + ROUNDING * (point.depth + 1))
        done(k + 1, count)
    shaped = {n: np.array(a).reshape(point.grid + a[0].shape) for n, a in arrays.items()}
    problems = [overflow_problem(n, a, n not in ("eta",)) for n, a in shaped.items()]
    problems += [
        f"{name} depends on the resolution of its quadrature by {gap:.1e}"
        for name, gap in error.items()
        if gap > QUADRATURE_LIMIT
    ]
    quadrature = error if found.quadratures else {}
    said = tuple(text for text in problems if text)
    return Values(shaped, point.depth, said, quadrature, theory.citations, "cpu", point.notes)


def _at(value: Array, place: tuple[int, ...], grid: tuple[int, ...]) -> float:
    return float(np.broadcast_to(value, grid)[place])


def _require_memory(theory: LayerKernel, point: Point, names: tuple[str, ...]) -> None:
    matrices = 3 + 3 * (theory.follows != "kernel")
    kept = int(np.prod(point.grid, dtype=int)) if "K_layers" in names else 0
    require_memory(
        f"the {theory.title} at depth {point.depth}",
        8.0 * (matrices + kept) * (point.depth + 1) ** 2,
        'take fewer points or layers; outputs=["K"] keeps the diagonal alone',
    )


def _history(
    theory: LayerKernel,
    point: Point,
    place: tuple[int, ...],
    given: dict[sp.Symbol, float],
    c: Array,
    run: Any,
    rules: list[Array],
) -> History:
    depth = point.depth
    scale = point.layer_values.get(theory.scale)
    if scale is None:
        scales = np.full(depth, given[theory.scale])
    else:
        scales = np.broadcast_to(scale, (*point.grid, depth))[place].astype(np.float64)
    start = _at(point.kernel, place, point.grid)
    order = [s for s, _ in theory.bindings]
    numbers = np.array([given.get(s, start) for s in order])
    # One block more, of scale zero, whose covariance is read.
    count = depth + 1
    kernel, linear = np.zeros((count + 1, count + 1)), np.zeros(count)
    slopes = np.zeros((3, count, count) if theory.follows != "kernel" else (0, 0, 0))
    run(count, *rules, numbers, np.append(scales, 0.0), c, start, kernel, linear, slopes)
    return History(kernel[:count, :count], linear, slopes[:, :depth, :depth], scales)


def _read(
    theory: LayerKernel,
    history: History,
    given: dict[sp.Symbol, float],
    names: tuple[str, ...],
) -> dict[str, Array]:
    """Return what was asked for at one point."""
    kernel = np.diagonal(history.kernel).copy()
    found = {"K": kernel}
    if "K_layers" in names:
        found["K_layers"] = _symmetric(history.kernel)
    if "C" in names:
        found["C"] = _linear(theory, history, given)
    if theory.follows == "kernel":
        return found
    eta = _read_outs(theory, kernel, given)
    if theory.follows == "gradient":
        slope = _symmetric(history.slopes[1])[::-1, ::-1]
        back = follow(slope, history.scales[::-1])
        return {**found, "gradient": eta[-1] * np.diagonal(back)[::-1]}
    sides = history.slopes if theory.follows == "variance" else history.slopes[1:2]
    growth = np.diagonal(_followed(sides, history.scales)).copy()
    layers = eta * growth
    return {**found, "chi_0": growth, "eta_layers": layers, "eta": layers[-1]}


def _linear(theory: LayerKernel, history: History, given: dict[sp.Symbol, float]) -> Array:
    """Return the covariance of the last `Linear`; the last entry belongs to a read-out."""
    if theory.net.read_out is None:
        return history.linear
    at_end = _behind(theory, kernel_of, "C", history.kernel[-1, -1:], given)
    return np.append(history.linear[:-1], at_end[:, -1])


def _symmetric(lower: Array) -> Array:
    """Return the symmetric matrix of a lower triangle."""
    found: Array = np.tril(lower) + np.tril(lower, -1).T
    return found


def follow(slope: Array, scales: Array) -> Array:
    """Return ``T^{lm} = 1 + sum_{a<=l, b<=m} rho_a rho_b M^{ab} T^{a-1,b-1}``.

    Parameters
    ----------
    slope : ndarray, shape (L, L)
        M, symmetric.
    scales : ndarray, shape (L,)

    Returns
    -------
    ndarray, shape (L + 1, L + 1)
        Its lower triangle.
    """
    return _followed(slope[None], scales)


def _followed(slopes: Array, scales: Array) -> Array:
    """Return the quantity that one slope (lm) or three (ll, lm, mm) let grow; lower triangle."""
    depth = len(scales)
    found, sums = np.zeros((depth + 1, depth + 1)), np.zeros(depth)
    found[:, 0] = 1.0
    diagonal = np.ones(depth + 1)
    for m in range(1, depth + 1):
        own = slice(0, m)
        if len(slopes) == 1:
            row = slopes[0, m - 1, own] * found[m - 1, own]
        else:
            row = slopes[1, m - 1, own] * found[m - 1, own]
            row = (
                row
                + slopes[0, m - 1, own] * diagonal[own]
                + slopes[2, m - 1, own] * diagonal[m - 1]
            )
        sums[: m - 1] += scales[m - 1] * row[:-1]
        sums[m - 1] = scales[own] @ row
        found[m, 1 : m + 1] = 1.0 + np.cumsum(scales[own] * sums[own])
        diagonal[m] = found[m, m]
    return found


def _read_outs(theory: LayerKernel, kernel: Array, given: dict[sp.Symbol, float]) -> Array:
    """Return the response of a read-out behind each layer to that layer."""
    kind: ResponseKind = "variance" if theory.follows == "variance" else "tangent"
    found = _behind(theory, partial(response, kind=kind), "eta", kernel, given)
    value: Array = np.broadcast_to(found, kernel.shape)
    return value


def _behind(
    theory: LayerKernel, derive: Any, name: str, kernel: Array, given: dict[sp.Symbol, float]
) -> Array:
    """Return what a theory of independent layers says of a read-out at these kernels.

    A read-out knows nothing of other layers: a block of scale zero in front of it is no layer.
    """
    free = theory.net.altered(layers=None).with_scale(0, 1)
    named = {s.name: float(v) for s, v in given.items() if s in free.free_symbols}
    found: Array = compile_routine(derive(free), "cpu", [name])(K0=kernel, **named)[name]
    return found
