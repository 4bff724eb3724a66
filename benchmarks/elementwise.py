"""Compare closed averages with neural-tangents over its elementwise layers.

    python benchmarks/elementwise.py [--peer PYTHON] [--out FILE] [--quick]

For every layer and every set of its parameters: the largest difference of ``<phi(x_1) phi(x_2)>``
from an integral over the plane (Gauss-Legendre panels between the breaks, 13 digits), relative to
the root of the product of the variances, and whether it passes; with ``--peer``, an interpreter
that has neural-tangents, the largest difference from its kernels, and from its tangent kernels,
``<phi'(x_1) phi'(x_2)> K_12``, relative to the root of the product of those of both inputs.
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

from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel, tangent_kernel
from resexpand.activations import activation_law
from resexpand.activations.singularities import breakpoints
from resexpand.errors import UnsupportedError
from resexpand.export.record import write_record

RESULTS = Path(__file__).with_name("results")
WORKER = Path(__file__).with_name("elementwise_worker.py")
LIMIT, LIMIT_FROM_PEER = 1e-12, 1e-10
Peer = list[float]
"""Covariance and tangent kernel of a pair."""

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


def tangents(expression: sp.Expr, pairs: tuple[tuple[float, float, float], ...]) -> Any:
    """Return our tangent kernels and their scales; None for what jumps and has none."""
    head = [Activation(expression), Linear(1, 0)]
    net = ResNet(Branch(*head), scale=0, depth=1, read_out=head)
    covariances = np.array([[[a, c], [c, b]] for a, c, b in pairs])
    theory = tangent_kernel(net, 2, trained="read_in")
    try:
        found = evaluate(theory, K0=covariances, outputs="NTK")["NTK"]
    except UnsupportedError:
        return None
    return found[:, 0, 1], np.sqrt(found[:, 0, 0] * found[:, 1, 1])


def row(case: Case, peer: list[Peer | None]) -> dict[str, Any]:
    """Return one line of the table."""
    name, parameters, expression = case
    pairs = covariances(name)
    own, scale, status = computed(expression, pairs)
    reference = np.array([integral(expression, *pair) for pair in pairs])
    error = float(np.max(np.abs(own - reference) / scale))
    asked = any(p is not None for p in peer)
    against = [abs(o - p[0]) / s for o, p, s in zip(own, peer, scale, strict=True) if p]
    moved = tangents(expression, pairs) if asked else None
    tangent = (
        [abs(o - p[1]) / s for o, p, s in zip(moved[0], peer, moved[1], strict=True) if p]
        if moved
        else []
    )
    return {
        "layer": name,
        "parameters": parameters,
        "function": str(expression),
        "closed": activation_law(expression).pair is not None,
        "difference": error,
        "passes": error <= LIMIT and max(tangent, default=0.0) <= LIMIT_FROM_PEER,
        "status": status,
        "difference_from_peer": float(max(against)) if against else None,
        "tangent_difference_from_peer": float(max(tangent)) if tangent else None,
    }


def peer_values(python: str | None, grid: list[Case]) -> list[list[Peer | None]]:
    """Return the covariances of neural-tangents, None where there is none."""
    if python is None:
        return [[None] * len(covariances(name)) for name, _, _ in grid]
    asked = [[name, parameters, covariances(name)] for name, parameters, _ in grid]
    done = subprocess.run(
        [python, str(WORKER)], input=json.dumps(asked), check=True, capture_output=True, text=True
    )
    answers: list[list[Peer | None]] = json.loads(done.stdout)
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
        moved = line["tangent_difference_from_peer"]
        apart = f"{line['difference']:.1e} {verdict}" + ("" if moved is None else f" {moved:.1e}")
        print(f"{line['layer']:18s} {line['parameters']!s:32s} {apart}")
    write_record(options.out, limit=LIMIT, limit_from_peer=LIMIT_FROM_PEER, layers=table)
    return 0 if all(line["passes"] for line in table) else 1


if __name__ == "__main__":
    sys.exit(main())
