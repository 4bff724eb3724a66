"""Predictions of trained infinite networks beside those of neural-tangents: no times, distances.

    python benchmarks/predictions.py --tangents PYTHON

Networks of 6 residual blocks are trained on 12 inputs with two outputs each and asked at 5 more,
with a ridge, by tangent kernel and covariance kernel, at three times of gradient flow and infinity.
The record holds the largest distance of means and covariances, relative to the largest entry.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from data_set import Row, network, run
from tangents import Worker

from resexpand import Linear, predict

DEPTH, RIDGE = 6, 0.02
TIMES = (0.0, 0.1, 2.0, np.inf)
NUMBERS = {"rho": 0.4, "weight": 1.2, "bias": 0.05}
CASES = {
    "relu": "relu",
    "erf": "erf",
    "gelu": "gelu",
    "sin": "sin",
    "cos": "cos(x)",
    "abs": "Abs(x)",
    "leaky_relu": "Max(x, x/10)",
    "2*sin(3*x/2)": "2*sin(3*x/2)",
}
"""Activations: the name at neural-tangents, and here."""


def rows(quick: bool, worker: Worker | None) -> list[Row]:
    """Compare all activations."""
    rng = np.random.default_rng(3)
    train, test, targets = (rng.standard_normal(shape) for shape in ((12, 4), (5, 4), (12, 2)))
    given = {"x1": train, "x2": test, "y": targets, "times": TIMES, "ridge": RIDGE, **NUMBERS}
    table = []
    for name, ours in [*CASES.items()][: 2 if quick else None]:
        net = network(ours, DEPTH, NUMBERS, read_out=Linear(1, 0))
        asked = {"ridge": RIDGE, "time": TIMES}
        answers = {k: predict(net, train, targets, test, kind=k, **asked) for k in ("ntk", "nngp")}
        row: Row = {"activation": ours, "depth": DEPTH}
        row |= {f"{kind}: status": found.status for kind, found in answers.items()}
        if worker is not None:
            theirs = worker.predictions(given, name=name, activation=name, depth=DEPTH)
            for key, right in theirs.items():
                kind, part = key.split()
                apart = np.abs(getattr(answers[kind], part) - right).max()
                row[f"{key}: distance"] = float(apart / np.abs(right).max())
        table.append(row)
    return table


if __name__ == "__main__":
    run(__doc__, Path(__file__).parent / "results" / "predictions.json", rows)
