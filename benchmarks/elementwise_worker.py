"""Kernels and tangent kernels of the elementwise layers of neural-tangents.

    PYTHON benchmarks/elementwise_worker.py < cases.json

reads a list of layers with their arguments and covariances, and writes for each the covariances
behind it and those of tangents; null where the layer raises. Runs in an interpreter that has it.
"""

from __future__ import annotations

import json
import math
import sys

import jax
from neural_tangents import stax

jax.config.update("jax_enable_x64", True)


def behind(layer: str, arguments: dict[str, object], covariance: list[float]) -> list[float]:
    """Return the covariance of a pair behind one layer, and the tangent kernel."""
    a, c, b = covariance
    first = [math.sqrt(2 * a), 0.0]
    along = c / math.sqrt(a)
    second = [math.sqrt(2) * along, math.sqrt(2 * max(b - along**2, 0.0))]
    dense = stax.Dense(1, W_std=1.0, b_std=0.0)
    _, _, kernel = stax.serial(dense, getattr(stax, layer)(**arguments))
    x = jax.numpy.array([first, second])
    found = kernel(x, None, ("nngp", "ntk"))
    return [float(found.nngp[0, 1]), float(found.ntk[0, 1])]


def main() -> int:
    """Answer the list of cases."""
    answers = []
    for layer, arguments, pairs in json.load(sys.stdin):
        try:
            answers.append([behind(layer, arguments, pair) for pair in pairs])
        except (NotImplementedError, ValueError, AttributeError, TypeError):
            answers.append([None] * len(pairs))
    json.dump(answers, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
