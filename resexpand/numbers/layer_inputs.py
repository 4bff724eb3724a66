r"""Numbers of the kernel of two layers for several inputs, and of the tangent kernel.

For inputs a and b the kernel ``K^{lm}_{ab} = lim h^l_a . h^m_b / N`` is not symmetric in layers. It
follows the same equations as that of one input, whose diagonals enter its averages:

    K^{lm}_{ab} = K^0_{ab} + sum_{i <= l, j <= m} rho_i rho_j B^{ij}_{ab}
    P^{lm}_{ab} = P^{LL}_{ab} + sum_{i > l, j > m} rho_i rho_j M^{ij}_{ab} P^{ij}_{ab}

with P the products of gradients. Parameters of different blocks are different parameters, however
their values are correlated, so that the tangent kernel is a sum over one layer index,

    NTK_ab = P^{00}_{ab} K^0_{ab} + sum_l rho_l^2 P^{ll}_{ab} A^l_{ab} + what the read-out adds,

A what the parameters of a block add (`LayerKernel.added`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.codegen.binding import Point, bind
from resexpand.codegen.memory import require_memory
from resexpand.codegen.routine import compile_routine
from resexpand.codegen.schedule import chosen_names
from resexpand.codegen.store import load
from resexpand.codegen.values import QUADRATURE_LIMIT, Values, overflow_problem, relative_difference
from resexpand.errors import HyperparameterError
from resexpand.network.inputs import rows_of
from resexpand.numbers.layer_kernel import (
    RESOLUTIONS,
    evaluate_layer_kernel,
    program,
    require_host,
)
from resexpand.theory.kernel import kernel as kernel_of
from resexpand.theory.layer_kernel import LayerKernel
from resexpand.theory.response import response
from resexpand.theory.tangent_kernel import tangent_kernel

Array = NDArray[np.float64]

OUTPUTS = {
    "kernel": ("K", "K_layers", "C"),
    "pair": ("chi_0", "eta", "eta_layers", "K"),
    "ntk": ("NTK", "NNGP", "K"),
}

RUN = '''
@driver
def run_pair(depth, {rules}numbers, scales, c, start, first, second, kernel, linear, slopes, adds):
    """Fill kernel[l, m] of a pair of inputs, and slopes[l - 1, m - 1] where there is room."""
    for m in range(depth + 1):
        kernel[0, m] = start
    for l in range(1, depth + 1):
        kernel[l, 0] = start
        total = 0.0
        for m in range(1, depth + 1):
            total += scales[m - 1] * covariance({arguments})
            kernel[l, m] = kernel[l - 1, m] + scales[l - 1] * total
        m = l
        linear[l - 1] = pair_linear({arguments})
        if slopes.size:
            adds[l - 1] = added({arguments})
            for m in range(1, depth + 1):
                one, both, other = slope({arguments})
                slopes[l - 1, m - 1] = both
'''


def evaluate_layers(
    theory: LayerKernel,
    *,
    target: str = "cpu",
    outputs: str | Iterable[str] | None = None,
    **hyperparameters: Any,
) -> Values:
    """Evaluate a kernel of two layers, of one input or several; see `resexpand.evaluate`."""
    if theory.inputs == 1 and theory.follows != "ntk":
        return evaluate_layer_kernel(theory, target=target, outputs=outputs, **hyperparameters)
    require_host(theory, target)
    if "others" not in hyperparameters or "inputs" not in hyperparameters:
        return evaluate_layer_inputs(theory, outputs, hyperparameters)
    # Between two sets of inputs: a block of the kernel of all.
    sets = [rows_of(hyperparameters.pop(name), name) for name in ("inputs", "others")]
    if theory.inputs == 1 or sets[0].shape[-1] != sets[1].shape[-1]:
        raise HyperparameterError(
            f"the {theory.title} between two sets of inputs",
            "two sets of inputs of one kind, and inputs=2, are needed",
            "use inputs=2 in kernel() or tangent_kernel()",
        )
    whole = evaluate_layer_inputs(
        theory, outputs, {**hyperparameters, "inputs": np.concatenate(sets, axis=-2)}
    )
    for name in list(whole):
        whole[name] = whole[name][..., : len(sets[0]), len(sets[0]) :]
    return whole


def evaluate_layer_inputs(
    theory: LayerKernel, outputs: str | Iterable[str] | None, hyperparameters: dict[str, Any]
) -> Values:
    """Evaluate a kernel of two layers of several inputs, or a tangent kernel."""
    names = chosen_names(outputs, OUTPUTS[theory.follows], theory.title)
    symbols = {sp.Dummy(p.name): value for p, value in theory.law.pairs}
    bindings = {**dict(theory.bindings), **symbols}
    matrix = theory.inputs == 2
    layers = dict(theory.layer_bindings)
    point = bind(theory.net, bindings, layers, hyperparameters, matrix=matrix)
    size = point.kernel.shape[-1] if matrix else 1
    pairs, points = size**2, int(np.prod(point.grid, dtype=int))
    kept = points if "K_layers" in names else 1
    bytes_needed = 8.0 * pairs * (kept + 2 * (theory.follows != "kernel")) * (point.depth + 2) ** 2
    require_memory(
        f"the {theory.title} at depth {point.depth}", bytes_needed, "take fewer inputs or layers"
    )
    found = program(theory, theory.follows != "kernel", RUN)
    module = load(found.source)
    arrays: dict[str, list[Array]] = {name: [] for name in names}
    error = dict.fromkeys(names, 0.0)
    for place in product(*map(range, point.grid)):
        given = {s: _at(v, place, point.grid) for s, v in point.values.items()}
        runs = [
            _one(theory, point, place, given, symbols, module, found.rules(accuracy))
            for accuracy in RESOLUTIONS[: 1 + bool(found.quadratures)]
        ]
        for name in names:
            arrays[name].append(runs[0][name])
            if len(runs) > 1:
                scale = np.abs(runs[0][name])
                gap = relative_difference(runs[0][name], runs[1][name], scale)
                error[name] = max(error[name], gap)
    shaped = {n: np.array(a).reshape(point.grid + a[0].shape) for n, a in arrays.items()}
    problems = [overflow_problem(name, values, True) for name, values in shaped.items()]
    problems += [
        f"{name} depends on the resolution of its quadrature by {gap:.1e}"
        for name, gap in error.items()
        if gap > QUADRATURE_LIMIT
    ]
    said = tuple(text for text in problems if text)
    quadrature = error if found.quadratures else {}
    return Values(shaped, point.depth, said, quadrature, theory.citations, "cpu", point.notes)


def _at(value: Array, place: tuple[int, ...], grid: tuple[int, ...]) -> float:
    return float(np.broadcast_to(value, grid)[place])


def _one(
    theory: LayerKernel,
    point: Point,
    place: tuple[int, ...],
    given: dict[sp.Symbol, float],
    symbols: dict[sp.Symbol, sp.Expr],
    module: Any,
    rules: list[Array],
) -> dict[str, Array]:
    """Return everything at one point of the grid."""
    scales, start = _scales(theory, point, place, given), _start(theory, point, place)
    count, size = len(scales), len(start)
    c = theory.law.at([given[s] for s in symbols]).covariance(point.depth, further=1)
    c = np.ascontiguousarray(c)
    numbers = np.array([given.get(s, 0.0) for s, _ in theory.bindings])
    follows = theory.follows != "kernel"
    empty, ends = np.zeros((0, 0, 0)), np.zeros((size, count + 1))
    for a in range(size):
        whole, linear = np.zeros((count + 1, count + 1)), np.zeros(count)
        module.run(count, *rules, numbers, scales, c, start[a, a], whole, linear, empty)
        ends[a] = np.diagonal(whole)
    kernel = np.zeros((size, size, count + 1, count + 1))
    linear, adds = np.zeros((2, size, size, count))
    slopes = np.zeros((size, size, count, count) if follows else (size, size, 0, 0))
    for a, b in product(range(size), repeat=2):
        if b < a:
            kernel[a, b], slopes[a, b] = kernel[b, a].T, slopes[b, a].T
            linear[a, b], adds[a, b] = linear[b, a], adds[b, a]
            continue
        own = (ends[a], ends[b], kernel[a, b], linear[a, b], slopes[a, b], adds[a, b])
        module.run_pair(count, *rules, numbers, scales, c, start[a, b], *own)
    layers = np.moveaxis(kernel[:, :, :count, :count], (0, 1), (-2, -1))
    diagonal = np.moveaxis(np.diagonal(layers, axis1=0, axis2=1), -1, 0)
    values = {"K": diagonal, "K_layers": layers, "C": np.moveaxis(linear, -1, 0)}
    if theory.net.read_out is not None and not follows:
        end = _behind(theory, partial(kernel_of, inputs=2), ["C"], diagonal[-1], given)["C"][-1]
        values["C"] = np.concatenate([values["C"][:-1], end[None]])
    if theory.follows == "pair":
        values |= _covariance(theory, diagonal, slopes[:, :, :-1, :-1], scales[:-1], given)
    if theory.follows == "ntk":
        values |= _tangent(theory, values, slopes[:, :, :-1, :-1], adds[..., :-1], scales, given)
    return values if theory.inputs == 2 else {n: v[..., 0, 0] for n, v in values.items()}


def _scales(
    theory: LayerKernel, point: Point, place: tuple[int, ...], given: dict[sp.Symbol, float]
) -> Array:
    """Return the scale of every block, and zero for one more, whose covariance is read."""
    scale = point.layer_values.get(theory.scale)
    if scale is None:
        own = np.full(point.depth, given[theory.scale])
    else:
        own = np.broadcast_to(scale, (*point.grid, point.depth))[place].astype(np.float64)
    return np.append(own, 0.0)


def _start(theory: LayerKernel, point: Point, place: tuple[int, ...]) -> Array:
    """Return the kernel of the inputs at a point of the grid, a matrix."""
    own = point.kernel.shape[-2:] if theory.inputs == 2 else ()
    found: Array = np.broadcast_to(point.kernel, (*point.grid, *own))[place]
    return np.atleast_2d(np.asarray(found, dtype=np.float64))


def _tangent(
    theory: LayerKernel,
    values: dict[str, Array],
    slopes: Array,
    adds: Array,
    scales: Array,
    given: dict[sp.Symbol, float],
) -> dict[str, Array]:
    """Return tangent kernel and covariance of the output."""
    # Of a block of scale zero in front of the read-out nothing arrives but what the read-out does.
    end = _behind(theory, partial(tangent_kernel, inputs=2), None, values["K"][-1], given)
    factor = end["gain"][-1]
    own = np.asarray(end["added_weights"][-1] + end["added_biases"][-1])
    start, total = values["K"][0], own.copy()
    for a, b in np.ndindex(start.shape):
        back = _back(slopes[a, b], scales[:-1])
        blocks = scales[:-1] ** 2 * np.diagonal(back)[1:] * adds[a, b]
        total[a, b] += factor[a, b] * (back[0, 0] * start[a, b] + blocks.sum())
    return {"NTK": total, "NNGP": np.asarray(end["NNGP"])}


def _covariance(
    theory: LayerKernel, kernel: Array, slopes: Array, scales: Array, given: dict[sp.Symbol, float]
) -> dict[str, Array]:
    """Return the response of every pair to its own entry; of two inputs that of the pair alone."""
    growth = np.empty_like(kernel)
    for a, b in np.ndindex(*kernel.shape[1:]):
        # A history from the input on is one from the output on, read backwards.
        reverse = _back(slopes[a, b][::-1, ::-1], scales[::-1])
        growth[:, a, b] = np.diagonal(reverse)[::-1]
    eta = _behind(theory, partial(response, kind="covariance"), ["eta"], kernel, given)["eta"]
    if kernel.shape[-1] == 2:
        growth = growth[:, 0, 1]
    layers = np.broadcast_to(eta, growth.shape) * growth
    return {"chi_0": growth, "eta_layers": layers, "eta": layers[-1]}


def _back(slope: Array, scales: Array) -> Array:
    """Return ``P^{lm} = 1 + sum_{i > l, j > m} rho_i rho_j M^{ij} P^{ij}``, l, m = 0 ... L."""
    depth = len(scales)
    found = np.ones((depth + 1, depth + 1))
    for l in range(depth - 1, -1, -1):  # noqa: E741
        row = scales * slope[l] * found[l + 1, 1:]
        behind = np.append(np.cumsum(row[::-1])[::-1], 0.0)
        found[l] = found[l + 1] + scales[l] * behind
    return found


def _behind(
    theory: LayerKernel,
    derive: Any,
    names: list[str] | None,
    kernel: Array,
    given: dict[sp.Symbol, float],
) -> Any:
    """Return what a theory of independent layers says of a read-out at a kernel."""
    free = theory.net.altered(layers=None, read_in=None).with_scale(0, 1)
    named = {s.name: float(v) for s, v in given.items() if s in free.free_symbols}
    wanted = names or ["gain", "added_weights", "added_biases", "NNGP"]
    return compile_routine(derive(free), "cpu", wanted)(K0=kernel, **named)
