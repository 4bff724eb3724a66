"""Dense networks with all their weights that take a step of training, many at once.

The derivative by a weight matrix is a product of two vectors; along a step it acts as such, unless
the tangent kernel behind the step is asked for. Linear maps have weights of variance `WEIGHTS` over
the width and biases of variance `BIASES`; the input has the variance `K0`, and trained parameters
are normals of variance one in front of these factors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

K0, WEIGHTS, BIASES = 0.8, 1.5, 0.1

STEP = 1e-3
"""Rate of the sampled steps: changes are even and odd differences of two of them."""

LONG = 0.03
"""The same for the tangent kernel, which jumps where a relu switches."""

ACTIVATIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "erf": (special.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-x * x)),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float)),
}
"""Functions with their derivatives."""

BRANCHES = {"W phi(h)": "phi W", "V phi(W h)": "W phi W"}
"""Operations in their order."""


@dataclass(frozen=True)
class Dense:
    """Networks with all their weights, many at once: arrays (networks, neurons)."""

    branch: str
    activation: str
    depth: int
    scale: float
    width: int

    def changes(
        self, count: int, rng: np.random.Generator, reads_in: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what a step does to ``|h^L|^2``: first order times the output, second order."""
        start, weights, out = self._drawn(count, rng)
        met, last, y, gradients, first = self._gradients(start, weights, out)
        ends = [
            self._forward(
                start + (sign * STEP * K0 * first if reads_in else 0),
                weights,
                (sign * STEP, met, gradients),
            )[1]
            for sign in (1, -1)
        ]
        high, low, here = ((h**2).sum(axis=1) for h in (*ends, last))
        return -y * (high - low) / (2 * STEP), (high + low - 2 * here) / (2 * STEP**2)

    def kernel_changes(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray]:
        """Return N times what a step of all parameters does to the tangent kernel, times -y."""
        start, weights, out = self._drawn(count, rng)
        met, last, y, gradients, first = self._gradients(start, weights, out)
        ends = []
        for size in (LONG, -LONG):
            moved = [
                (
                    matrix + size * WEIGHTS / self.width * g[..., None] * x[:, None],
                    bias + size * BIASES * g,
                )
                for (matrix, bias), g, x in zip(weights, gradients, self._read(met), strict=True)
            ]
            read = self._opened(last)[0]
            at = start + size * K0 * first, moved, out + size * read / self.width
            ends.append(self._kernel(*at))
        return (-y * self.width * (ends[0] - ends[1]) / (2 * LONG),)

    def _drawn(self, count: int, rng: np.random.Generator) -> tuple[Any, list[Any], Any]:
        """Return inputs, weights with biases, and read-outs."""
        size, maps = (count, self.width), BRANCHES[self.branch].split().count("W") * self.depth
        weights = [
            (
                rng.standard_normal((*size, self.width)) * np.sqrt(WEIGHTS / self.width),
                rng.standard_normal(size) * np.sqrt(BIASES),
            )
            for _ in range(maps)
        ]
        start = rng.standard_normal(size) * np.sqrt(K0)
        return start, weights, rng.standard_normal(size) / np.sqrt(self.width)

    def _opened(self, last: Any) -> tuple[Any, Any]:
        """Return what the read-out reads, and its slope."""
        phi, slope = ACTIVATIONS[self.activation]
        opens = BRANCHES[self.branch].startswith("phi")
        return (phi(last), slope(last)) if opens else (last, np.ones_like(last))

    def _read(self, met: list[Any]) -> list[Any]:
        """Return what the linear operations meet."""
        ops = BRANCHES[self.branch].split() * self.depth
        return [x for name, x in zip(ops, met, strict=True) if name == "W"]

    def _gradients(self, start: Any, weights: Any, out: Any) -> tuple[Any, ...]:
        """Return what operations meet, the last state, the output, and its gradients."""
        met, last = self._forward(start, weights, None)
        read, slope = self._opened(last)
        first, gradients = self._backward(out * slope, weights, met)
        return met, last, (out * read).sum(axis=1), gradients, first

    def _kernel(self, start: Any, weights: Any, out: Any) -> Any:
        """Return the tangent kernel of all parameters."""
        met, last, _, gradients, first = self._gradients(start, weights, out)
        total = K0 * (first**2).sum(axis=1) + (self._opened(last)[0] ** 2).sum(axis=1) / self.width
        for g, x in zip(gradients, self._read(met), strict=True):
            share = WEIGHTS / self.width * (x**2).sum(axis=1) + BIASES
            total = total + share * (g**2).sum(axis=1)
        return total

    def _forward(self, h: Any, weights: Any, step: Any) -> tuple[list[Any], Any]:
        """Return what every operation met, and the last state; behind a step if one is given.

        The derivative by a weight matrix is a product of two vectors and acts as such.
        """
        phi, met, number = ACTIVATIONS[self.activation][0], [], 0
        for _ in range(self.depth):
            x = h
            for name in BRANCHES[self.branch].split():
                met.append(x)
                if name == "phi":
                    x = phi(x)
                    continue
                matrix, bias = weights[number]
                image = np.matmul(matrix, x[..., None])[..., 0] + bias
                if step is not None:
                    size, before, gradients = step
                    inner = (before[len(met) - 1] * x).sum(axis=1, keepdims=True)
                    share = WEIGHTS / self.width * inner + BIASES
                    image = image + size * share * gradients[number]
                x, number = image, number + 1
            h = h + self.scale * x
        return met, h

    def _backward(self, p: Any, weights: Any, met: Any) -> tuple[Any, list[Any]]:
        """Return ``dy/dh^0``, and the gradients at the images of all linear operations."""
        slope, place, gradients = ACTIVATIONS[self.activation][1], len(met), []
        for _ in range(self.depth):
            g = self.scale * p
            for name in reversed(BRANCHES[self.branch].split()):
                place -= 1
                if name == "phi":
                    g = slope(met[place]) * g
                else:
                    gradients.append(g)
                    g = np.matmul(g[:, None], weights[len(weights) - len(gradients)][0])[:, 0]
            p = p + g
        return p, gradients[::-1]
