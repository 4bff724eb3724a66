"""The samplers beside the rate of the normals they consume, and the normals beside NumPy's.

    python benchmarks/samplers.py [--out FILE] [--quick]

A sampler is counted in standard normals per second: the dense one draws ``N^2`` per layer and the
function-space one ``N`` per column and layer, so the rate says how much of the time goes into
random numbers. Everything runs on one thread, in turn, round by round; PyTorch is measured where it
can be imported.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from timing import clocked, interleaved, spread

from resexpand import Activation, Branch, Linear, ResNet, sample
from resexpand.export.record import write_record
from resexpand.montecarlo.normals import fill_normals

RESULTS = Path(__file__).with_name("results")
OWN = "own normals"
DEPTH = 10
MEANING = {
    OWN: "Philox4x32-10 and Box-Muller into one array that stays in the cache, float64",
    "NumPy normals": "Generator(PCG64).standard_normal into the same array (ziggurat), float64",
    "NumPy Philox normals": "Generator(Philox).standard_normal into the same array, float64",
    "torch normals": "Tensor.normal_ on one thread into an array of the same size, float64",
    "function-space": "sample(...) of the empirical kernel: N normals per layer and network",
    "dense": "sample(...) of the empirical kernel: N*N normals per layer and network",
}


def normals(count: int) -> dict[str, tuple[int, Callable[[], object]]]:
    """Return ways of filling an array with normals, and how many each makes."""
    out = np.empty(count)
    word = np.uint64
    plain, philox = np.random.default_rng(1), np.random.Generator(np.random.Philox(1))
    ways: dict[str, Callable[[], object]] = {
        OWN: lambda: fill_normals(word(1), word(2), word(3), word(4), word(5), out, count),
        "NumPy normals": lambda: plain.standard_normal(out=out),
        "NumPy Philox normals": lambda: philox.standard_normal(out=out),
    }
    if importlib.util.find_spec("torch") is not None:
        import torch

        torch.set_num_threads(1)
        tensor = torch.empty(count, dtype=torch.float64)
        ways["torch normals"] = tensor.normal_
    # One array fits the cache; many fillings make the time long enough to be measured.
    return {name: (50 * count, _repeated(way)) for name, way in ways.items()}


def _repeated(way: Callable[[], object]) -> Callable[[], object]:
    def work() -> None:
        for _ in range(50):
            way()

    return work


def samplers(scale: int) -> dict[str, tuple[int, Callable[[], object]]]:
    """Return the samplers at a few widths, and how many normals each consumes."""
    net = ResNet(Branch(Activation("erf"), Linear(1, 0)), scale=0.3, depth=DEPTH)
    ways = {}
    for method, width, draws in (
        ("function-space", 100, 20 * scale),
        ("function-space", 1000, 2 * scale),
        ("dense", 100, scale),
        ("dense", 400, max(2, scale // 16)),
    ):
        per_layer = width * (width if method == "dense" else 1)
        # The state at layer 0 takes one column of normals.
        count = draws * (DEPTH * per_layer + width)
        ways[f"{method}, width {width}"] = (count, _sampling(net, method, width, draws))
    return ways


def _sampling(net: ResNet, method: str, width: int, draws: int) -> Callable[[], object]:
    def work() -> None:
        sample(net, ["kernel"], width, draws, K0=1.0, method=method, workers=1, progress=False)

    return work


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "samplers.json")
    parser.add_argument("--quick", action="store_true", help="few draws")
    options = parser.parse_args(arguments)
    scale, rounds = (20, 2) if options.quick else (500, 15)
    ways: dict[str, tuple[int, Callable[[], object]]] = {**normals(16384), **samplers(scale)}
    times = interleaved({name: clocked(work) for name, (_, work) in ways.items()}, rounds)
    own = times[OWN] / ways[OWN][0]
    table: dict[str, dict[str, Any]] = {}
    for name, (count, _) in ways.items():
        per_normal = times[name] / count
        table[name] = {
            "normals": count,
            "milliseconds": spread(1e3 * times[name]),
            "million_normals_per_second": spread(1e-6 / per_normal),
            "rate_over_own_normals": spread(own / per_normal),
        }
        rate = table[name]["million_normals_per_second"]["median"]
        ratio = table[name]["rate_over_own_normals"]["median"]
        print(f"{name:28s} {rate:8.1f} million normals/s   rate/own {ratio:5.2f}")
    torch = version("torch") if "torch normals" in ways else "not installed, not measured"
    write_record(options.out, contenders=MEANING, torch=torch, threads=1, samplers=table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
