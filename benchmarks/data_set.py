"""Kernels of a data set beside neural-tangents: a row of the record, and the run of a script."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tangents import Worker
from timing import clocked, interleaved, spread

from resexpand import Activation, Branch, Linear, ResNet, evaluate
from resexpand.export.record import write_record
from resexpand.expressions import parse_expression

PEER_LACKS = ("tanh",)
NAMED = ("relu", "erf", "sin", "gelu", "tanh")
"""Activations that neural-tangents knows by the same name; the others are expressions."""

Row = dict[str, Any]


def network(name: str, depth: int, numbers: Mapping[str, float], **ends: Any) -> ResNet:
    """Return the network that `tangents_worker.kernel_function` describes."""
    activation = Activation(name if name in NAMED else parse_expression(name))
    branch = Branch(activation, Linear(numbers["weight"], numbers["bias"]))
    return ResNet(branch, scale=numbers["rho"], depth=depth, read_in=Linear(1, 0), **ends)


def row(
    theory: Callable[[ResNet, int], Any],
    net: ResNet,
    data: np.ndarray,
    *,
    outputs: Sequence[str],
    peers: Sequence[str],
    activation: str,
    numbers: Mapping[str, float],
    rounds: int,
    worker: Worker | None,
) -> Row:
    """Time one network on some inputs; the first output is the sum of kernels of the peer."""
    depth, recursion, name = int(net.depth), theory(net, 2), f"{activation} {len(data)}"
    values = evaluate(recursion, inputs=data, outputs=outputs)
    contenders = {"resexpand": clocked(lambda: evaluate(recursion, inputs=data, outputs=outputs))}
    record: Row = {
        "activation": activation,
        "inputs": len(data),
        "depth": depth,
        "status": values.status,
        "stated_error": values.quadrature_error.get(outputs[0], 0.0),
    }
    if worker is not None and activation not in PEER_LACKS:
        asked = {"name": name, "activation": activation, "depth": depth}
        seconds, theirs = worker.kernels({"x1": data, "x2": data, **numbers}, **asked)
        record["seconds_to_compile_peer"] = seconds
        contenders["neural-tangents"] = lambda: worker.ask(do="run", name=name)
        ours = values[outputs[0]]
        last = ours[-1] if ours.ndim > 2 else ours
        record["largest_difference"] = float(np.abs(sum(theirs[k] for k in peers) / last - 1).max())
    times = interleaved(contenders, rounds)
    record["seconds"] = {contender: spread(seconds) for contender, seconds in times.items()}
    if "neural-tangents" in times:
        record["time_over_ours"] = spread(times["neural-tangents"] / times["resexpand"])
    return record


def run(
    description: str | None, out: Path, rows: Callable[[bool, Worker | None], list[Row]]
) -> None:
    """Time all rows, of a quick run or a full one, and write the record."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--tangents", type=Path, help="a Python with neural-tangents 0.6.5")
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--quick", action="store_true", help="20 inputs, 3 blocks, 2 rounds")
    options = parser.parse_args()
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    worker = Worker(options.tangents, threads) if options.tangents else None
    record = rows(options.quick, worker)
    if worker is not None:
        worker.close()
    load = list(os.getloadavg()) if hasattr(os, "getloadavg") else None
    write_record(options.out, processors=threads, load_average=load, rows=record)
