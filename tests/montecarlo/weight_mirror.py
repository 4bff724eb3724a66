"""The weights of the dense sampler as NumPy arrays, to run its networks by other means.

Weights and biases are rebuilt from the counters that the sampler's documentation states; what is
done with them afterwards shares nothing with the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from resexpand import Linear, ResNet
from resexpand.montecarlo.random.normals import fill_normals
from resexpand.montecarlo.random.philox import split_seed
from resexpand.montecarlo.random.streams import DENSE_FIRST, INPUT, stream_word

Step = tuple[np.ndarray, np.ndarray] | Callable[[np.ndarray], np.ndarray]


def normals(index: int, word: int, draw: int, count: int, seed: int) -> np.ndarray:
    """Return the first entries of one vector of normals."""
    out = np.empty(count)
    words = map(np.uint64, (*split_seed(seed), index, word, draw))
    fill_normals(*words, out, count)
    return out


@dataclass(frozen=True)
class Mirror:
    """One network of the dense sampler: `start` is h^0, `blocks` its branches, last scale first.

    A branch is a list of steps, each a pair (W, b) or a function.
    """

    start: np.ndarray
    scales: tuple[float, ...]
    blocks: tuple[tuple[Step, ...], ...]

    def run(self, factor: complex = 1.0, depth: int | None = None) -> np.ndarray:
        """Return h^l with every scale multiplied by a factor, for l = depth."""
        h = self.start.astype(type(factor))
        for scale, block in list(zip(self.scales, self.blocks, strict=True))[:depth]:
            h = h + factor * scale * self.branch(block, h)
        return h

    @staticmethod
    def branch(block: Iterable[Step], x: np.ndarray) -> np.ndarray:
        """Return what a branch makes of a vector."""
        for step in block:
            x = step(x) if callable(step) else step[0] @ x + step[1]
        return x


def mirror(
    net: ResNet, functions: Iterable[Callable], width: int, K0: float, draw: int, seed: int = 1
) -> Mirror:
    """Return one network; `functions` stand for the activations of the branch, in order."""
    blocks = []
    scales = net.scale if isinstance(net.scale, tuple) else (net.scale,) * int(net.depth)
    for layer in range(1, len(scales) + 1):
        phis = iter(functions)
        block = [
            _linear(op, layer, j, width, draw, seed) if isinstance(op, Linear) else next(phis)
            for j, op in enumerate(net.branch.ops)
        ]
        blocks.append(tuple(block))
    start = np.sqrt(K0) * normals(0, stream_word(0, INPUT), draw, width, seed)
    return Mirror(start, tuple(map(float, scales)), tuple(blocks))


def _linear(
    op: Linear, layer: int, j: int, width: int, draw: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    word = stream_word(layer, DENSE_FIRST + 2 * j)
    rows = np.array([normals(i, word, draw, width, seed) for i in range(width)])
    bias = normals(0, stream_word(layer, DENSE_FIRST + 2 * j + 1), draw, width, seed)
    weight = np.sqrt(float(op.weight_variance) / width) * rows
    return weight, np.sqrt(float(op.bias_variance)) * bias
