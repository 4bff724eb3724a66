"""Two replicas of one network on their way through a residual branch.

Both have the same input and the same weights but differ in a parameter: the factor in front of
the residual scale, or how much of the randomness of the weights they share. The second moments of
the pair are power series in these parameters; every operation of the branch maps series to series.
At infinite width a normalisation multiplies by a function of the variance, which is such a series.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from resexpand.network.resnet import ResNet
from resexpand.network.steps import Step
from resexpand.series.truncated import Truncated
from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.order_profile.averages import Averages
from resexpand.theory.order_profile.multipliers import VARIANCE, multiplier


@dataclass(frozen=True)
class Replicas:
    """Second moments 11, 12, 22 of two replicas as series, and their means.

    Attributes
    ----------
    first, mixed, last : Truncated
        The moments, constant terms included.
    means : tuple of Truncated
        Means of the two replicas; empty if they vanish or nothing reads them.
    """

    first: Truncated
    mixed: Truncated
    last: Truncated
    means: tuple[Truncated, ...] = ()


@dataclass(frozen=True)
class BranchOfReplicas:
    """The operations of a branch, acting on replicas.

    Attributes
    ----------
    net : ResNet
    hyper : Hyperparameters
        Symbols of the parameters of every operation.
    averages : Averages
        Collects the averages that occur.
    shared : int
        Power of the first variable that a linear operation multiplies the mixed moment with: zero
        if both replicas have the same weights.
    """

    net: ResNet
    hyper: Hyperparameters
    averages: Averages
    shared: int = 0

    @property
    def has_mean(self) -> bool:
        """Whether the stream acquires a mean: the branch ends in an activation."""
        return not self.net.branch.is_gaussian

    def __call__(self, replicas: Replicas) -> Replicas:
        """Return the moments of the branch output; 11 and 22 only where something reads them."""
        steps = self.net.branch.steps
        for step in steps:
            if step.contracts:
                law = self.hyper.variances(step.op, step.suffix)
                replicas = self._through_linear(law, replicas)
            elif step.label is None:
                replicas = self._multiplied(step, replicas)
            else:
                read_on = any(not later.contracts for later in steps[step.position + 1 :])
                is_last = step is steps[-1]
                replicas = self._activated(step.label, replicas, alone=read_on, means=is_last)
        return replicas

    def _through_linear(self, law: tuple[sp.Symbol, sp.Symbol], replicas: Replicas) -> Replicas:
        weight, bias = law
        zero = replicas.mixed.zero
        offset = replicas.mixed.of({zero: bias})

        def linear(moment: Truncated) -> Truncated:
            return moment.mapped(lambda c: sp.expand(weight * c)) + offset

        common = offset.of({(self.shared, *zero[1:]): sp.Integer(1)})
        mixed = linear(replicas.mixed) * common
        return Replicas(linear(replicas.first), mixed, linear(replicas.last))

    def _multiplied(self, step: Step, replicas: Replicas) -> Replicas:
        """Return what a map that multiplies by a function of the variance makes of both."""
        slope = multiplier(step, self.hyper)
        of = self.averages
        first, mixed, last = map(of.renamed, (replicas.first, replicas.mixed, replicas.last))
        one, other = (of.renamed(of.of_function(slope, VARIANCE, m)) for m in (first, last))

        def product(*factors: Truncated) -> Truncated:
            return of.renamed(of.renamed(factors[0] * factors[1]) * factors[2])

        return Replicas(
            product(one, one, first), product(one, other, mixed), product(other, other, last)
        )

    def _activated(
        self, label: sp.Symbol, replicas: Replicas, *, alone: bool, means: bool
    ) -> Replicas:
        moments = (replicas.first, replicas.mixed, replicas.last)
        if len(self.net.branch.ops) > 2:
            # Otherwise polynomials of polynomials would be raised to powers.
            renamed = self.averages.renamed
            moments = (renamed(moments[0]), renamed(moments[1]), renamed(moments[2]))
        zero = replicas.mixed.zero
        first, mixed, last = ((m[zero], m.without_constant()) for m in moments)
        nothing = replicas.mixed.of({})
        of = self.averages
        bases, deviations = zip(first, mixed, last, strict=True)
        return Replicas(
            of.of_square(label, *first) if alone else nothing,
            of.of_pair(label, bases, deviations),
            of.of_square(label, *last) if alone else nothing,
            (of.of_mean(label, *first), of.of_mean(label, *last)) if means else (),
        )
