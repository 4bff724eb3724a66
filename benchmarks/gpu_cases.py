"""Cases that must agree on both targets: every routine and every observable, by name.

A case is a text, so that another process can build it again:

    one input | erf        kernel and response of one input, hyperparameters over a grid
    dense | ntk            an observable of sampled networks, the same seed on both targets

Registries are walked, not lists: what is registered tomorrow is compared tomorrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    evaluate,
    one_loop,
    optimal_scale,
    order_profile,
    response,
    sample,
)
from resexpand.activations import ACTIVATIONS
from resexpand.montecarlo.observables.registry import FAMILIES, OBSERVABLES

Arrays = Mapping[str, NDArray[Any]]
SEED = 7
RHO, WEIGHT, BIAS = sp.symbols("rho sigma_w2 sigma_b2")


@dataclass(frozen=True)
class Sizes:
    """How large the cases are: those of real work, or tiny ones for the simulator."""

    points: int
    depth: int
    width: int
    dense_width: int
    layers: int
    draws: int


REAL = Sizes(points=20000, depth=50, width=1024, dense_width=512, layers=8, draws=64)
TINY = Sizes(points=3, depth=2, width=8, dense_width=8, layers=2, draws=3)


def _net(activation: str, depth: int) -> ResNet:
    return ResNet(Branch(Activation(activation), Linear(WEIGHT, BIAS)), scale=RHO, depth=depth)


ROUTINES = {
    "one input": response,
    "pair of inputs": lambda net: response(net, kind="covariance"),
    "tangent": lambda net: response(net, kind="tangent"),
    "optimal scale": optimal_scale,
    "order 1/N": one_loop,
    "order 1/N of a pair": lambda net: one_loop(net, inputs=2),
    "orders of the scale": lambda net: order_profile(net, 3),
    "degrees in the weights": lambda net: order_profile(net, 3, "chaos"),
    "path lengths": lambda net: order_profile(net, 3, "paths"),
}
PAIRS = ("pair of inputs", "order 1/N of a pair")
FEWER = {"pair of inputs": 10, "degrees in the weights": 10, "order 1/N": 50, PAIRS[1]: 500}
"""Where a point takes long on the CPU: averages over two variables, matrices over layers."""
WIDELY = ("one input", "pair of inputs", "tangent")
"""Compared for every activation; the others for one of each family."""
FAMILY = ("erf_unit", "relu", "tanh")

METHODS = ("function-space", "dense")
LAWS = ("uniform", "rademacher", "orthogonal")


def routine_cases(every: bool) -> list[str]:
    """Return the names of the cases of routines."""
    if not every:
        return ["one input | relu"]
    names = [f"{what} | {name}" for what in WIDELY for name in ACTIVATIONS]
    return names + [f"{what} | {n}" for what in ROUTINES if what not in WIDELY for n in FAMILY]


def sampler_cases(every: bool) -> list[str]:
    """Return the names of the cases of samplers."""
    if not every:
        return ["dense | kernel"]
    observables = [*OBSERVABLES, *(f"{name}(2)" for name in FAMILIES)]
    names = [f"{method} | {observable}" for method in METHODS for observable in observables]
    names += [f"dense | kernel | {law}" for law in LAWS]
    return [*names, "function-space | kernel | twin"]


def routine(case: str, sizes: Sizes, **how: Any) -> Arrays:
    """Return all outputs of a routine; hyperparameters differ from point to point."""
    what, activation = case.split(" | ")
    rng = np.random.default_rng(SEED)
    points = sizes.points // FEWER.get(what, 1) + 1
    rho, weight = rng.uniform(0.05, 0.4, points), rng.uniform(0.5, 2.0, points)
    bias, first, second = (rng.uniform(*ends, points) for ends in ((0, 0.2), (0.2, 2), (0.2, 2)))
    K0: Any = first
    if what in PAIRS:
        cross = rng.uniform(-0.9, 0.9, points) * np.sqrt(first * second)
        K0 = np.stack([first, cross, cross, second], axis=-1).reshape(points, 2, 2)
    given = {"rho": rho, "sigma_w2": weight, "sigma_b2": bias, "K0": K0}
    if what == "optimal scale":
        del given["rho"]
    return evaluate(ROUTINES[what](_net(activation, sizes.depth)), **given, **how)


def networks(case: str, sizes: Sizes, **how: Any) -> Arrays:
    """Return mean and standard error of an observable over the same networks."""
    method, observable, *law = case.split(" | ")
    known = OBSERVABLES.get(observable) or FAMILIES[observable.partition("(")[0]](2)
    inputs = known.inputs or (1 if "(" in observable else 2)
    activation = "relu" if observable.startswith("path") else "tanh"
    branch = Branch(Activation(activation), Linear(1.5, 0.1))
    ending = branch.followed_by(Linear(1.0, 0.1))
    net = ResNet(branch, scale=0.4, depth=sizes.layers, read_out=ending)
    more: dict[str, Any] = {"weights": law[0]} if law and law != ["twin"] else {}
    if law == ["twin"]:
        more["control"] = "infinite-width"
    estimate = sample(
        net,
        observable,
        sizes.dense_width if method == "dense" else sizes.width,
        sizes.draws,
        K0=0.8 if inputs == 1 else [[0.8, 0.3], [0.3, 1.1]],
        method=method,
        seed=SEED,
        workers=1,
        progress=False,
        **more,
        **how,
    )[known.name]
    return {"mean": estimate.mean, "stderr": estimate.stderr}


def difference(found: Any, expected: Any) -> float:
    """Return the largest relative difference; infinite where shapes or missing numbers differ.

    Relative to the expected entry, or, for entries that nearly cancel, to a thousandth of the
    largest one.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return float("inf")
    if expected.dtype.kind not in "fiu":
        return 0.0 if np.array_equal(found, expected) else float("inf")
    finite = np.isfinite(expected)
    if not np.array_equal(found[~finite], expected[~finite], equal_nan=True):
        return float("inf")
    if not finite.any():
        return 0.0
    found, expected = found[finite].astype(float), expected[finite].astype(float)
    size = np.maximum(np.abs(expected), 1e-3 * np.abs(expected).max())
    size[size == 0.0] = 1.0
    gap = float((np.abs(found - expected) / size).max())
    return gap if np.isfinite(gap) else float("inf")
