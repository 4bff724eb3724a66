"""Tangent kernels of a data set: all pairs of random inputs, beside neural-tangents.

    python benchmarks/tangent_kernel.py --tangents PYTHON

500 inputs of 64 normal numbers go through 100 residual blocks. This package returns tangent kernel
and covariance of an output that is read linearly from the last block, neural-tangents 0.6.5
(float64, `jit`, in a process of its own with as many processors) tangent kernel and covariance of
the stream there, whose sum the first of ours is. Both are timed in turn within a round; times are
wall-clock medians, ratios are taken round by round. The record says how far the two lie apart.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from data_set import Row, network, row, run
from tangents import Worker

from resexpand import Linear, tangent_kernel

ACTIVATIONS = ("relu", "erf", "gelu", "tanh")
NUMBERS = {"rho": 0.1, "weight": 1.2, "bias": 0.05}


def rows(quick: bool, worker: Worker | None) -> list[Row]:
    """Time all activations."""
    count, depth, rounds = (20, 3, 2) if quick else (500, 100, 9)
    data = np.random.default_rng(0).standard_normal((count, 64))
    how = {"outputs": ("NTK", "NNGP"), "peers": ("ntk", "nngp"), "rounds": rounds, "worker": worker}
    return [
        row(
            tangent_kernel,
            network(name, depth, NUMBERS, read_out=Linear(1, 0)),
            data,
            activation=name,
            numbers=NUMBERS,
            **how,
        )
        for name in ACTIVATIONS
    ]


if __name__ == "__main__":
    run(__doc__, Path(__file__).parent / "results" / "tangent_kernel.json", rows)
