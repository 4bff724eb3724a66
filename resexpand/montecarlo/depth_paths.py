r"""Networks and their limit of infinite depth, path by path.

    dX = (c sigma_w / sqrt(N)) dB phi(X) + c sigma_b dbeta

is the limit of ``h^l = h^{l-1} + (c / sqrt(L)) (W^l phi(h^{l-1}) + b^l)``, and the network of depth
n is its Euler-Maruyama scheme with n steps. Networks of depths that divide n take the sums of
neighbouring increments as their weights (`resexpand.montecarlo.source.paths`), so that

    distance(L) = E |h_L - h_n|^2 / N  ->  path_error (1/L - 1/n)

can be measured without the noise of two ensembles; `DepthSolution.path_error` is the constant at
infinite width. The network of depth n is the one that `sample` draws with the same seed.

Weights that are smooth in the depth have an ordinary differential equation instead, at a distance
of order ``1 / L^2`` (`resexpand.montecarlo.smooth_paths`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.codegen.store import load
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.expressions.shown import Fielded
from resexpand.montecarlo.concrete import concrete
from resexpand.montecarlo.groups.layout import Layout
from resexpand.montecarlo.loops.columns import padded
from resexpand.montecarlo.loops.function_space import workspace
from resexpand.montecarlo.random.philox import split_seed
from resexpand.montecarlo.smooth_paths import draw_smooth, smooth_grid
from resexpand.montecarlo.source.paths import path_source
from resexpand.network.numbers import real_array, whole_number
from resexpand.numbers.depth_limit import require_independent_limit
from resexpand.progress import Progress, reporting
from resexpand.theory.depth_limit import DepthLimit
from resexpand.theory.smooth_limit import SmoothLimit

Array = NDArray[np.float64]

FINER = 4
"""Steps of the limit, at least, for each block of the deepest network."""

LARGEST_COUNT = 2**31
GROUPS = 20
"""Parts of the draws that are left out in turn for the error of the exponent."""


@dataclass(frozen=True, repr=False)
class DepthPaths(Fielded):
    """Distances of networks from their limit of infinite depth.

    Attributes
    ----------
    depths : tuple of int
        L, increasing.
    steps : int
        Steps n of the limit.
    distance, distance_error : ndarray, shape (len(depths),)
        ``E |h_L - h_n|^2 / N`` and its standard error.
    kernel, kernel_error : ndarray, shape (len(depths) + 1,)
        ``E |h|^2 / N`` of every depth, and of the limit behind them.
    constant, constant_error : ndarray, shape (len(depths),)
        ``distance / share**order`` with the share ``1/L - 1/n``, and ``1/L`` of smooth weights.
    exponent, exponent_error : float
        Of the power of that share that fits the distances best, and its standard error by leaving
        out parts of the draws.
    order : int
        What theory says of it: 1, and 2 of smooth weights.
    draws : int
    """

    depths: tuple[int, ...]
    steps: int
    distance: Array
    distance_error: Array
    kernel: Array
    kernel_error: Array
    constant: Array
    constant_error: Array
    exponent: float
    exponent_error: float
    order: int
    draws: int


def depth_paths(
    limit: DepthLimit | SmoothLimit,
    *,
    K0: float,
    width: int,
    depths: Sequence[int],
    draws: int,
    steps: int | None = None,
    seed: int = 0,
    progress: Progress = None,
    **hyperparameters: float,
) -> DepthPaths:
    """Draw networks of several depths, and their limit, with common weights.

    Parameters
    ----------
    limit : DepthLimit or SmoothLimit
        From `depth_limit`: of a branch with one `Linear`, or of smooth weights and any branch.
    K0 : float
        Kernel at layer 0.
    width : int
        Neurons N.
    depths : sequence of int
        At least two, increasing.
    draws : int
        Number of networks, at least `GROUPS`.
    steps : int, optional
        Steps of the limit: a multiple of all depths, by default the first from four times the
        deepest on.
    seed : int
        Ensemble, as in `sample`.
    progress : callable or bool, optional
        As in `sample`.
    **hyperparameters : float
        One number per symbol of the network but the depth, by name.

    Returns
    -------
    DepthPaths

    Raises
    ------
    HyperparameterError
        If depths or steps do not fit together, or numbers are missing.
    UnsupportedError
        If the branch has several linear operations.
    """
    smooth = isinstance(limit, SmoothLimit)
    if not smooth:
        require_independent_limit(limit, "paths")
    branch = limit.net.branch
    if not smooth and sum(op.contracts for op in branch.ops) != 1:
        raise UnsupportedError(
            f"paths of {branch!r} at infinite depth",
            "weights inside the branch are averaged over within any step: networks of two depths "
            "have no Brownian motion in common",
            "compare laws: sample_depth_limit(), limit.log_mean, sample(); or take one Linear",
        )
    listed, grid = _grid(depths, steps)
    count = len(listed) + 1
    draws = whole_number(draws, "draws", GROUPS, LARGEST_COUNT)
    least, said = (1, "") if smooth else (count, f" ({count} depths are drawn)")
    width = whole_number(width, "width", least, LARGEST_COUNT, said)
    seed = whole_number(seed, "seed", 0, 2**64)
    start = float(real_array(K0, "K0"))
    if isinstance(limit, SmoothLimit):
        places = smooth_grid(limit, listed, grid, hyperparameters)
        squares = np.zeros((2, draws, count))
        with reporting(progress) as done:
            for n in range(draws):
                ends = draw_smooth(limit, places, split_seed(seed), n, start, width)
                squares[:, n] = (ends**2).mean(axis=1), ((ends - ends[0]) ** 2).mean(axis=1)
                done(n + 1, draws)
        return _read(listed, grid, squares[0], squares[1][:, 1:], 2)
    net = limit.net.altered(scale=limit.constant / sp.sqrt(grid), depth=sp.Integer(grid))
    numbers = concrete(net, hyperparameters)
    draw = load(path_source(branch, count)).draw_paths
    length = padded(width + 1)
    rows, size = workspace(count, length)
    stream, h, x, y = (np.zeros((count, length)) for _ in range(4))
    every = np.array([1, *(grid // depth for depth in listed)], dtype=np.int64)
    matrix = np.zeros((2, count))
    matrix[0] = math.sqrt(start)
    kernels, distances = np.zeros((2, draws, count))
    given = (*split_seed(seed), matrix, width, grid, numbers.scales[0], every)
    arrays = (Layout.of(count, []).added_to, np.array(numbers.laws), stream, h, x, y)
    scratch, part = np.zeros((rows, size)), -(-draws // GROUPS)
    with reporting(progress) as done:
        for first in range(0, draws, part):
            own = slice(first, min(first + part, draws))
            out = kernels[own], distances[own]
            draw(first, own.stop - first, *given, *arrays, scratch, *out)
            done(own.stop, draws)
    return _read(listed, grid, kernels, distances[:, 1:], 1)


def _grid(depths: Sequence[int], steps: int | None) -> tuple[tuple[int, ...], int]:
    """Return depths and steps that fit together."""
    listed = tuple(whole_number(depth, "depth", 1, LARGEST_COUNT) for depth in depths)
    if len(listed) < 2 or (np.diff(listed) <= 0).any():
        raise HyperparameterError(
            f"depths {list(depths)}", "a rate needs two or more that increase", "give them"
        )
    common = math.lcm(*listed)
    grid = -(-FINER * listed[-1] // common) * common if steps is None else steps
    grid = whole_number(grid, "steps", 2 * listed[-1], LARGEST_COUNT)
    if grid % common:
        raise HyperparameterError(
            f"{grid} steps for depths {list(listed)}",
            "every depth must divide them",
            f"give a multiple of {common}",
        )
    return listed, grid


def _read(
    depths: tuple[int, ...], steps: int, kernels: Array, distances: Array, order: int
) -> DepthPaths:
    draws = len(kernels)
    behind = [*range(1, len(depths) + 1), 0]
    # The limit of smooth weights is solved to order 1/n^2, that of a path of noise to 1/n.
    share = 1 / np.array(depths) - (1 / steps if order == 1 else 0.0)
    mean, error = _mean(distances)
    kernel, kernel_error = _mean(kernels[:, behind])
    kept = [np.delete(distances, range(g, draws, GROUPS), axis=0) for g in range(GROUPS)]
    slopes = np.array([_slope(share, rows.mean(axis=0)) for rows in kept])
    spread = math.sqrt((GROUPS - 1) / GROUPS * ((slopes - slopes.mean()) ** 2).sum())
    return DepthPaths(
        depths,
        steps,
        mean,
        error,
        kernel,
        kernel_error,
        mean / share**order,
        error / share**order,
        _slope(share, mean),
        spread,
        order,
        draws,
    )


def _mean(rows: Array) -> tuple[Array, Array]:
    return rows.mean(axis=0), rows.std(axis=0, ddof=1) / math.sqrt(len(rows))


def _slope(share: Array, values: Array) -> float:
    with np.errstate(divide="ignore"):
        x, y = np.log(share), np.log(values)
    x = x - x.mean()
    return float(x @ y / (x @ x))
