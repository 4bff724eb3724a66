"""Kernels of stochastic depth for any activation: all coin strings, one by one.

Given the coins of its blocks, a network has the kernel of one whose residual scales are multiplied
by what the coins say: ``rho_l b_l / survival_l``. Mean and variance over the ``2^L`` strings are
then exact at infinite width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.network.operation import Operation, X
from resexpand.network.requirements import require_network
from resexpand.network.resnet import Branch, ResNet
from resexpand.network.values import read_values, value_of
from resexpand.numbers.evaluation import evaluate
from resexpand.theory.kernel import kernel
from resexpand.theory.noise import outcomes

Array = NDArray[np.float64]
MOST_STRINGS = 2**16


@dataclass(frozen=True)
class CoinAverage:
    """Moments of the kernel over the coins, exact up to O(1/N).

    Attributes
    ----------
    K, K_var : ndarray, shape (L+1,) or (L+1, D, D)
        Mean and variance of the kernel, entry by entry.
    strings : int
        Number of coin strings with a positive probability.
    """

    K: Array
    K_var: Array
    strings: int


def coin_average(net: ResNet, *, K0: Any, **hyperparameters: Any) -> CoinAverage:
    """Return mean and variance of the kernel of a network with stochastic depth.

    Parameters
    ----------
    net : ResNet
        Coins stand behind the last `Linear` of a branch; any activation.
    K0 : float or array_like, shape (D, D)
        Kernel at layer 0.
    **hyperparameters : float
        One value per symbol of the network.

    Returns
    -------
    CoinAverage
        Mean and variance of the kernel by layer, normalised by the width.

    Raises
    ------
    HyperparameterError
        If there are more than 2^16 strings, or values are missing.
    UnsupportedError
        If coins stand elsewhere, or several inputs have coins of their own (`DropPath`).

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, StochasticDepth, coin_average
    >>> branch = Branch(Activation("relu"), Linear(2, 0), StochasticDepth(0.5))
    >>> coin_average(ResNet(branch, scale=1, depth=2), K0=1.0).K
    array([1., 3., 9.])
    """
    require_network(net, "the average over coins")
    given = read_values(net, hyperparameters, net.free_symbols)
    if not net.depth.is_Integer:
        raise HyperparameterError(
            f"coins at depth {net.depth}", "there is one per block", "give the depth as a number"
        )
    depth = int(net.depth)
    matrix = np.ndim(K0) > 0
    sides = [_split(net.block(number + 1), single=not matrix) for number in range(depth)]
    tables = [
        [(float(value_of(f, given)), float(value_of(p, given))) for f, p in _factors(coins)]
        for _, coins in sides
    ]
    tables = [[(f, p) for f, p in table if p > 0] for table in tables]
    count = int(np.prod([len(table) for table in tables], dtype=float))
    if count > MOST_STRINGS:
        raise HyperparameterError(
            f"the average over {count} strings of coins",
            f"at most {MOST_STRINGS} are enumerated",
            "use fewer blocks, or sample()",
        )
    strings = np.array(list(product(*tables))).reshape(count, depth, 2)
    factors, chances = strings[..., 0], strings[..., 1].prod(axis=1)
    free = "switch_"
    while any(symbol.name.startswith(free) for symbol in net.free_symbols):
        free += "_"
    switches = tuple(sp.Symbol(f"{free}{number + 1}", real=True) for number in range(depth))
    scales = net.scales(depth)
    given_coins = net.altered(
        branches=tuple(branch for branch, _ in sides),
        scale=tuple(rho * b for rho, b in zip(scales, switches, strict=True)),
    )
    at: dict[str, Any] = {b.name: factors[:, number] for number, b in enumerate(switches)}
    recursion = kernel(given_coins, 2 if matrix else 1)
    found = evaluate(recursion, outputs="K", K0=K0, **(at | hyperparameters))["K"]
    mean = np.tensordot(chances, found, 1)
    return CoinAverage(mean, np.tensordot(chances, (found - mean) ** 2, 1), count)


def _split(branch: Branch, *, single: bool) -> tuple[Branch, tuple[Operation, ...]]:
    """Return a branch without what multiplies its result by numbers and coins, and that."""
    ending: list[Any] = []
    for step in reversed(branch.steps):
        if step.contracts or step.op.averages or step.op.masks_neurons or _factor(step.op) is None:
            break
        ending.insert(0, step.op)
    kept = branch.ops[: len(branch.ops) - len(ending)]
    stray = [op for op in kept for noise in getattr(op, "noise", ()) if noise.over == "block"]
    own = [op for op in ending if not single and any(not noise.shared for noise in op.noise)]
    for op in (*stray, *own):
        raise UnsupportedError(
            f"the average over the coins of {op!r}",
            "every input has coins of its own" if own else "it does not close its branch",
            "use StochasticDepth behind the last Linear, or sample()",
        )
    return Branch(*kept), tuple(ending)


def _factor(op: Any) -> sp.Expr | None:
    """Return what an operation multiplies by; None if it does anything else."""
    values = zip((p.symbol for p in op.parameters), op.values, strict=True)
    factor = sp.cancel(op.expression.xreplace(dict(values)) / X)
    return None if factor.has(X) else factor


def _factors(ops: Sequence[Any]) -> list[tuple[sp.Expr, sp.Expr]]:
    """Return what some operations multiply by for every outcome of their coins, and its chance."""
    total = [(sp.Integer(1), sp.Integer(1))]
    for op in ops:
        values = dict(zip((p.symbol for p in op.parameters), op.values, strict=True))
        drawn = [(at, p.xreplace(values)) for at, p in outcomes(op.noise)]
        factor = _factor(op) or sp.Integer(0)
        total = [(f * factor.xreplace(at), q * p) for f, q in total for at, p in drawn]
    return total
