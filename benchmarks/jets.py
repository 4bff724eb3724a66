"""Orders of a given network beside the floor of its matrix products and jax.experimental.jet.

    python benchmarks/jets.py [--out FILE] [--quick] [--jax PYTHON]

The orders 0 to 8 of one tanh network of width 1024 and depth 100 at one input, scales 1/sqrt(L).
The floor is the same products alone: every matrix with nine columns, into an array that exists.
Everything runs on one thread, in turn, round by round; jax runs in an environment of its own
(``--jax``, an interpreter with jax 0.4.30) and is asked through a pipe.
"""

from __future__ import annotations

import os

# Before NumPy is imported: its products then use one thread.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from timing import clocked, interleaved, spread

from resexpand import Activation, Branch, Linear, ResNet, measure_orders
from resexpand.codegen import store
from resexpand.export.record import write_record
from resexpand.measure.jet_routine import jet_source
from resexpand.measure.radius import ConvergenceWarning

RESULTS = Path(__file__).with_name("results")
OURS, FLOOR, FORWARD, JAX = "measure_orders", "matrix products", "forward pass", "jax jet"
MEANING = {
    OURS: "the call: orders, energies, shares, residual, radius; the routine is compiled",
    FLOOR: "every matrix with order + 1 columns, np.matmul into an array that exists",
    FORWARD: "the network alone: np.matmul with one column, np.tanh",
    JAX: "jax.jit of jax.experimental.jet in the factor of the scales, compiled; orders only",
}
SEED = 1
ACTIVATION = "tanh"
Network = tuple[list[np.ndarray], np.ndarray]


def network(width: int, depth: int) -> Network:
    """Return weights and an input; the process with jax draws the same."""
    rng = np.random.default_rng(SEED)
    weights = [rng.standard_normal((width, width)) / np.sqrt(width) for _ in range(depth)]
    return weights, rng.standard_normal(width)


class JaxJet:
    """The process that holds jax, with the network compiled."""

    def __init__(self, python: Path, width: int, depth: int, order: int) -> None:
        script = Path(__file__).with_name("jets_worker.py")
        numbers = [str(number) for number in (width, depth, order, SEED)]
        self._process = subprocess.Popen(
            [str(python), str(script), ACTIVATION, *numbers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.first = self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise OSError("the process with jax ended")
        return json.loads(line)

    def run(self) -> float:
        """Ask for one run and return its seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        """Let the process end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measured(drawn: Network, order: int) -> Any:
    """Return the measured orders."""
    weights, x = drawn
    depth = len(weights)
    net = ResNet(Branch(Activation(ACTIVATION), Linear()), scale=depth**-0.5, depth=depth)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return measure_orders(net, weights, x, order)


def products(drawn: Network, columns: int) -> None:
    """Multiply every matrix with the columns of an array."""
    weights, x = drawn
    source = np.tile(x, (columns, 1))
    target = np.empty_like(source)
    for matrix in weights:
        np.matmul(source, matrix.T, out=target)


def forward(drawn: Network) -> np.ndarray:
    """Run the network."""
    weights, x = drawn
    h = x
    for matrix in weights:
        h = h + len(weights) ** -0.5 * (matrix @ np.tanh(h))
    return h


def compile_seconds() -> dict[str, float]:
    """Return the seconds to write and compile a routine anew, by activation and order."""
    seconds = {}
    for name in ("tanh", "erf", "gelu"):
        for order in (4, 8, 12):
            op = Activation(name)
            begin = time.perf_counter()
            text = jet_source.__wrapped__(op.expression, op.variable, order)
            # A comment of its own makes it a module that no earlier run has compiled.
            routine = store.load(f"{text}\n# {time.time_ns()}\n").jets
            routine(np.zeros((order + 1, 8)), np.zeros((order + 1, 8)))
            seconds[f"{name}, order {order}"] = time.perf_counter() - begin
    return seconds


def peer(python: Path | None, width: int, depth: int, order: int) -> tuple[JaxJet | None, Any]:
    """Return the process with jax, and what the record says about it."""
    if python is None:
        return None, {"available": False, "reason": "no interpreter given with --jax"}
    try:
        worker = JaxJet(python, width, depth, order)
    except OSError as error:
        return None, {"available": False, "reason": str(error)}
    return worker, {
        "available": True,
        "jax": worker.first["jax"],
        "compile_seconds": worker.first["seconds"],
    }


def table(width: int, depth: int, order: int, rounds: int, python: Path | None) -> dict[str, Any]:
    """Time all contenders on one network."""
    drawn = network(width, depth)
    found = measured(drawn, order)
    contenders = {
        OURS: clocked(lambda: measured(drawn, order)),
        FLOOR: clocked(lambda: products(drawn, order + 1)),
        FORWARD: clocked(lambda: forward(drawn)),
    }
    worker, said = peer(python, width, depth, order)
    if worker is not None:
        theirs = np.load(worker.first["orders"])
        said["largest_relative_difference"] = float(
            np.max(np.abs(theirs - found.terms).max(axis=1) / np.abs(found.terms).max(axis=1))
        )
        contenders[JAX] = worker.run
    times = interleaved(contenders, rounds)
    if worker is not None:
        worker.close()
    exact = forward(drawn)
    return {
        "width": width,
        "depth": depth,
        "order": order,
        "activation": ACTIVATION,
        "seconds": {name: spread(values) for name, values in times.items()},
        "time_over_floor": {
            name: spread(values / times[FLOOR]) for name, values in times.items() if name != FLOOR
        },
        "time_over_ours": {
            name: spread(values / times[OURS]) for name, values in times.items() if name != OURS
        },
        "forward_pass_relative_difference": float(
            np.linalg.norm(found.output - exact) / np.linalg.norm(exact)
        ),
        "jax": said,
    }


def main() -> None:
    """Run the benchmark and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "jets.json")
    parser.add_argument("--quick", action="store_true", help="a small network, few rounds")
    parser.add_argument("--jax", type=Path, help="interpreter of an environment with jax 0.4.30")
    chosen = parser.parse_args()
    width, depth, order, rounds = (64, 4, 3, 3) if chosen.quick else (1024, 100, 8, 15)
    found = table(width, depth, order, rounds, chosen.jax)
    write_record(
        chosen.out,
        what="orders of a given network, one thread",
        meaning=MEANING,
        jets=found,
        compile_seconds=compile_seconds() if not chosen.quick else {},
    )
    for name, ratio in found["time_over_floor"].items():
        print(f"{name}: {ratio['median']:.2f} x the matrix products", file=sys.stderr)


if __name__ == "__main__":
    main()
