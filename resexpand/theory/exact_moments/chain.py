r"""Covariances of a branch as polynomials, and the Gaussian averages that are taken of them.

The features an activation passes on have the second moment ``c^d M``, with ``c`` the variance of
its input and ``M`` the average of ``phi(z_i)^2`` over ``N`` independent standard normal ``z_i``:

    E M = mu_1,   E M^2 = mu_1^2 + (mu_2 - mu_1^2) / N,   mu_k = <phi(z)^{2k}>.

A `Linear` makes ``sigma_w2 c^d M + sigma_b2`` of it. The output of a branch is therefore a
polynomial ``C(q, M_1, M_2, ...)`` of the second moment ``q`` of its first features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.conventions import WIDTH
from resexpand.network.resnet import ResNet
from resexpand.theory.hyperparameters import Hyperparameters

FIRST = sp.Symbol("q", nonnegative=True)
"""Second moment of the features that the first `Linear` of a branch acts on."""

ALONG, ACROSS = sp.Symbol("z", real=True), sp.Symbol("X", nonnegative=True)
"""The new Gaussian vector along the stream, and its squared length across it."""

_AWAY = sp.Symbol("t", positive=True)


@dataclass(frozen=True)
class PowerLaw:
    """An activation whose square is a power on either side of zero.

    Attributes
    ----------
    right, left : sympy.Expr
        Factors ``s_+`` and ``s_-`` of the power.
    degree : int
        Half the exponent, ``d``: 0 or 1.
    """

    right: sp.Expr
    left: sp.Expr
    degree: int

    @property
    def is_even(self) -> bool:
        """Whether the square is the same on both sides, ``phi(x)^2 = s |x|^{2d}``."""
        return bool(self.right == self.left)

    def moments(self) -> tuple[sp.Expr, sp.Expr]:
        """Return ``E M`` and ``E M^2`` of the average over the neurons."""
        first, second = (self._single(k) for k in (1, 2))
        return first, first**2 + (second - first**2) / WIDTH

    def _single(self, k: int) -> sp.Expr:
        """Return ``<phi(z)^{2k}>`` for a standard normal ``z``."""
        return (self.right**k + self.left**k) / 2 * sp.factorial2(2 * k * self.degree - 1)


IDENTITY = PowerLaw(sp.Integer(1), sp.Integer(1), 1)


def power_law(law: ActivationLaw) -> PowerLaw | None:
    """Return the power law an activation obeys, None if it obeys none."""
    squares = [law.expression.subs(X, side) ** 2 for side in (_AWAY, -_AWAY)]
    for degree in (0, 1):
        right, left = (sp.simplify(square / _AWAY ** (2 * degree)) for square in squares)
        if right.is_number and left.is_number:
            return PowerLaw(right, left, degree)
    return None


@dataclass
class BranchCovariance:
    """Follows the second moment of the features through the operations of a branch.

    `independent` holds, for every average ``M`` met on the way, its first two moments.
    """

    net: ResNet
    hyper: Hyperparameters
    independent: dict[sp.Symbol, tuple[sp.Expr, sp.Expr]] = field(default_factory=dict)

    def last(self) -> sp.Expr | None:
        """Return ``C`` as a polynomial, None if an activation inside obeys no power law."""
        steps = self.net.branch.steps
        moment = FIRST
        for step in steps:
            if step.contracts:
                if step.position and steps[step.position - 1].contracts:
                    moment = self._passed(moment, IDENTITY)
                weight, bias = self.hyper.variances(step.op, step.suffix)
                moment = weight * moment + bias
            elif step.position:
                law = power_law(step.op.law)
                if law is None:
                    return None
                moment = self._passed(moment, law)
        return sp.expand(moment)

    def _passed(self, variance: sp.Expr, law: PowerLaw) -> sp.Expr:
        average = sp.Symbol(f"M_{len(self.independent) + 1}", nonnegative=True)
        self.independent[average] = law.moments()
        return variance**law.degree * average

    def averaged(self, polynomial: sp.Expr) -> sp.Expr:
        """Average a polynomial over everything that is independent of the layer before."""
        for symbol, moments in self.independent.items():
            polynomial = averaged(polynomial, {symbol: (sp.Integer(1), *moments)})
        return sp.expand(polynomial)


def averaged(polynomial: sp.Expr, moments: Mapping[sp.Symbol, tuple[sp.Expr, ...]]) -> sp.Expr:
    """Replace powers of independent variables by their moments ``(1, E x, E x^2, ...)``."""
    result = polynomial
    for symbol, known in moments.items():
        terms = sp.Poly(sp.expand(result), symbol).all_coeffs()[::-1]
        result = sum((c * known[k] for k, c in enumerate(terms)), sp.Integer(0))
    return sp.expand(result)


def step_moments(kernel: sp.Expr, covariance: sp.Expr, scale: sp.Symbol) -> tuple[sp.Expr, sp.Expr]:
    """Return ``E G'`` and ``E G'^2`` given ``G`` and ``C``, as polynomials of these.

    Parameters
    ----------
    kernel, covariance, scale : sympy.Expr
        ``G``, ``C`` and the residual scale.
    """
    # G C stands below a root with odd powers of z only, which average to zero.
    root = sp.sqrt(kernel * covariance / WIDTH)
    value = kernel + 2 * scale * root * ALONG + scale**2 * covariance * (ALONG**2 + ACROSS) / WIDTH
    normal = tuple(sp.factorial2(k - 1) if k % 2 == 0 else sp.Integer(0) for k in range(5))
    others = WIDTH - 1
    chi_square = (sp.Integer(1), others, others * (others + 2))
    known = {ALONG: normal, ACROSS: chi_square}
    return averaged(value, known), averaged(value**2, known)
