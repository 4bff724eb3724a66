"""The samplers beside the rate of the normals they consume, beside peers, and as sizes grow.

    python benchmarks/samplers.py [--out FILE] [--torch PYTHON] [--neural-tangents PYTHON] [--quick]

A sampler is counted in standard normals per second: the dense one draws ``N^2`` per layer and the
function-space one ``N`` per column and layer, so the rate says how much of the time goes into
random numbers. Times are seconds of one processor for one input, taken in turn round by round, so
that what else runs on the machine counts less; ratios are formed within a round. Two workers are
compared by the clock on the wall. Memory is the peak of a process that finds its sampler compiled
on the disk. The options name interpreters with which the peers can
be imported (`samplers_worker.py`); what is not named is not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from timing import Timed, Times, clocked, interleaved, processed, spread

from resexpand import Activation, Branch, Linear, ResNet, sample
from resexpand.export.record import write_record
from resexpand.montecarlo.random.normals import fill_normals

RESULTS = Path(__file__).with_name("results")
WORKER = Path(__file__).with_name("samplers_worker.py")
OWN = "own normals"
DENSE, FUNCTION_SPACE = "dense", "function-space"
DENSE_WIDTH, DENSE_DEPTH, DENSE_DRAWS = 512, 10, 4
WIDTH, DEPTH, DRAWS = 1024, 100, 60
NORMALS, FILLINGS = 16384, 100
RHO = 0.3

MEMORY = """
from pathlib import Path
from resexpand import Activation, Branch, Linear, ResNet, sample
net = ResNet(Branch(Activation("relu"), Linear(1, 0)), scale=0.03, depth=1000)
K0 = [[1.0 if a == b else 0.5 for b in range(10)] for a in range(10)]
sample(net, "kernel", {width}, 2, K0=K0, workers=1, progress=False)
lines = Path("/proc/self/status").read_text().splitlines()
for key in ("VmHWM", "RssFile"):
    print(next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key)))
