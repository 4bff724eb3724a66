r"""The problem of the benchmark: networks, hyperparameter points, and what is to be computed.

A residual network of identical blocks, :math:`h^l = h^{l-1} + \rho (W \phi(h^{l-1}) + b)`. At every
point :math:`(\rho, \sigma_w^2, \sigma_b^2, K^0)` all layers of the covariance kernel are wanted and
of its response :math:`\chi^{l,0}` to the kernel at layer 0: :math:`K^l` and
:math:`\partial K^l / \partial K^0` for one input; :math:`K_{11}, K_{12}, K_{22}` and
:math:`\partial K_{12}^l / \partial K_{12}^0` for a pair. A *pair-layer* is one such update.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand import Activation, Branch, Linear, ResNet, compile_routine, response
from resexpand.codegen.routine import Routine

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One activation and a number of inputs, over all points."""

    activation: str
    inputs: int
    depth: int
    parameters: tuple[Array, ...]
    """rho, sigma_w2, sigma_b2, then K0 or K0_11, K0_12, K0_22; one value per point each."""

    @property
    def name(self) -> str:
        """Name in the record."""
        return f"{self.activation}, {'one input' if self.inputs == 1 else 'pair of inputs'}"

    @property
    def points(self) -> int:
        """Number of points."""
        return self.parameters[0].size

    @property
    def pair_layers(self) -> int:
        """Updates in one evaluation."""
        return self.points * self.depth

    @property
    def slots(self) -> int:
        """Numbers kept per point and layer."""
        return 2 if self.inputs == 1 else 4

    def routine(self, outputs: Sequence[str] = ("K", "chi_0"), **how: Any) -> Routine:
        """Return the generated routine; the options are those of `compile_routine`."""
        net = ResNet(
            Branch(Activation(self.activation), Linear()), scale=sp.Symbol("rho"), depth=self.depth
        )
        kind = "variance" if self.inputs == 1 else "covariance"
        return compile_routine(response(net, kind=kind), outputs=list(outputs), **how)

    def hyperparameters(self) -> dict[str, Any]:
        """Return the keywords of a call of the routine."""
        rho, weight, bias, *kernel = self.parameters
        return {"rho": rho, "sigma_w2": weight, "sigma_b2": bias, "K0": self._kernel(kernel)}

    def _kernel(self, entries: list[Array]) -> Array:
        if self.inputs == 1:
            return entries[0]
        first, cross, second = entries
        return np.stack([first, cross, cross, second], axis=-1).reshape(-1, 2, 2)


def draw_case(activation: str, inputs: int, points: int, depth: int, seed: int = 1) -> Case:
    """Draw the points of a case: every hyperparameter differs from point to point."""
    rng = np.random.default_rng(seed)
    rho, weight = rng.uniform(0.05, 0.4, points), rng.uniform(0.5, 2.0, points)
    bias, first, second = (
        rng.uniform(low, high, points) for low, high in ((0.0, 0.2), (0.2, 2.0), (0.2, 2.0))
    )
    cross = rng.uniform(-0.9, 0.9, points) * np.sqrt(first * second)
    kernel = (first,) if inputs == 1 else (first, cross, second)
    return Case(activation, inputs, depth, (rho, weight, bias, *kernel))
