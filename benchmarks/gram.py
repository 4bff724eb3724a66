"""Kernels of a data set: all pairs of handwritten digits, beside neural-tangents.

    python benchmarks/gram.py --tangents PYTHON

The pixels of D digits of scikit-learn go through 20 residual blocks. This package returns the
kernel of every layer, neural-tangents 0.6.5 (float64, `jit`, in a process of its own with as many
processors) that of the last. Both are timed in turn within a round; times are wall-clock medians,
ratios are taken round by round. The record says how far the two kernels lie apart.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from tangents import GRID, Worker
from timing import clocked, interleaved, spread

from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel
from resexpand.export.record import write_record
from resexpand.expressions import parse_expression

ACTIVATIONS = ("relu", "erf", "sin", "gelu", "abs", "2*sin(3*x/2)", "tanh")
PEER_LACKS = ("tanh",)
RESULTS = Path(__file__).parent / "results" / "gram.json"


def network(name: str, depth: int) -> ResNet:
    """Return the network that `tangents_worker.kernel_function` describes."""
    registered = name in ("relu", "erf", "sin", "gelu", "tanh")
    text = name.replace("abs", "abs(x)")
    activation = Activation(name if registered else parse_expression(text))
    rho, weight, bias = GRID
    branch = Branch(activation, Linear(weight, bias))
    return ResNet(branch, scale=rho, depth=depth, read_in=Linear(1, 0))


def row(name: str, count: int, depth: int, rounds: int, worker: Worker | None) -> dict[str, Any]:
    """Time one activation on so many digits."""
    data = load_digits().data[:count] / 16
    recursion = kernel(network(name, depth), 2)
    values = evaluate(recursion, inputs=data, outputs="K")
    contenders = {"resexpand": clocked(lambda: evaluate(recursion, inputs=data, outputs="K"))}
    found: dict[str, Any] = {
        "activation": name,
        "inputs": count,
        "depth": depth,
        "status": values.status,
        "stated_error": values.quadrature_error.get("K", 0.0),
    }
    if worker is not None and name not in PEER_LACKS:
        numbers = dict(zip(("rho", "weight", "bias"), GRID, strict=True))
        asked = {"name": f"{name} {count}", "activation": name, "depth": depth}
        _, theirs = worker.kernels({"x1": data, "x2": data, **numbers}, **asked)
        contenders["neural-tangents"] = lambda: worker.ask(do="run", name=asked["name"])
        found["largest_difference"] = float(np.abs(theirs["nngp"] / values["K"][-1] - 1).max())
    times = interleaved(contenders, rounds)
    found["seconds"] = {contender: spread(seconds) for contender, seconds in times.items()}
    if "neural-tangents" in times:
        found["time_over_ours"] = spread(times["neural-tangents"] / times["resexpand"])
    return found


def main() -> None:
    """Time all activations and sizes, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tangents", type=Path, help="a Python with neural-tangents 0.6.5")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="20 digits, 3 blocks, 2 rounds")
    arguments = parser.parse_args()
    sizes, depth, rounds = ((20,), 3, 2) if arguments.quick else ((100, 1000), 20, 9)
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    worker = Worker(arguments.tangents, threads) if arguments.tangents else None
    rows = [row(name, count, depth, rounds, worker) for name in ACTIVATIONS for count in sizes]
    if worker is not None:
        worker.close()
    load = list(os.getloadavg()) if hasattr(os, "getloadavg") else None
    write_record(arguments.out, processors=threads, load_average=load, rows=rows)


if __name__ == "__main__":
    main()
