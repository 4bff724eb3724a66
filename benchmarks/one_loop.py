"""The order 1/N beside the obvious way: dense quadrature of every source, full matrices.

    python benchmarks/one_loop.py [--out FILE] [--quick]

Ours is what a user calls, `evaluate(one_loop(net), K0=1.0)`, with everything it returns. The
obvious way takes the sources from a product rule of Gauss-Hermite nodes and multiplies full
matrices with NumPy; it is given the mean-field numbers for nothing. Where both can run, the largest
difference of `C_cov` is recorded: Gauss-Hermite loses digits as the activation saturates.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

# One core: both ways multiply matrices, which would take all there are.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
from timing import clocked, interleaved, spread  # noqa: E402

from resexpand import Activation, Branch, Linear, ResNet, evaluate, one_loop  # noqa: E402
from resexpand.activations import activation_law  # noqa: E402
from resexpand.export.record import write_record  # noqa: E402
from resexpand.numbers.one_loop.features import features  # noqa: E402

RESULTS = Path(__file__).with_name("results")
PAIR = np.array([[1.0, 0.3], [0.3, 0.7]])
NODES = 64


def network(name: str, depth: int) -> ResNet:
    return ResNet(Branch(Activation(name), Linear(1.2, 0.05)), scale=depth**-0.5, depth=depth)


def obvious(name: str, depth: int) -> np.ndarray:
    """Return ``N Cov(C)`` by Gauss-Hermite and full matrices."""
    net = network(name, depth)
    values = evaluate(one_loop(net).layers, K0=1.0)
    kernel, response = values["K"], values["response_1_0_0"]
    z, weight = np.polynomial.hermite_e.hermegauss(NODES)
    weight = weight / weight.sum()
    law = activation_law(name)
    size = depth + 1
    source = np.empty((size, size))
    for m in range(size):
        x = np.sqrt(kernel[m]) * z
        f = features(law, x)[0] ** 2
        centred = weight * (f - weight @ f)
        for n in range(m, size):
            y = x[:, None] + np.sqrt(kernel[n] - kernel[m]) * z
            source[m, n] = source[n, m] = centred @ (features(law, y)[0] ** 2 @ weight)
    scale = float(net.scale) ** 2
    squares = scale * np.tril(np.ones((size, size)), -1)
    matrix = np.linalg.inv(np.eye(size) - response[:, None] * squares)
    return np.asarray(1.44 * matrix @ source @ matrix.T)


def ours(name: str, depth: int, inputs: int = 1) -> Any:
    """Return the evaluation as a user calls it."""
    theory = one_loop(network(name, depth), inputs=inputs)
    return lambda: evaluate(theory, K0=1.0 if inputs == 1 else PAIR)


def measured(rounds: int, depths: tuple[int, int], pairs: tuple[str, ...]) -> dict[str, Any]:
    """Run all cases and return the table."""
    shallow, deep = depths
    cases: dict[str, Any] = {
        f"{name}, depth {shallow}": ours(name, shallow) for name in ("erf_unit", "relu", "tanh")
    }
    cases[f"erf_unit, depth {deep}"] = ours("erf_unit", deep)
    cases |= {
        f"{name}, two inputs, depth {shallow // 5}": ours(name, shallow // 5, 2) for name in pairs
    }
    peers = {
        f"{name}, depth {shallow}": (lambda n=name: obvious(n, shallow))
        for name in ("erf_unit", "tanh")
    }
    running = {name: clocked(work) for name, work in cases.items()}
    running |= {f"{name}: obvious way": clocked(work) for name, work in peers.items()}
    times = interleaved(running, rounds)
    table: dict[str, Any] = {name: {"seconds": spread(times[name])} for name in cases}
    for name, work in cases.items():
        values = work()
        table[name]["quadrature_error"] = max(values.quadrature_error.values(), default=0.0)
        table[name]["status"] = values.status
    for name, work in peers.items():
        other = times[f"{name}: obvious way"]
        exact = cases[name]()["C_cov"]
        table[name]["obvious_way"] = {
            "seconds": spread(other),
            "time_over_ours": spread(other / times[name]),
            "relative_difference": float(np.abs(work() - exact).max() / np.abs(exact).max()),
        }
    return table


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "one_loop.json")
    parser.add_argument("--quick", action="store_true", help="small depths, few rounds and pairs")
    options = parser.parse_args(arguments)
    rounds, depths = (2, (10, 30)) if options.quick else (5, (100, 1000))
    # A pair without closed forms is compiled longer than all else takes.
    table = measured(rounds, depths, ("erf_unit", "relu", "tanh")[: 2 if options.quick else 3])
    write_record(
        options.out, cores=1, rounds=rounds, nodes_of_the_obvious_way=NODES, one_loop=table
    )
    for name, row in table.items():
        peer = row.get("obvious_way")
        ratio = f"   obvious way x {peer['time_over_ours']['median']:.3g}" if peer else ""
        print(f"{name:42s} {row['seconds']['median']:.4f} s{ratio}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
