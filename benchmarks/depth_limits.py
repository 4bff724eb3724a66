"""Cost of correlated layers and of infinite depth, beside what they cannot do without.

    python benchmarks/depth_limits.py [--out FILE] [--quick]

Processor time; contenders are timed in turn within a round, and ratios are taken round by round.
The kernel of two layers at depth 1000; the sampler of correlated layers at depth 200 and width 256
beside its normals and its linear algebra (two products of a matrix and a vector and two solutions
of triangular equations a block, in NumPy and SciPy); the equation of infinite depth beside as many
normals.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp
from scipy.linalg import solve_triangular
from timing import interleaved, processed, spread

from resexpand import (
    Activation,
    Branch,
    FractionalBrownian,
    Linear,
    ResNet,
    depth_limit,
    evaluate,
    kernel,
    sample,
    sample_depth_limit,
)
from resexpand.export.record import write_record
from resexpand.montecarlo.random.normals import fill_normals

RESULTS = Path(__file__).with_name("results")
RELU, L = Activation("relu"), sp.Symbol("L", integer=True, positive=True)
LAW = FractionalBrownian(0.7)


def kernels(rounds: int, depth: int) -> dict[str, Any]:
    """Time the kernel of two layers."""
    nets = {
        name: ResNet(Branch(Activation(name), Linear(1, 0)), scale=0.02, depth=depth, layers=LAW)
        for name in ("relu", "erf")
    }
    theories = {name: kernel(net) for name, net in nets.items()}

    def ways(theory: Any) -> Callable[[], object]:
        return lambda: evaluate(theory, K0=1.0, outputs="K")

    times = interleaved({name: processed(ways(t)) for name, t in theories.items()}, rounds)
    return {name: spread(values) for name, values in times.items()}


def normals(count: int, width: int) -> Callable[[], object]:
    """Return what makes vectors of normals as the samplers do."""
    out, zero = np.empty(width), np.uint64(0)

    def work() -> None:
        for k in range(count):
            fill_normals(zero, zero, np.uint64(k), zero, zero, out, width)

    return work


def algebra(draws: int, depth: int, width: int) -> Callable[[], object]:
    """Return the linear algebra of a history of features and images."""
    rng = np.random.default_rng(0)
    features, images = rng.normal(size=(2, depth, width))
    factor = np.linalg.cholesky(np.eye(depth) + features @ features.T / width)

    def work() -> None:
        for _ in range(draws):
            for l in range(1, depth):  # noqa: E741
                known = features[:l] @ features[l]
                half = solve_triangular(factor[:l, :l], known, lower=True, check_finite=False)
                images[:l].T @ solve_triangular(
                    factor[:l, :l], half, lower=True, trans=1, check_finite=False
                )

    return work


def sampler(rounds: int, depth: int, draws: int, width: int = 256) -> dict[str, Any]:
    """Time the sampler of correlated layers beside its floor."""
    net = ResNet(Branch(RELU, Linear(1, 0)), scale=0.02, depth=depth, layers=LAW)
    times = interleaved(
        {
            "sampler": processed(
                lambda: sample(net, "kernel", width, draws, K0=1.0, method="cholesky", workers=1)
            ),
            "normals": processed(normals(draws * depth, width)),
            "algebra": processed(algebra(draws, depth, width)),
        },
        rounds,
    )
    floor = times["normals"] + times["algebra"]
    return {"over floor": spread(times["sampler"] / floor)} | {
        name: spread(values) for name, values in times.items()
    }


def equation(rounds: int, steps: int, draws: int, width: int = 1024) -> dict[str, Any]:
    """Time the equation of infinite depth beside its normals."""
    branch = Branch(Linear(1, 0), RELU, Linear(2, 0))
    limit = depth_limit(ResNet(branch, scale=1 / sp.sqrt(L), depth=L))
    how = {"width": width, "steps": steps, "draws": draws}
    found = {}
    for inputs in (1, 2):
        K0 = 1.0 if inputs == 1 else np.eye(2)
        times = interleaved(
            {
                "equation": processed(lambda K0=K0: sample_depth_limit(limit, K0=K0, **how)),
                "normals": processed(normals(inputs * steps * draws, width)),
            },
            rounds,
        )
        ratio = times["equation"] / times["normals"]
        found[f"{inputs} inputs"] = {"over normals": spread(ratio)} | {
            name: spread(values) for name, values in times.items()
        }
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "depth_limits.json")
    parser.add_argument("--quick", action="store_true", help="few rounds of small sizes")
    options = parser.parse_args(arguments)
    rounds, part = (2, 10) if options.quick else (5, 1)
    write_record(
        options.out,
        kernels=kernels(rounds, 1000 // part),
        sampler=sampler(rounds, 200 // part, 40),
        equation=equation(rounds, 100 // part, 100),
        load_average=os.getloadavg()[0],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
