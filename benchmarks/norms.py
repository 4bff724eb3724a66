"""Cost of normalisation, masks and coins: kernels and samplers beside the branch without them.

    python benchmarks/norms.py [--out FILE] [--tangents PYTHON] [--quick]

Every contender is timed in turn within a round, and ratios are taken round by round. Kernels are
generated routines at 20,000 points and depth 100. Samplers draw networks of width 1024. The peers
are `stax.LayerNorm` of neural-tangents 0.6.5 (all pairs of a set of inputs, float64, `jit`, in a
process of its own), and loops in NumPy and, where it can be imported, PyTorch that draw the same
pre-LN networks. Peers that are not there are named in the record.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp
from tangents import GRID, Unavailable, Worker
from timing import Timed, clocked, interleaved, processed, spread

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Dropout,
    LayerNorm,
    Linear,
    ResNet,
    RMSNorm,
    StochasticDepth,
    compile_routine,
    evaluate,
    kernel,
    sample,
)
from resexpand.export.record import write_record

RESULTS = Path(__file__).with_name("results")
POINTS, DEPTH, WIDTH, INPUTS = 20_000, 100, 1024, 140
RELU, HE = Activation("relu"), Linear(2, 0)
BRANCHES = {
    "plain": Branch(RELU, HE),
    "LayerNorm": Branch(LayerNorm(), RELU, HE),
    "RMSNorm": Branch(RMSNorm(), RELU, HE),
    "Dropout": Branch(RELU, Dropout(0.8), HE),
    "StochasticDepth": Branch(RELU, HE, StochasticDepth(0.8)),
}
RHO = 0.1


def over_plain(ways: Mapping[str, Timed], rounds: int) -> dict[str, Any]:
    """Time contenders named ``<branch>, <rest>``; return their times over that of the plain one."""
    times = interleaved(ways, rounds)
    table = {}
    for name, seconds in times.items():
        plain = times[f"plain, {name.partition(', ')[2]}"]
        table[name] = {"seconds": spread(seconds), "time_over_plain": spread(seconds / plain)}
        print(f"{name:40s} {1e3 * np.median(seconds):9.2f} ms {np.median(seconds / plain):6.2f}")
    return table


def kernels(rounds: int, part: int) -> dict[str, Any]:
    """Time routines of the kernel of one input and of two."""
    random, ways = np.random.default_rng(1), {}
    scale, weight, bias = sp.symbols("rho w b", positive=True)
    count = POINTS // part
    values = {
        "rho": random.uniform(0.05, 0.1, count),
        "w": random.uniform(0.5, 1, count),
        "b": random.uniform(0.01, 0.1, count),
    }
    variances = random.uniform(0.5, 1.5, count)
    for name in ("relu", "erf"):
        for inputs in (1, 2):
            pair = variances[:, None, None] * np.array([[1, 0.5], [0.5, 1.2]])
            for label, norm in (("plain", ()), ("LayerNorm", (LayerNorm(),))):
                branch = Branch(*norm, Activation(name), Linear(weight, bias))
                net = ResNet(branch, scale=scale, depth=DEPTH // part)
                routine = compile_routine(kernel(net, inputs))
                given = {**values, "K0": variances if inputs == 1 else pair}
                ways[f"{label}, {name}, {inputs}"] = processed(_call(routine, given))
    return over_plain(ways, rounds)


def _call(routine: Any, given: Mapping[str, Any]) -> Callable[[], object]:
    return lambda: routine(**given)


def drawing(branch: Branch, K0: Any, depth: int, draws: int, method: str) -> Callable[[], object]:
    """Return a run of `sample` for the kernel."""
    net, how = ResNet(branch, scale=RHO, depth=depth), {"method": method, "workers": 1}
    return lambda: sample(net, "kernel", WIDTH, draws, K0=K0, progress=False, **how)  # type: ignore[arg-type]


def samplers(rounds: int, part: int) -> dict[str, Any]:
    """Time the function-space sampler of one input, of two, and of a batch of 32."""
    ways = {}
    method, depth = "function-space", DEPTH // part
    for label, branch in BRANCHES.items():
        for inputs in (1, 2):
            K0 = 1.0 if inputs == 1 else 0.5 * np.eye(2) + 0.5
            work = drawing(branch, K0, depth, 120 // inputs, method)
            ways[f"{label}, {inputs}"] = processed(work)
    batch = 0.5 * np.eye(32) + 0.5
    for label, branch in (
        ("plain", BRANCHES["plain"]),
        ("BatchNorm", Branch(BatchNorm(), RELU, HE)),
    ):
        ways[f"{label}, 32"] = processed(drawing(branch, batch, 5, 20 // part, method))
    return over_plain(ways, rounds)


def numpy_loop(width: int, depth: int, draws: int) -> Callable[[], float]:
    """Return the pre-LN networks drawn with NumPy."""
    random, weights = np.random.default_rng(1), np.empty((width, width))

    def work() -> float:
        total = 0.0
        for _ in range(draws):
            h = random.standard_normal(width)
            for _ in range(depth):
                random.standard_normal(out=weights)
                x = np.maximum((h - h.mean()) / h.std(), 0.0)
                h += RHO * np.sqrt(2 / width) * (weights @ x)
            total += float(h @ h) / width
        return total / draws

    return work


def torch_loop(width: int, depth: int, draws: int) -> Callable[[], float]:
    """Return the same with PyTorch, in float64, weights filled in place."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)
    weights, norm = torch.empty(width, width, dtype=torch.float64), torch.nn.functional.layer_norm

    def work() -> float:
        total = 0.0
        for _ in range(draws):
            h = torch.randn(width, dtype=torch.float64)
            for _ in range(depth):
                weights.normal_()
                h.add_(
                    weights.mv(torch.relu(norm(h, (width,), eps=0.0))),
                    alpha=RHO * (2 / width) ** 0.5,
                )
            total += float(h.dot(h)) / width
        return total / draws

    return work


