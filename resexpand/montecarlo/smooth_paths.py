r"""Networks with weights that are smooth in the depth, and the random ordinary equation they have.

    dH/dt = c F_t(H),       F_t the branch with the weights W(t) of N x N entries,

solved for one draw of the weights by the midpoint rule on a grid of n steps, with an error of order
1/n^2. A network of depth L has the same weights at its own places (`LayerLaw.thinned`): the last of
every n/L, or the normalised sum of n/L increments. It is the scheme of Euler, at a distance from
the limit of order 1/L path by path, so that

    distance(L) = E |h_L - H|^2 / N  ~  1 / L^2.

Weights are written as ``W(t) = sum_k e_k(t) A_k`` with a few dozen independent matrices A_k, whose
entries come from counters.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.activations.activation_law import X
from resexpand.errors import UnsupportedError
from resexpand.expressions.numeric import value_at
from resexpand.montecarlo.concrete import concrete
from resexpand.montecarlo.random.normals import fill_normals
from resexpand.montecarlo.random.streams import DENSE_FIRST, stream_word
from resexpand.montecarlo.weights.layer_factor import layer_factor
from resexpand.network.requirements import require_laws
from resexpand.network.steps import Step
from resexpand.theory.smooth_limit import SmoothLimit

Array = NDArray[np.float64]

BASIS_LAYER = 0
"""Weights belong to no layer: their matrices stand where layer 0 has none."""


class Grid(NamedTuple):
    """Numbers of a network on a grid: steps, c, and the weights' factors of every depth.

    The factors of depth L have a row per block; those of the limit one per middle of a step.
    """

    constant: float
    laws: tuple[tuple[float, ...], ...]
    limit: Array
    factors: tuple[Array, ...]


def smooth_grid(
    limit: SmoothLimit, depths: tuple[int, ...], steps: int, given: dict[str, Any]
) -> Grid:
    """Return the numbers of networks of several depths, and of their limit."""
    require_laws(limit.net.branch.steps, "paths of smooth weights")
    whole = limit.net.altered(scale=limit.constant, depth=sp.Integer(1))
    numbers = concrete(whole, given)
    law = numbers.layers
    if law is None:
        raise TypeError("smooth weights have a law")
    factor = layer_factor(law.covariance(steps, further=1))
    rows = [law.middles(steps), *(law.thinned(steps, depth) for depth in depths)]
    if any(row is None for row in rows):
        raise UnsupportedError(
            f"paths of layers={law!r}", "no rule thins them out", "use layers=Smooth(...)"
        )
    middles, *thin = (np.asarray(row) @ factor for row in rows)
    return Grid(numbers.scales[0], numbers.laws, middles, tuple(thin))


def draw_smooth(
    limit: SmoothLimit, grid: Grid, key: tuple[Any, Any], draw: int, start: float, width: int
) -> Array:
    """Return the streams of the limit, and of every depth, of one draw: shape (1 + depths, N)."""
    steps = limit.net.branch.steps
    rank = grid.limit.shape[1]
    bases = {
        step.position: [
            _normals(key, draw, (rank, width, width), DENSE_FIRST + 2 * step.position),
            _normals(key, draw, (rank, width), DENSE_FIRST + 2 * step.position + 1),
        ]
        for step in steps
        if step.contracts
    }
    begin = math.sqrt(start) * _normals(key, draw, (width,), 0)

    def growth(h: Array, row: Array) -> Array:
        for step in steps:
            h = _applied(step, h, row, bases, grid.laws)
        return h

    ends = [_midpoint(begin, grid, growth)]
    for factor in grid.factors:
        h = begin
        for row in factor:
            h = h + grid.constant / len(factor) * growth(h, row)
        ends.append(h)
    return np.array(ends)


def _midpoint(h: Array, grid: Grid, growth: Any) -> Array:
    scale = grid.constant / len(grid.limit)
    for row in grid.limit:
        h = h + scale * growth(h + scale / 2 * growth(h, row), row)
    return h


def _applied(step: Step, h: Array, row: Array, bases: Any, laws: Any) -> Array:
    """Return one operation of the branch, with the weights of a row of factors."""
    if not step.contracts:
        found: Array = value_at(step.op.law.expression, {X: h})
        return found
    (weights, biases), (weight, bias, *_) = bases[step.position], laws[step.position]
    matrix = np.tensordot(row, weights, 1)
    image: Array = math.sqrt(weight / len(h)) * (matrix @ h) + math.sqrt(bias) * (row @ biases)
    return image


def _normals(key: tuple[Any, Any], draw: int, shape: tuple[int, ...], stream: int) -> Array:
    found = np.empty(shape)
    flat, word = found.reshape(-1), np.uint64(stream_word(BASIS_LAYER, stream))
    fill_normals(*key, np.uint64(0), word, np.uint64(draw), flat, flat.size)
    return found
