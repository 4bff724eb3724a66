"""Loops of back-propagation that both samplers share.

A network keeps the columns in front of every operation of every layer (`groups.gradients`).
Gradients `p_a = dy_a/dh_a` of one output are rows like columns, one per input.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.jit import loop
from resexpand.montecarlo.lanes import barrier, is_leader, lane_entry, lane_share
from resexpand.montecarlo.loops.columns import Columns, dot
from resexpand.montecarlo.loops.function_space import Law


@loop
def keep(source: Columns, kept: Columns) -> None:
    """Copy the first columns."""
    for c in range(kept.shape[0]):
        old, new = source[c], kept[c]
        for turn in range(lane_share(new.size)):
            i = lane_entry(turn)
            new[i] = old[i]
    barrier()


@loop
def scaled(gradients: Columns, scale: float, out: Columns) -> None:
    """Write the gradients times a number."""
    for a in range(gradients.shape[0]):
        p, g = gradients[a], out[a]
        for turn in range(lane_share(g.size)):
            i = lane_entry(turn)
            g[i] = scale * p[i]
    barrier()


@loop
def add_gradients(step: Columns, gradients: Columns) -> None:
    """Add the gradients that came back through the branch, `p += g`."""
    for a in range(step.shape[0]):
        g, p = step[a], gradients[a]
        for turn in range(lane_share(p.size)):
            i = lane_entry(turn)
            p[i] += g[i]
    barrier()


@loop
def write_products(gradients: Columns, width: int, out: NDArray[np.float64]) -> None:
    """Write `p_a . p_b`, shape (D, D)."""
    # The matrix is symmetric: half of the products suffice.
    for a in range(gradients.shape[0]):
        for b in range(a + 1):
            value = dot(gradients[a], gradients[b], width)
            if is_leader():
                out[a, b] = value
                out[b, a] = value


@loop
def write_covariance(source: Columns, width: int, law: Law, out: NDArray[np.float64]) -> None:
    """Write `s x_a . x_b / N + t` of the first columns, shape (D, D)."""
    for a in range(out.shape[0]):
        for b in range(a + 1):
            value = law[0] / width * dot(source[a], source[b], width) + law[1]
            if is_leader():
                out[a, b] = value
                out[b, a] = value


@loop
def add_tangent_kernel(
    source: Columns, gradients: Columns, width: int, law: Law, out: NDArray[np.float64]
) -> None:
    """Add the share of one linear operation, `(s x_a . x_b / N + t) g_a . g_b`."""
    for a in range(out.shape[0]):
        for b in range(a + 1):
            # Weights share s x_a . x_b / N, the bias adds t: derivatives by all parameters at once.
            covariance = law[0] / width * dot(source[a], source[b], width) + law[1]
            value = covariance * dot(gradients[a], gradients[b], width)
            # Behind `dot` all lanes hold the same sum; one of them adds it.
            if is_leader():
                out[a, b] += value
                if a != b:
                    out[b, a] += value


@loop
def direction_of(matrix: NDArray[np.float64]) -> int:
    """Return the column of the stream that starts as a random direction."""
    for c in range(matrix.shape[1]):
        # The last row of the matrix belongs to the direction (see `start`).
        if matrix[matrix.shape[0] - 1, c] != 0.0:
            return c
    return 0


@loop
def write_pairing(
    gradients: Columns, tangents: Columns, width: int, out: NDArray[np.float64]
) -> None:
    """Write the sum of `p_a . v_a`, shape (1,)."""
    product = 0.0
    for a in range(gradients.shape[0]):
        product += dot(gradients[a], tangents[a], width)
    if is_leader():
        out[0] = product