def loops(rounds: int, part: int) -> tuple[dict[str, Any], list[str]]:
    """Time the pre-LN networks of both samplers and of the loops of peers, per network."""
    depth, missing = 10, []
    counts = {"NumPy": 2, "dense": 4, "function-space": 2000 // part}
    works: dict[str, Callable[[], Any]] = {"NumPy": numpy_loop(WIDTH, depth, counts["NumPy"])}
    for method in ("dense", "function-space"):
        branch = BRANCHES["LayerNorm"]
        works[method] = drawing(branch, 1.0, depth, counts[method], method)
    if importlib.util.find_spec("torch") is None:
        missing.append("torch")
    else:
        counts["PyTorch"] = 2
        works["PyTorch"] = torch_loop(WIDTH, depth, 2)
    times = interleaved({name: processed(work) for name, work in works.items()}, rounds)
    each = {name: seconds / counts[name] for name, seconds in times.items()}
    table = {name: spread(seconds / each["dense"]) for name, seconds in each.items()}
    for name, ratio in table.items():
        print(f"a pre-LN network, {name:24s} {ratio['median']:9.3f} of dense")
    return table, missing


def beside_tangents(python: str | None, rounds: int, part: int) -> dict[str, Any]:
    """Compare the kernel of all pairs of inputs with neural-tangents; its LayerNorm is the peer."""
    if python is None:
        return {"available": False, "reason": "no interpreter given with --tangents"}
    try:
        return _beside_tangents(Worker(Path(python), 1), rounds, part)
    except (Unavailable, OSError) as error:
        return {"available": False, "reason": str(error)}


def _beside_tangents(worker: Worker, rounds: int, part: int) -> dict[str, Any]:
    depth = 20 // part
    data = np.random.default_rng(3).normal(size=(INPUTS // part, 4))
    rho, weight, bias = GRID
    branch = Branch(LayerNorm(), RELU, Linear(weight, bias))
    net = ResNet(branch, scale=rho, depth=depth, read_in=Linear(1, 0))
    recursion, numbers = kernel(net, 2), dict(zip(("rho", "weight", "bias"), GRID, strict=True))

    def ours() -> object:
        return evaluate(recursion, inputs=data, outputs="K")

    request = {"name": "norm", "activation": "layer norm, relu", "depth": depth}
    compiling, found = worker.kernels({"x1": data, "x2": data, **numbers}, **request)
    theirs = found["nngp"]
    mine = np.asarray(evaluate(recursion, inputs=data, outputs="K")["K"])[-1]
    ways = {"ours": clocked(ours), "theirs": lambda: worker.ask(do="run", **request)}
    times = interleaved(ways, rounds)
    worker.close()
    ratio = times["theirs"] / times["ours"]
    difference = float(np.abs(mine - theirs).max() / np.abs(mine).max())
    print(
        f"neural-tangents, {len(data)} inputs: {np.median(ratio):.2f} of our time; {difference:.1e}"
    )
    return {
        "available": True,
        "inputs": len(data),
        "depth": depth,
        "seconds_to_compile": compiling,
        "largest_difference": difference,
        "time_over_ours": spread(ratio),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "norms.json")
    parser.add_argument("--tangents", metavar="PYTHON", help="one that imports neural_tangents")
    parser.add_argument("--quick", action="store_true", help="few rounds of small sizes")
    options = parser.parse_args(arguments)
    rounds, part = (2, 10) if options.quick else (9, 1)
    drawn, missing = loops(rounds, part)
    peer = beside_tangents(options.tangents, rounds, part)
    write_record(
        options.out,
        threads=1,
        points=POINTS // part,
        depth=DEPTH // part,
        width=WIDTH,
        kernels=kernels(rounds, part),
        samplers=samplers(rounds, part),
        time_over_dense=drawn,
        not_measured=[*missing, *(["neural-tangents"] if not peer["available"] else [])],
        neural_tangents=peer,
        load_average=os.getloadavg()[0],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
