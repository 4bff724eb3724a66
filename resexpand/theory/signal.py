r"""A signal at infinite width, and what the operations of a branch make of it.

A signal is one column of neurons per input. Its state are raw second moments
``K_pq = lim x_p.x_q / N`` and means ``m_p``; after a contraction it is a centred Gaussian of
covariance K. At infinite width averages over the neurons are numbers, so a map acts as a function
of one variable:

- one that states a law gives formal averages of its label, closed later;
- one that is linear, ``y = a x + c`` with ``a`` and ``c`` made of averages, gives
  ``K'_pq = a_p a_q K_pq + a_p c_q m_p + c_p a_q m_q + c_p c_q``, and a Gaussian stays one;
- any other gives averages of its expression.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sympy as sp

from resexpand.errors import UnsupportedError
from resexpand.gaussian.expectation import (
    GaussianExpectation,
    integration_variables,
    mean_value,
    pair_moment,
    second_moment,
)
from resexpand.network.batch_norm import require_no_batch
from resexpand.network.operation import Map, X
from resexpand.network.steps import Step

Entries = tuple[sp.Expr, ...]
Values = Mapping[sp.Symbol, sp.Expr]
ZERO = sp.Integer(0)
PLACES = {1: ((0, 0),), 3: ((0, 0), (0, 1), (1, 1))}
"""Inputs that each entry of a second moment belongs to."""


def entry_symbols(stem: str, names: Sequence[str]) -> tuple[sp.Symbol, ...]:
    """Return the symbols of second moments by the inputs they belong to."""
    return tuple(
        sp.Symbol(
            f"{stem}_{name}" if name else stem,
            **{"positive" if len(set(name)) < 2 else "real": True},
        )
        for name in names
    )


@dataclass(frozen=True)
class Signal:
    """Second moments 11 (one input) or 11, 12, 22 (two), and the mean of every input.

    Attributes
    ----------
    moments, means : tuple of sympy.Expr
        Raw second moments and means.
    is_gaussian : bool
        Whether it is a centred Gaussian with these moments as covariance.
    """

    moments: Entries
    means: Entries
    is_gaussian: bool = True

    @classmethod
    def gaussian(cls, covariance: Entries) -> Signal:
        """Return the centred Gaussian of a covariance."""
        return cls(covariance, (ZERO,) * (1 if len(covariance) == 1 else 2))

    @property
    def names(self) -> tuple[str, ...]:
        """Inputs that each second moment belongs to."""
        return ("",) if len(self.moments) == 1 else ("11", "12", "22")

    def gaussian_of(self, covariance: Entries) -> Signal:
        """Return the centred Gaussian of a covariance."""
        return Signal.gaussian(covariance)

    def mapped(self, step: Step, values: Values) -> Signal:
        """Return what a map makes of the signal, `values` being those of its parameters.

        Raises
        ------
        UnsupportedError
            If an average of it is not known from second moments.
        """
        require_no_batch(step.op, "the theory of single inputs or pairs")
        if step.label is not None:
            return _activated(step.label, self.moments)
        numbers = [self._numbers(step.op, p, values) for p in range(len(self.means))]
        if step.op.expression.diff(X).has(X):
            return self._averaged(step.op, [step.op.expression.xreplace(at) for at in numbers])
        return self._linear(step.op, numbers)

    def _variance(self, p: int) -> sp.Expr:
        return self.moments[-1 if p else 0]

    def _numbers(self, op: Map, p: int, values: Values) -> dict[sp.Symbol, sp.Expr]:
        """Return the parameters of a map, and its averages for input p."""
        at = dict(values)
        for symbol, value in op.averages:
            at[symbol] = self._average(op, value, at, p)
        return at

    def _average(
        self, op: Map, function: sp.Expr, at: Mapping[sp.Symbol, sp.Expr], p: int
    ) -> sp.Expr:
        """Return the average of a function of `X` and of known symbols over input p."""
        if function.is_polynomial(X) and sp.degree(function, X) <= 2:
            powers = (sp.Integer(1), self.means[p], self._variance(p))
            # Known averages may be formal, with a variable X of their own: they come in last.
            found = [c.xreplace(at) for c in sp.Poly(function, X).all_coeffs()[::-1]]
            return sp.expand(sp.Add(*(c * m for c, m in zip(found, powers, strict=False))))
        _require_gaussian(self, op)
        (x,) = integration_variables(1)
        integrand = function.xreplace(at).xreplace({X: x})
        return GaussianExpectation(integrand, (x,), (self._variance(p),))

    def _linear(self, op: Map, numbers: list[dict[sp.Symbol, sp.Expr]]) -> Signal:
        slopes = [op.expression.diff(X).xreplace(at) for at in numbers]
        shifts = [op.expression.xreplace({X: ZERO}).xreplace(at) for at in numbers]
        means = self.means
        moments = tuple(
            slopes[p] * slopes[q] * moment
            + slopes[p] * shifts[q] * means[p]
            + shifts[p] * slopes[q] * means[q]
            + shifts[p] * shifts[q]
            for moment, (p, q) in zip(self.moments, PLACES[len(self.moments)], strict=True)
        )
        new = tuple(a * m + c for a, m, c in zip(slopes, means, shifts, strict=True))
        return Signal(moments, new, self.is_gaussian and op.is_linear)

    def _averaged(self, op: Map, inputs: list[sp.Expr]) -> Signal:
        _require_gaussian(self, op)
        _require_smooth(op)
        (x,), pair = integration_variables(1), integration_variables(2)
        means = tuple(
            GaussianExpectation(value.xreplace({X: x}), (x,), (self._variance(p),))
            for p, value in enumerate(inputs)
        )
        moments = []
        for p, q in PLACES[len(self.moments)]:
            if p == q:
                square = inputs[p].xreplace({X: x}) ** 2
                moments.append(GaussianExpectation(square, (x,), (self._variance(p),)))
            else:
                values = zip(inputs, pair, strict=True)
                product = sp.Mul(*(value.xreplace({X: z}) for value, z in values))
                moments.append(GaussianExpectation(product, pair, self.moments))
        return Signal(tuple(moments), means, is_gaussian=False)


def _activated(label: sp.Symbol, covariance: Entries) -> Signal:
    if len(covariance) == 1:
        means = (mean_value(label, covariance[0]),)
        return Signal((second_moment(label, covariance[0]),), means, is_gaussian=False)
    first, _, last = covariance
    moments = (
        second_moment(label, first),
        pair_moment(label, covariance),
        second_moment(label, last),
    )
    return Signal(moments, (mean_value(label, first), mean_value(label, last)), is_gaussian=False)


def _require_gaussian(signal: Signal, op: Map) -> None:
    if not signal.is_gaussian:
        raise UnsupportedError(
            f"the theory of {op!r} at this place of the branch",
            "it averages a function of what is not a centred Gaussian at infinite width",
            "put a Linear() in front of it, or average x and x**2 alone; sample() takes it",
        )


def _require_smooth(op: Map) -> None:
    if not op.is_smooth:
        raise UnsupportedError(
            f"the theory of {op!r}",
            f"it is not smooth, and {op.kind} states no law of its averages",
            "use Activation() of an expression in x alone; sample() takes it",
        )
