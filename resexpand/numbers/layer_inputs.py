r"""Numbers of the kernel of two layers: of one input, of several, and of the tangent kernel.

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

from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.codegen.accuracy import ROUNDING
from resexpand.codegen.binding import Point, bind
from resexpand.codegen.memory import require_memory
from resexpand.codegen.schedule import chosen_names
from resexpand.codegen.store import load
from resexpand.codegen.track import done
from resexpand.codegen.values import QUADRATURE_LIMIT, Values, overflow_problem, relative_difference
from resexpand.errors import HyperparameterError
from resexpand.gaussian.quadrature import Resolution
from resexpand.network.inputs import rows_of
from resexpand.numbers.layer_kernel import Place, back, behind, forward, of_one_input, program
from resexpand.numbers.request import Request
from resexpand.theory.kernel import kernel as kernel_of
from resexpand.theory.layer_kernel import LayerKernel
from resexpand.theory.response import response
from resexpand.theory.tangent_kernel import tangent_kernel

Array = NDArray[np.float64]

RESOLUTIONS: tuple[Resolution, ...] = ("fine", "coarse")

RESPONSES = ("chi_0", "eta", "eta_layers", "K")
OUTPUTS = {
    "kernel": ("K", "K_layers", "C"),
    "gradient": ("gradient", "K"),
    "ntk": ("NTK", "NNGP", "K"),
}
"""Outputs of what is followed; of the others `RESPONSES`."""

READ_OUT = ["gain", "added_weights", "added_biases", "NNGP"]
"""Of a tangent kernel of independent layers: what a read-out adds."""

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


def evaluate_layers(theory: LayerKernel, asked: Request) -> Values:
    """Evaluate a kernel of two layers, of one input or several; see `resexpand.evaluate`."""
    why = "its loop over the history is compiled for the CPU"
    asked.require_host(f"the {theory.title}", why)
    if "others" in asked.given and "inputs" in asked.given:
        return _between(theory, asked)
    names = chosen_names(asked.outputs, OUTPUTS.get(theory.follows, RESPONSES), theory.title)
    symbols = {sp.Dummy(p.name): value for p, value in theory.law.pairs}
    bindings, layers = {**dict(theory.bindings), **symbols}, dict(theory.layer_bindings)
    point = bind(theory.net, bindings, layers, asked.given, matrix=theory.inputs == 2)
    _require_memory(theory, point, names)
    single = theory.inputs == 1 and theory.follows != "ntk"
    text = program(theory, theory.follows != "kernel", "" if single else RUN)
    compute, module = of_one_input if single else _of_pairs, load(text.source)
    arrays: dict[str, list[Array]] = {name: [] for name in names}
    error = dict.fromkeys(names, 0.0)
    count = int(np.prod(point.grid, dtype=int))
    for k, index in enumerate(product(*map(range, point.grid))):
        at = _place(theory, point, index, symbols)
        runs = [
            compute(theory, at, module, text.rules(accuracy), names)
            for accuracy in RESOLUTIONS[: 1 + bool(text.quadratures)]
        ]
        for name in names:
            arrays[name].append(runs[0][name])
            if len(runs) > 1:
                gap = relative_difference(runs[0][name], runs[1][name], np.abs(runs[0][name]))
                error[name] = max(error[name], gap + ROUNDING * (point.depth + 1))
        done(k + 1, count)
    shaped = {n: np.array(a).reshape(point.grid + a[0].shape) for n, a in arrays.items()}
    problems = [overflow_problem(n, a, n != "eta") for n, a in shaped.items()]
    problems += [
        f"{name} depends on the resolution of its quadrature by {gap:.1e}"
        for name, gap in error.items()
        if gap > QUADRATURE_LIMIT
    ]
    said = tuple(text for text in problems if text)
    quadrature = error if text.quadratures else {}
    return Values(shaped, point.depth, said, quadrature, theory.citations, "cpu", point.notes)


def _between(theory: LayerKernel, asked: Request) -> Values:
    """Evaluate between two sets of inputs: a block of the kernel of all."""
    given = dict(asked.given)
    sets = [rows_of(given.pop(name), name) for name in ("inputs", "others")]
    if theory.inputs == 1 or sets[0].shape[-1] != sets[1].shape[-1]:
        raise HyperparameterError(
            f"the {theory.title} between two sets of inputs",
            "two sets of inputs of one kind, and inputs=2, are needed",
            "use inputs=2 in kernel() or tangent_kernel()",
        )
    given["inputs"] = np.concatenate(sets, axis=-2)
    whole = evaluate_layers(theory, replace(asked, given=given))
    for name in list(whole):
        whole[name] = whole[name][..., : len(sets[0]), len(sets[0]) :]
    return whole


def _require_memory(theory: LayerKernel, point: Point, names: tuple[str, ...]) -> None:
    pairs = point.kernel.shape[-1] ** 2 if theory.inputs == 2 else 1
    kept = int(np.prod(point.grid, dtype=int)) if "K_layers" in names else 0
    matrices = 3 + 3 * (theory.follows != "kernel") + kept
    require_memory(
        f"the {theory.title} at depth {point.depth}",
        8.0 * pairs * matrices * (point.depth + 1) ** 2,
        'take fewer inputs, points or layers; outputs=["K"] keeps the diagonal alone',
    )


def _place(
    theory: LayerKernel, point: Point, index: tuple[int, ...], symbols: dict[sp.Symbol, sp.Expr]
) -> Place:
    """Return the numbers at a point of the grid."""
    given = {s: float(np.broadcast_to(v, point.grid)[index]) for s, v in point.values.items()}
    scales = point.layer_values.get(theory.scale)
    if scales is None:
        own = np.full(point.depth, given[theory.scale])
    else:
        own = np.broadcast_to(scales, (*point.grid, point.depth))[index].astype(np.float64)
    c = theory.law.at([given[s] for s in symbols]).covariance(point.depth, further=1)
    size = point.kernel.shape[-2:] if theory.inputs == 2 else ()
    start = np.atleast_2d(np.broadcast_to(point.kernel, (*point.grid, *size))[index])
    return Place(given, np.append(own, 0.0), np.ascontiguousarray(c), start)


def _of_pairs(
    theory: LayerKernel, at: Place, module: Any, rules: list[Array], names: tuple[str, ...]
) -> dict[str, Array]:
    """Return everything of all pairs of inputs at a point of the grid."""
    count, size = len(at.scales), len(at.start)
    given = (*rules, at.numbers(theory), at.scales, at.c)
    follows = theory.follows != "kernel"
    empty, ends = np.zeros((0, 0, 0)), np.zeros((size, count + 1))
    for a in range(size):
        whole, linear = np.zeros((count + 1, count + 1)), np.zeros(count)
        module.run(count, *given, at.start[a, a], whole, linear, empty)
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
        module.run_pair(count, *given, at.start[a, b], *own)
    layers = np.moveaxis(kernel[:, :, :count, :count], (0, 1), (-2, -1))
    diagonal = np.moveaxis(np.diagonal(layers, axis1=0, axis2=1), -1, 0)
    values = {"K": diagonal, "K_layers": layers, "C": np.moveaxis(linear, -1, 0)}
    if theory.net.read_out is not None and not follows:
        end = behind(theory, partial(kernel_of, inputs=2), ["C"], diagonal[-1], at.given)["C"][-1]
        values["C"] = np.concatenate([values["C"][:-1], end[None]])
    if theory.follows == "pair":
        values |= _covariance(theory, diagonal, slopes[:, :, :-1, :-1], at)
    if theory.follows == "ntk":
        values |= _tangent(theory, diagonal, slopes[:, :, :-1, :-1], adds, at)
    return values if theory.inputs == 2 else {n: v[..., 0, 0] for n, v in values.items()}


def _tangent(
    theory: LayerKernel, kernel: Array, slopes: Array, adds: Array, at: Place
) -> dict[str, Array]:
    """Return tangent kernel and covariance of the output."""
    # Of a block of scale zero in front of the read-out nothing arrives but what the read-out does.
    end = behind(theory, partial(tangent_kernel, inputs=2), READ_OUT, kernel[-1], at.given)
    factor, scales = end["gain"][-1], at.scales[:-1]
    total = np.asarray(end["added_weights"][-1] + end["added_biases"][-1])
    for a, b in np.ndindex(at.start.shape):
        passed = back(slopes[a, b], scales)
        blocks = scales**2 * np.diagonal(passed)[1:] * adds[a, b, :-1]
        total[a, b] += factor[a, b] * (passed[0, 0] * kernel[0, a, b] + blocks.sum())
    return {"NTK": total, "NNGP": np.asarray(end["NNGP"])}


def _covariance(theory: LayerKernel, kernel: Array, slopes: Array, at: Place) -> dict[str, Array]:
    """Return the response of every pair to its own entry; of two inputs that of the pair alone."""
    growth = np.empty_like(kernel)
    for a, b in np.ndindex(*kernel.shape[1:]):
        growth[:, a, b] = forward(slopes[a, b], at.scales[:-1])
    derive = partial(response, kind="covariance")
    eta = behind(theory, derive, ["eta"], kernel, at.given)["eta"]
    if kernel.shape[-1] == 2:
        growth = growth[:, 0, 1]
    layers = np.broadcast_to(eta, growth.shape) * growth
    return {"chi_0": growth, "eta_layers": layers, "eta": layers[-1]}
