r"""Averages over the noise of maps: masks of neurons, coins of blocks.

At infinite width a mask of the neurons is averaged within every layer. Two columns meet the same
mask or independent ones,

    <f(xi_p) g(xi_q)> = E[f g]   (same),      E[f] E[g]   (independent),

so moments of a column with itself and of two columns differ: for dropout ``E xi^2 / p^2 = 1/p``
against ``(E xi)^2 / p^2 = 1``. Behind a mask, a Gaussian is a mixture of Gaussians, one for each
outcome; an activation is averaged over each of them (`Mixture`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import sympy as sp

from resexpand.network.noise import Outcomes
from resexpand.network.operation import Map, Noise, X

Columns = Literal["inputs", "same", "masks", "test", "evaluation"]
"""How the noise of two columns goes together: as that of two inputs of a network, which share what
is declared shared; the same; independent, two draws of the noise for one input; noise in the first
column, its mean in the second; or its mean in both."""

Law = Mapping[sp.Expr, sp.Expr]


@dataclass(frozen=True)
class Mixture:
    """A centred Gaussian z of which every column p multiplies ``slopes[p]``, made of noise.

    Attributes
    ----------
    covariance : tuple of sympy.Expr
        Of z: 11 (one column) or 11, 12, 22 (two).
    slopes : tuple of sympy.Expr
        One per column.
    noise : tuple of Noise
        The random numbers in them.
    """

    covariance: tuple[sp.Expr, ...]
    slopes: tuple[sp.Expr, ...]
    noise: tuple[Noise, ...] = ()

    def times(self, slopes: Sequence[sp.Expr], noise: tuple[Noise, ...]) -> Mixture:
        """Return it multiplied once more."""
        both = tuple(a * b for a, b in zip(self.slopes, slopes, strict=True))
        return Mixture(self.covariance, both, self.noise + noise)


def outcomes(noise: Sequence[Noise]) -> Iterator[tuple[dict[sp.Symbol, sp.Expr], sp.Expr]]:
    """Yield every joint outcome of independent noises, and its probability."""
    for drawn in product(*(each.outcomes for each in noise)):
        values = {each.symbol: value for each, (value, _) in zip(noise, drawn, strict=True)}
        yield values, sp.Mul(*(probability for _, probability in drawn))


def averaged(expression: sp.Expr, noise: Sequence[Noise]) -> sp.Expr:
    """Return the average of an expression over some noises."""
    held = [each for each in noise if expression.has(each.symbol)]
    return sp.Add(*(chance * expression.xreplace(at) for at, chance in outcomes(held)))


def apart(
    noise: Sequence[Noise], columns: Columns
) -> tuple[dict[sp.Symbol, sp.Symbol], tuple[Noise, ...]]:
    """Return what the second of two columns calls its noise, and the noises of both."""
    if columns == "same":
        return {}, tuple(noise)
    own = [each for each in noise if columns != "inputs" or not each.shared]
    names = {each.symbol: sp.Dummy(f"{each.symbol.name}_2", real=True) for each in own}
    copies = (replace(each, symbol=names[each.symbol]) for each in own)
    return names, (*noise, *copies)


def fresh(noise: Sequence[Noise], values: Law) -> tuple[Noise, ...]:
    """Return noises under symbols of their own, with the values of the parameters in their laws."""
    return tuple(
        replace(
            each,
            symbol=sp.Dummy(each.symbol.name, real=True),
            outcomes=tuple((v.xreplace(values), p.xreplace(values)) for v, p in each.outcomes),
        )
        for each in noise
    )


def images(op: Map, functions: Outcomes, values: Law) -> Outcomes:
    """Return what a map makes of functions of `X` that are drawn with probabilities.

    Every outcome of its noise makes one of each; `values` are those of its parameters.
    """
    at_parameters = {**values, **op.certain}
    drawn = []
    for at, chance in outcomes(op.random):
        image = op.expression.xreplace({**at, **at_parameters})
        drawn += [
            (image.xreplace({X: function}), chance.xreplace(dict(values)) * before)
            for function, before in functions
        ]
    return tuple(drawn)


def mean_function(functions: Outcomes) -> sp.Expr:
    """Return the average of functions over their draw."""
    return sp.Add(*(chance * function for function, chance in functions))
