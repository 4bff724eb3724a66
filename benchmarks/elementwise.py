"""Compare closed averages with neural-tangents over its elementwise layers.

    python benchmarks/elementwise.py [--peer PYTHON] [--out FILE] [--quick]

For every layer and every set of its parameters: the largest difference of ``<phi(x_1) phi(x_2)>``
from an integral over the plane (Gauss-Legendre panels between the breaks, 13 digits), relative to
the root of the product of the variances, and whether it passes; with ``--peer``, an interpreter
that has neural-tangents, the largest difference from its kernels.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp
from elementwise_cases import Case, X, cases, covariances

from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel
from resexpand.activations import activation_law
from resexpand.activations.singularities import breakpoints
from resexpand.export.record import write_record

RESULTS = Path(__file__).with_name("results")
WORKER = Path(__file__).with_name("elementwise_worker.py")
LIMIT = 1e-12
NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)
Array = np.ndarray[Any, np.dtype[np.float64]]


def panels(breaks: list[float], width: float) -> tuple[Array, Array]:
    """Return nodes and weights over twelve deviations, split at the breaks."""
    edges = np.unique([*np.linspace(-12 * width, 12 * width, 25), *breaks])
    edges = edges[np.abs(edges) <= 12 * width]
    half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    return (middle[:, None] + half[:, None] * NODES).ravel(), (half[:, None] * WEIGHTS).ravel()


def integral(expression: sp.Expr, a: float, c: float, b: float) -> float:
    """Return ``<phi(x_1) phi(x_2)>`` by a product rule."""
    phi = sp.lambdify(X, expression, modules=["scipy", "numpy"])
    breaks = [float(point) for point in breakpoints(expression, X)] or [0.0]
    (x, left), (y, right) = panels(breaks, math.sqrt(a)), panels(breaks, math.sqrt(b))
    determinant = a * b - c * c
    form = b * x[:, None] ** 2 - 2 * c * x[:, None] * y + a * y**2
    density = np.exp(-form / (2 * determinant)) / (2 * np.pi * math.sqrt(determinant))
    return float((left * phi(x)) @ density @ (right * phi(y)))


def computed(expression: sp.Expr, pairs: tuple[tuple[float, float, float], ...]) -> Any:
    """Return our covariances, their scales, and the status."""
    net = ResNet(Branch(Activation(expression), Linear(1, 0)), scale=1, depth=1)
    found = evaluate(kernel(net, inputs=2), K0=np.array([[[a, c], [c, b]] for a, c, b in pairs]))
    first = found["C"][:, 0]
    return first[:, 0, 1], np.sqrt(first[:, 0, 0] * first[:, 1, 1]), found.status


def row(case: Case, peer: list[float | None]) -> dict[str, Any]:
    """Return one line of the table."""
    name, parameters, expression = case
    pairs = covariances(name)
    own, scale, status = computed(expression, pairs)
    reference = np.array([integral(expression, *pair) for pair in pairs])
    error = float(np.max(np.abs(own - reference) / scale))
    against = [abs(o - p) / s for o, p, s in zip(own, peer, scale, strict=True) if p is not None]
    return {
        "layer": name,
        "parameters": parameters,
        "function": str(expression),
        "closed": activation_law(expression).pair is not None,
        "difference": error,
        "passes": error <= LIMIT,
        "status": status,
        "difference_from_peer": float(max(against)) if against else None,
    }


def peer_values(python: str | None, grid: list[Case]) -> list[list[float | None]]:
    """Return the covariances of neural-tangents, None where there is none."""
    if python is None:
        return [[None] * len(covariances(name)) for name, _, _ in grid]
    asked = [[name, parameters, covariances(name)] for name, parameters, _ in grid]
    done = subprocess.run(
        [python, str(WORKER)], input=json.dumps(asked), check=True, capture_output=True, text=True
    )
    answers: list[list[float | None]] = json.loads(done.stdout)
    return answers


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "elementwise.json")
    parser.add_argument("--peer", help="Python interpreter that has neural-tangents")
    parser.add_argument("--quick", action="store_true", help="three layers")
    options = parser.parse_args(arguments)
    grid = cases()[::18] if options.quick else cases()
    answers = peer_values(options.peer, grid)
    table = [row(case, peer) for case, peer in zip(grid, answers, strict=True)]
    for line in table:
        verdict = "pass" if line["passes"] else "FAIL"
        print(f"{line['layer']:18s} {line['parameters']!s:32s} {line['difference']:.1e} {verdict}")
    write_record(options.out, limit=LIMIT, layers=table)
    return 0 if all(line["passes"] for line in table) else 1


if __name__ == "__main__":
    sys.exit(main())