"""


def network(activation: str, depth: int) -> ResNet:
    """Return the network of all comparisons."""
    return ResNet(Branch(Activation(activation), Linear(1, 0)), scale=RHO, depth=depth)


def drawing(
    method: str, width: int, depth: int, draws: int, activation: str = "relu", workers: int = 1
) -> Callable[[], object]:
    """Return a run of `sample` for the empirical kernel of one input."""
    net, options = network(activation, depth), {"method": method, "workers": workers}
    return lambda: sample(net, "kernel", width, draws, K0=1.0, progress=False, **options)  # type: ignore[arg-type]


def sampling(method: str, width: int, depth: int, draws: int, activation: str = "relu") -> Timed:
    """Return such a run, timed."""
    return processed(drawing(method, width, depth, draws, activation))


def own_normals() -> Timed:
    """Return the filling of an array that stays in the cache."""
    out, word = np.empty(NORMALS), np.uint64

    def work() -> None:
        for k in range(FILLINGS):
            fill_normals(word(1), word(2), word(k), word(4), word(5), out, NORMALS)

    return processed(work)


def numpy_dense() -> Timed:
    """Return the dense loop in NumPy, weights drawn into one array."""
    random, weights = np.random.default_rng(1), np.empty((DENSE_WIDTH, DENSE_WIDTH))

    def work() -> None:
        for _ in range(DENSE_DRAWS):
            h = random.standard_normal(DENSE_WIDTH)
            for _ in range(DENSE_DEPTH):
                random.standard_normal(out=weights)
                h += RHO / DENSE_WIDTH**0.5 * (weights @ np.maximum(h, 0.0))

    return processed(work)


@contextmanager
def peer(python: str, kind: str) -> Iterator[Timed]:
    """Start the worker of a peer and return a function that has it run once."""
    command = [python, str(WORKER), kind, *map(str, (DENSE_WIDTH, DENSE_DEPTH, DENSE_DRAWS))]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def timed() -> float:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            return float(json.loads(process.stdout.readline())["seconds"])

        try:
            yield timed
        finally:
            process.stdin.close()


def rates(options: argparse.Namespace, rounds: int, part: int) -> dict[str, dict[str, Any]]:
    """Time the contenders; return normals per second, and the rates over that of own normals."""
    dense = DENSE_DRAWS * (DENSE_DEPTH * DENSE_WIDTH**2 + DENSE_WIDTH)
    counts = {OWN: NORMALS * FILLINGS, "NumPy loop": dense, DENSE: 10 * dense}
    ways = {
        OWN: own_normals(),
        "NumPy loop": numpy_dense(),
        DENSE: sampling(DENSE, DENSE_WIDTH, DENSE_DEPTH, 10 * DENSE_DRAWS),
    }
    for activation in ("relu", "identity", "erf", "tanh"):
        name = f"{FUNCTION_SPACE}, {activation}"
        networks = 20 * DRAWS // part
        counts[name] = networks * (DEPTH + 1) * WIDTH
        ways[name] = sampling(FUNCTION_SPACE, WIDTH, DEPTH, networks, activation)
    with ExitStack() as stack:
        for kind, python in (
            ("torch32", options.torch),
            ("torch64", options.torch),
            ("nt32", options.neural_tangents),
        ):
            if python:
                ways[kind] = stack.enter_context(peer(python, kind))
                counts[kind] = dense
        times = interleaved(ways, rounds)
    own = times[OWN] / counts[OWN]
    table = {}
    for name, seconds in times.items():
        each = seconds / counts[name]
        table[name] = {
            "nanoseconds_per_normal": spread(1e9 * each),
            "rate_over_own_normals": spread(own / each),
            "time_over_dense": spread(each / (times[DENSE] / counts[DENSE])),
        }
        rate, ratio = (table[name][k]["median"] for k in list(table[name])[1:])
        print(f"{name:26s} {1e9 * np.median(each):8.3f} ns   rate/own {rate:6.3f}", end="   ")
        print(f"time/dense {ratio:7.2f}")
    return table


def over_dense(rounds: int, part: int) -> dict[str, Any]:
    """Return how many function-space networks are drawn in the time of a dense one."""
    draws, depth = 3000, DEPTH // part
    ways = {
        DENSE: sampling(DENSE, WIDTH, depth, 2),
        FUNCTION_SPACE: sampling(FUNCTION_SPACE, WIDTH, depth, draws),
    }
    times = interleaved(ways, rounds)
    ratio = (times[DENSE] / 2) / (times[FUNCTION_SPACE] / draws)
    print(f"function space over dense, width {WIDTH}, depth {depth}: {np.median(ratio):.0f}")
    return spread(ratio)


def exponents(rounds: int, part: int) -> dict[str, Any]:
    """Return the fitted growth of the time with width, depth and draws."""
    widths, depths, numbers = (256, 1024, 4096, 16384), (25, 100, 400), (150, 600, 2400)
    neurons, draws = 2**21 // part, 150 // part
    sweeps = {
        "width": {n: sampling(FUNCTION_SPACE, n, 50, neurons // n) for n in widths},
        "depth": {n: sampling(FUNCTION_SPACE, WIDTH, n, draws) for n in depths},
        "draws": {n: sampling(FUNCTION_SPACE, WIDTH, 25, n // part) for n in numbers},
    }
    # The draws of the width sweep fall as the width grows: their times are per network.
    per = {"width": lambda n: neurons // n, "depth": lambda _: draws, "draws": lambda _: 1}
    ways = {f"{name} {n}": way for name, sweep in sweeps.items() for n, way in sweep.items()}
    times = interleaved(ways, rounds)
    fits = {}
    for name, sweep in sweeps.items():
        fits[name] = spread(_slopes(name, list(sweep), times, per[name]))
        print(f"time grows like {name}^{fits[name]['median']:.3f}")
    return fits


def _slopes(name: str, sizes: list[int], times: Times, per: Callable[[int], int]) -> Any:
    logs = np.log([times[f"{name} {n}"] / per(n) for n in sizes])
    return np.polyfit(np.log(sizes), logs, 1)[0]


def two_workers(rounds: int, part: int) -> dict[str, Any]:
    """Return the time of one worker over that of two."""
    sizes = (FUNCTION_SPACE, WIDTH, DEPTH, 16000 // part)
    ways = {n: clocked(drawing(*sizes, workers=n)) for n in (1, 2)}
    times = interleaved({str(n): way for n, way in ways.items()}, rounds)
    ratio = times["1"] / times["2"]
    print(f"two workers {np.median(ratio):.2f} times as fast, best {ratio.max():.2f}")
    return {**spread(ratio), "load_average": os.getloadavg()[0]}


def memory(part: int) -> tuple[dict[str, float], float]:
    """Return the peak resident memory of processes that draw narrow and wide networks.

    The second number is what of it are pages of libraries, mapped from their files: LLVM, mostly.
    """
    found, mapped = {}, 0.0
    for width in (64, 65536 // part):
        text = MEMORY.format(width=width)
        for _ in range(2):  # the first may compile
            done = subprocess.run(
                [sys.executable, "-c", text], capture_output=True, text=True, check=True
            )
        found[str(width)], mapped = map(float, done.stdout.split())
        print(f"width {width}, depth 1000, 10 inputs: {found[str(width)]:.0f} MiB at most")
    print(f"of these {mapped:.0f} MiB mapped from files")
    return found, mapped


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "samplers.json")
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that imports torch")
    parser.add_argument("--neural-tangents", metavar="PYTHON")
    parser.add_argument("--quick", action="store_true", help="few rounds of small sizes")
    options = parser.parse_args(arguments)
    rounds, part = (3, 10) if options.quick else (5, 1)
    peers = {"torch": options.torch, "neural-tangents": options.neural_tangents}
    peak, mapped = memory(part)
    write_record(
        options.out,
        threads=1,
        not_measured=[name for name, python in peers.items() if not python],
        dense={"width": DENSE_WIDTH, "depth": DENSE_DEPTH},
        function_space={"width": WIDTH, "depth": DEPTH},
        rates=rates(options, rounds, part),
        function_space_over_dense=over_dense(max(3, rounds // 2), part),
        exponents=exponents(max(3, rounds // 2), part),
        two_workers=two_workers(rounds, part),
        peak_mebibytes=peak,
        mapped_mebibytes=mapped,
        load_average=os.getloadavg()[0],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
