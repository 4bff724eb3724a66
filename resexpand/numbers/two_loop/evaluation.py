"""`evaluate_two_loop`: means to order 1/N^2, point by point of a grid."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.codegen.exponentials import stable_exponentials
from resexpand.codegen.schedule import chosen_names
from resexpand.codegen.source import module_source, scalar_function
from resexpand.codegen.store import load
from resexpand.codegen.values import Values
from resexpand.errors import UnsupportedError
from resexpand.numbers.one_loop.evaluation import width_of
from resexpand.numbers.one_loop.points import prepared
from resexpand.numbers.one_loop.tables import Tables
from resexpand.numbers.two_loop.closure import Means, layer_of
from resexpand.numbers.two_loop.jets import wanted
from resexpand.theory.two_loop import TwoLoop

Array = NDArray[np.float64]

COUNTS = (48, 64)
"""Numbers of polynomials; their difference is the error, and the larger one counts."""

CONVERGED = 0.02
"""Relative error of the order 1/N^2 above which it is flagged."""

LOOP = '''@driver
def derivatives(x, out):
    """Rows of out: the square of the activation and three derivatives."""
    for i in range(x.size):
        out[0, i], out[1, i], out[2, i], out[3, i] = derivative(x[i])
'''


def evaluate_two_loop(
    theory: TwoLoop,
    *,
    target: str = "cpu",
    outputs: str | Iterable[str] | None = None,
    **hyperparameters: Any,
) -> Values:
    """Evaluate means to order 1/N^2; see `resexpand.two_loop` for the arrays.

    Parameters
    ----------
    theory : TwoLoop
        From `two_loop`.
    target : str
        ``"cpu"`` or ``"auto"``.
    outputs : str or iterable of str, optional
        Names of the arrays that are returned; all by default.
    **hyperparameters
        As for `resexpand.evaluate`, and ``width``, one integer.

    Raises
    ------
    HyperparameterError, KernelError
        If the hyperparameters do not fit the network.
    UnsupportedError
        If an average does not exist, or for another target.
    """
    if target not in ("cpu", "auto"):
        raise UnsupportedError(
            f"the order 1/N^2 on target {target!r}", "it runs on the host", "use target='cpu'"
        )
    given = dict(hyperparameters)
    width = width_of(given)
    made = prepared(theory.one_loop, given)
    point = made.point
    law = theory.one_loop.process.draws[0].law
    rows, error = [], 0.0
    for tables in made.batches:
        for number in range(tables.scales.shape[0]):
            coarse, fine = (_orders(tables, number, law, count) for count in COUNTS)
            sizes = np.abs(fine).max(axis=-1, keepdims=True)
            missed = np.abs(fine - coarse)[3:]
            error = max(error, float(np.max(missed / np.where(sizes > 0, sizes, 1)[3:])))
            rows.append(fine)
    names = ("K", "C", "C_mean", "C_mean_2", "K_mean", "K_mean_2")
    whole = np.array(rows).reshape((*point.grid, len(names), -1))
    found = {name: whole[..., k, :][()] for k, name in enumerate(names)}
    if width is not None:
        for name in ("K", "C"):
            shifts = found[f"{name}_mean"] / width + found[f"{name}_mean_2"] / width**2
            found[f"{name}_width"] = found[name] + shifts
        found["neglected"] = np.abs(found["C_mean_2"]) / width**2 / found["C"]
    chosen = chosen_names(outputs, list(found), "means to order 1/N^2")
    problems: tuple[str, ...] = ()
    if error > CONVERGED:
        problems = (f"the order 1/N^2 did not converge: its relative error is about {error:.1g}",)
    second = [name for name in chosen if name.endswith("_2")]
    values = Values(
        {name: found[name] for name in chosen},
        point.depth,
        problems,
        dict.fromkeys(second, error) if error else {},
        theory.citations,
        notes=point.notes,
    )
    values.width = width
    return values


def _orders(tables: Tables, number: int, law: ActivationLaw | None, count: int) -> Array:
    """Return K, C, and their coefficients of both orders at one point, ``(6, B)``."""
    site, means = tables.sites[0], Means(count)
    found = np.zeros((6, tables.scales.shape[1]))
    for block in range(found.shape[1]):
        read = float(site.raw[number, block, 0, 0])
        slope = float(site.maps["slope"][number, block, 0])
        weight, bias = float(site.weights[number, block]), float(site.biases[number, block])
        scale = float(tables.scales[number, block])
        layer, gram = layer_of(partial(_scaled, law, slope), count, read, weight, bias, scale)
        first, alone, both = (gram * means.average(w, layer) for w in wanted())
        found[:4, block] = read, gram, first, alone + both / 2
        if block + 1 < found.shape[1]:
            found[4:, block + 1] = found[4:, block] + scale * found[2:4, block]
            means.step(layer, float(np.sqrt(read / (read + scale * gram))))
    return found


def _scaled(law: ActivationLaw | None, slope: float, x: Array) -> Array:
    """Return the square of an activation of ``slope x``, and its derivatives by x."""
    if law is None:
        rows = np.array([x * x, 2 * x, np.full_like(x, 2.0), np.zeros_like(x)])
        return np.asarray(slope**2 * rows)
    out = np.empty((4, x.size))
    load(_source(law)).derivatives(np.ascontiguousarray(slope * x), out)
    return np.asarray(out * slope ** np.arange(4.0)[:, None])


@cache
def _source(law: ActivationLaw) -> str:
    """Return the text of the module with the routine ``derivatives``."""
    phi = [law.expression, *(law.derivative(n) for n in (1, 2, 3))]
    squares = (
        phi[0] ** 2,
        2 * phi[0] * phi[1],
        2 * phi[1] ** 2 + 2 * phi[0] * phi[2],
        6 * phi[1] * phi[2] + 2 * phi[0] * phi[3],
    )
    stable = [stable_exponentials(each, (X,)) for each in squares]
    return module_source([scalar_function("derivative", [X], stable), LOOP])
