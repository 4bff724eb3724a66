r"""Radius of convergence of a measured expansion, estimated from the orders themselves.

Every component of ``F(lambda) = sum_k T_k lambda^k`` is a power series in the factor lambda on all
residual scales; the network itself stands at ``lambda = 1``. Three cases are told apart:

- **entire**: all activations are entire functions (polynomials, exp, sin, erf and what is composed
  of them), so F is entire and the series converges for every lambda. This is a theorem.
- **one pair**: a single pair of complex singularities ``R exp(+-i theta)`` dominates. Then the
  vectors satisfy the recurrence of a first-order differential approximant,

      sum_{i=0}^2 q_i (k+1-i) T_{k+1-i} + sum_{i=0}^1 p_i T_{k-i} = 0,   q_0 = 1,

  whose four numbers follow from the components of all orders by least squares; R is the modulus of
  the roots of ``1 + q_1 z + q_2 z^2`` (Hunter & Baker, Phys. Rev. B 19, 3808 (1979)).
- **many**: the neurons have singularities of their own. Then the norms ``|T_k|`` grow smoothly and
  the ratios obey ``|T_k|/|T_{k-1}| = (1/R)(1 + b/k + ...)`` (Domb & Sykes, 1957): R is the
  reciprocal intercept of a line over 1/k.

The uncertainty is the spread over the windows of orders that the same rule was applied to, joined
with the standard error of the fit; it is a plausible range, not a bound. Where it exceeds half of
the estimate, or the intercept is not positive, the radius counts as not resolved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp

from resexpand.measure.given import Array
from resexpand.network.resnet import Branch

ENTIRE = (sp.exp, sp.sin, sp.cos, sp.sinh, sp.cosh, sp.erf, sp.erfc)
PAIR_RESIDUAL = 0.02
"""Relative residual of the recurrence below which one pair explains the orders."""
SMALLEST = 5
"""Order from which an estimate is tried."""


class ConvergenceWarning(UserWarning):
    """A network lies beyond the radius of convergence of its own expansion."""


@dataclass(frozen=True)
class Radius:
    """An estimated radius of convergence, in units of the network's own scales.

    Attributes
    ----------
    value : float or None
        The estimate; infinite for entire activations; None where it is not resolved.
    uncertainty : float or None
        Half-width of the plausible range.
    method : str
        ``"entire"``, ``"one pair"``, ``"many"`` or ``"not resolved"``.
    """

    value: float | None
    uncertainty: float | None
    method: str

    def __str__(self) -> str:
        if self.value is None:
            return "not resolved"
        if np.isinf(self.value):
            return "infinite (entire activations)"
        return f"{self.value:.3g} +- {self.uncertainty:.2g} ({self.method})"


UNRESOLVED = Radius(None, None, "not resolved")


def is_entire(expression: sp.Expr) -> bool:
    """Whether an expression is entire in its symbols, as far as its form shows it."""
    for node in sp.preorder_traversal(expression):
        whole = isinstance(node, sp.Pow) and node.exp.is_Integer and node.exp >= 0
        constant = not node.free_symbols
        plain = constant or whole or node.is_Symbol or node.is_Add or node.is_Mul
        if not plain and not isinstance(node, ENTIRE):
            return False
    return True


def radius_of(branch: Branch, terms: Array) -> Radius:
    """Estimate the radius of convergence.

    Parameters
    ----------
    branch : Branch
    terms : array, shape (order + 1, ...)
        ``T_0 ... T_k``.
    """
    if all(is_entire(op.expression) for op in branch.activations):
        return Radius(float("inf"), 0.0, "entire")
    vectors = terms.reshape(len(terms), -1)
    norms = np.linalg.norm(vectors, axis=1)
    if len(terms) <= SMALLEST or not (norms[1:] > 0).all():
        return UNRESOLVED
    return one_pair(vectors, norms) or many(norms) or UNRESOLVED


def one_pair(vectors: Array, norms: Array) -> Radius | None:
    """Return the modulus of the one pair of singularities, None if one pair does not explain."""
    growth = float((norms[-1] / norms[-4]) ** (1 / 3))
    order = len(vectors) - 1
    found, residual = zip(
        *(_approximant(vectors, growth, k) for k in range(order - 2, order)), strict=True
    )
    if max(residual) > PAIR_RESIDUAL or not all(found):
        return None
    return _radius(found[-1], abs(found[-1] - found[0]) + residual[-1] * found[-1], "one pair")


def _approximant(vectors: Array, growth: float, last: int) -> tuple[float, float]:
    """Fit the recurrence to three equations up to k = last; return R (0 if none), the residual."""
    columns, right = [], []
    for k in range(last - 2, last + 1):
        weight = growth ** -(k + 1)
        parts = (k * vectors[k], (k - 1) * vectors[k - 1], vectors[k], vectors[k - 1])
        scaled = [
            weight * part * growth**shift for part, shift in zip(parts, (1, 2, 1, 2), strict=True)
        ]
        columns.append(np.stack(scaled, axis=1))
        right.append(-weight * (k + 1) * vectors[k + 1])
    matrix, wanted = np.concatenate(columns), np.concatenate(right)
    if len(wanted) < 5:
        return 0.0, np.inf
    numbers = np.linalg.lstsq(matrix, wanted, rcond=1e-10)[0]
    residual = float(np.linalg.norm(matrix @ numbers - wanted) / np.linalg.norm(wanted))
    if numbers[0] ** 2 >= 4 * numbers[1]:
        return 0.0, np.inf
    return 1 / (growth * float(np.sqrt(numbers[1]))), residual


def many(norms: Array) -> Radius | None:
    """Return the radius from the ratios of the norms, None if it is not resolved."""
    k = np.arange(2.0, len(norms))
    ratios = norms[2:] / norms[1:-1]
    window = max(3, len(ratios) // 2)
    fits = [_line(k[i : i + window], ratios[i : i + window]) for i in range(len(k) - window + 1)]
    intercepts = np.array([fit[0] for fit in fits[-3:]])
    best, error = fits[-1]
    spread = float(np.ptp(intercepts)) + error
    if best <= 0 or spread > best / 2:
        return None
    return _radius(1 / best, spread / best**2, "many")


def _line(k: Array, ratios: Array) -> tuple[float, float]:
    """Return the intercept of a line over 1/k, and its standard error."""
    design = np.stack([np.ones(len(k)), 1 / k], axis=1)
    solution, rest, *_ = np.linalg.lstsq(design, ratios)
    variance = float(rest[0]) / (len(k) - 2) if len(rest) else 0.0
    return float(solution[0]), float(np.sqrt(variance * np.linalg.inv(design.T @ design)[0, 0]))


def _radius(value: float, uncertainty: float, method: str) -> Radius | None:
    return Radius(value, uncertainty, method) if uncertainty <= value / 2 else None
