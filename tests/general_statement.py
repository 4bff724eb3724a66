r"""The general statement of the order 1/N by brute force, for one input: a second opinion.

A neuron is a vector of standard normals ``xi``, one per linear operation; a signal is linear in it,
``loads . xi + shift``, with loads and shift that depend on the collective variables ``X``. Every
variable is the average of a function of one neuron. Derivatives are finite differences, averages
trapezoidal sums: no chain rule, no Price, no Stein. Covariances and means are

    R S R^T,   R [ F'' : (R S R^T) / 2 + d/dt Cov(f_a at X + t R_k, f_k at X) summed over k ].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function = Callable[[Array], Array]
NODES = np.linspace(-8.5, 8.5, 121)
WEIGHTS = np.exp(-(NODES**2) / 2) / np.sqrt(2 * np.pi) * (NODES[1] - NODES[0])
STEP = 2e-3


@dataclass(frozen=True)
class Signal:
    """``function(loads . xi + shift)``."""

    loads: Array
    shift: float
    function: Function = lambda y: y

    @property
    def is_linear(self) -> bool:
        return self.function(np.array([0.3]))[0] == 0.3


@dataclass(frozen=True)
class Variable:
    """An average over the neurons: of a function of a signal."""

    kind: str
    signal: Signal
    function: Function


@dataclass(frozen=True)
class Program:
    """A network: ``("norm", eps, centred)``, ``("linear", w, b)`` and functions in a branch."""

    ops: Sequence[object]
    scale: float
    depth: int
    variance: float
    post: tuple[str, float, bool] | None = None

    def variables(self, x: Sequence[float] | None = None) -> tuple[list[Variable], list[float]]:
        """Return the variables; values come from `x`, or are those of infinite width."""
        found: list[Variable] = []
        values: list[float] = []
        count = 1 + (self.depth + 1) * len(self.ops)

        def average(kind: str, signal: Signal, function: Function) -> float:
            found.append(Variable(kind, signal, function))
            mean = float(WEIGHTS @ self._of(found[-1], NODES)) if x is None else x[len(values)]
            values.append(mean)
            return mean

        def through(signal: Signal, op: object) -> Signal:
            if callable(op):
                return replace(signal, function=op)
            name, *given = op  # type: ignore[misc]
            if name == "linear":
                w, b = given
                inner = signal.function
                c = average("C", signal, lambda y: w * inner(y) ** 2 + b)
                loads = np.zeros(count)
                loads[1 + sum(v.kind == "C" for v in found)] = np.sqrt(c)
                return Signal(loads, 0.0)
            eps, centred = given
            m = average("m", signal, lambda y: y) if centred else 0.0
            s = average("s", signal, lambda y: (y - m) ** 2)
            root = np.sqrt(s + eps)
            return Signal(signal.loads / root, (signal.shift - m) / root)

        start = np.zeros(count)
        start[0] = np.sqrt(self.variance)
        stream = Signal(start, 0.0)
        for _ in range(self.depth + 1):
            signal = stream
            for op in self.ops:
                signal = through(signal, op)
            stream = Signal(stream.loads + self.scale * signal.loads, stream.shift)
            if self.post:
                stream = through(stream, self.post)
        return found, values

    @staticmethod
    def _of(variable: Variable, z: Array) -> Array:
        signal = variable.signal
        return variable.function(signal.shift + np.linalg.norm(signal.loads) * z)

    def averages(self, x: Sequence[float]) -> Array:
        """Return ``F(X)``."""
        return np.array([float(WEIGHTS @ self._of(v, NODES)) for v in self.variables(x)[0]])


def covariance(first: Variable, second: Variable) -> float:
    """Return the covariance of two functions of one neuron."""
    a, b = first.signal, second.signal
    size = np.linalg.norm(b.loads)
    along = a.loads @ b.loads / size
    rest = np.sqrt(max(a.loads @ a.loads - along**2, 0.0))
    z = NODES[:, None]
    f = first.function(a.shift + along * z + rest * NODES) @ WEIGHTS
    g = second.function(b.shift + size * NODES)
    return float(WEIGHTS @ (f * (g - WEIGHTS @ g)))


def order_one_over_n(program: Program) -> dict[str, Array]:
    """Return ``N Cov(X)``, ``N E dX`` and its conditioning, and the kinds of the variables."""
    variables, values = program.variables()
    x, size = np.array(values), len(values)
    eye = np.eye(size) * STEP

    def shifted(*moves: Array) -> Array:
        return program.averages(x + sum(moves))

    slopes = np.array(
        [(8 * (shifted(e) - shifted(-e)) - shifted(2 * e) + shifted(-2 * e)) / 12 for e in eye]
    ).T
    curved = np.array(
        [
            [shifted(a, b) - shifted(a, -b) - shifted(-a, b) + shifted(-a, -b) for b in eye]
            for a in eye
        ]
    )
    curved = np.moveaxis(curved, -1, 0) / (4 * STEP**2)
    whole = np.linalg.inv(np.eye(size) - slopes / STEP)
    source = np.array([[covariance(a, b) for b in variables] for a in variables])
    spread = whole @ source @ whole.T
    felt = np.zeros(size)
    for k, other in enumerate(variables):
        ends = []
        for side in (1, -1):
            moved, _ = program.variables(x + side * STEP * whole[:, k])
            ends.append(np.array([covariance(v, other) for v in moved]))
        felt += (ends[0] - ends[1]) / (2 * STEP)
    bent = np.einsum("abc,bc->a", curved, spread) / 2
    return {
        "covariance": spread,
        "mean": whole @ (bent + felt),
        "conditioning": whole @ felt,
        "kinds": np.array([v.kind for v in variables]),
    }
