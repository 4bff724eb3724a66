"""Tangent kernels of a data set: all pairs of random inputs, beside neural-tangents.

    python benchmarks/tangent_kernel.py --tangents PYTHON

500 inputs of 64 normal numbers go through 100 residual blocks. This package returns tangent kernel
and covariance of an output that is read linearly from the last block, neural-tangents 0.6.5
(float64, `jit`, in a process of its own with as many processors) tangent kernel and covariance of
the stream there, whose sum the first of ours is. Both are timed in turn within a round; times are
wall-clock medians, ratios are taken round by round. The record says how far the two lie apart.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
from tangents import Worker
from timing import clocked, interleaved, spread

from resexpand import Activation, Branch, Linear, ResNet, evaluate, tangent_kernel
from resexpand.export.record import write_record

ACTIVATIONS = ("relu", "erf", "gelu", "tanh")
PEER_LACKS = ("tanh",)
SCALE, WEIGHT, BIAS = 0.1, 1.2, 0.05
OUTPUTS = ["NTK", "NNGP"]
RESULTS = Path(__file__).parent / "results" / "tangent_kernel.json"


def network(name: str, depth: int) -> ResNet:
    """Return the network that `tangents_worker.kernel_function` describes, with a read-out."""
    branch = Branch(Activation(name), Linear(WEIGHT, BIAS))
    ends = {"read_in": Linear(1, 0), "read_out": Linear(1, 0)}
    return ResNet(branch, scale=SCALE, depth=depth, **ends)


def row(name: str, count: int, depth: int, rounds: int, worker: Worker | None) -> dict[str, Any]:
    """Time one activation."""
    data = np.random.default_rng(0).standard_normal((count, 64))
    recursion = tangent_kernel(network(name, depth), 2)
    values = evaluate(recursion, inputs=data, outputs=OUTPUTS)
    contenders = {"resexpand": clocked(lambda: evaluate(recursion, inputs=data, outputs=OUTPUTS))}
    found: dict[str, Any] = {
        "activation": name,
        "inputs": count,
        "depth": depth,
        "status": values.status,
        "stated_error": values.quadrature_error.get("NTK", 0.0),
    }
    if worker is not None and name not in PEER_LACKS:
        given = {"x1": data, "x2": data, "rho": SCALE, "weight": WEIGHT, "bias": BIAS}
        asked = {"name": name, "activation": name, "depth": depth}
        found["seconds_to_compile_peer"], theirs = worker.kernels(given, **asked)
        contenders["neural-tangents"] = lambda: worker.ask(do="run", name=name)
        size = theirs["ntk"] + theirs["nngp"]
        found["largest_difference"] = float(np.abs(size / values["NTK"] - 1).max())
    times = interleaved(contenders, rounds)
    found["seconds"] = {contender: spread(seconds) for contender, seconds in times.items()}
    if "neural-tangents" in times:
        found["time_over_ours"] = spread(times["neural-tangents"] / times["resexpand"])
    return found


def main() -> None:
    """Time all activations, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tangents", type=Path, help="a Python with neural-tangents 0.6.5")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="20 inputs, 3 blocks, 2 rounds")
    arguments = parser.parse_args()
    count, depth, rounds = (20, 3, 2) if arguments.quick else (500, 100, 9)
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    worker = Worker(arguments.tangents, threads) if arguments.tangents else None
    rows = [row(name, count, depth, rounds, worker) for name in ACTIVATIONS]
    if worker is not None:
        worker.close()
    load = list(os.getloadavg()) if hasattr(os, "getloadavg") else None
    write_record(arguments.out, processors=threads, load_average=load, rows=rows)


if __name__ == "__main__":
    main()
