"""Kernels of a data set: all pairs of handwritten digits, beside neural-tangents.

    python benchmarks/gram.py --tangents PYTHON

The pixels of D digits of scikit-learn go through 20 residual blocks. This package returns the
kernel of every layer, neural-tangents 0.6.5 (float64, `jit`, in a process of its own with as many
processors) that of the last. Both are timed in turn within a round; times are wall-clock medians,
ratios are taken round by round. The record says how far the two kernels lie apart.
"""

from __future__ import annotations

from pathlib import Path

from data_set import Row, network, row, run
from sklearn.datasets import load_digits
from tangents import GRID, Worker

from resexpand import kernel

ACTIVATIONS = ("relu", "erf", "sin", "gelu", "abs(x)", "2*sin(3*x/2)", "tanh")
NUMBERS = dict(zip(("rho", "weight", "bias"), GRID, strict=True))


def rows(quick: bool, worker: Worker | None) -> list[Row]:
    """Time all activations and sizes."""
    sizes, depth, rounds = ((20,), 3, 2) if quick else ((100, 1000), 20, 9)
    how = {"outputs": ("K",), "peers": ("nngp",), "rounds": rounds, "worker": worker}
    return [
        row(
            kernel,
            network(name, depth, NUMBERS),
            load_digits().data[:count] / 16,
            activation=name.removesuffix("(x)"),
            numbers=NUMBERS,
            **how,
        )
        for name in ACTIVATIONS
        for count in sizes
    ]


if __name__ == "__main__":
    run(__doc__, Path(__file__).parent / "results" / "gram.json", rows)
