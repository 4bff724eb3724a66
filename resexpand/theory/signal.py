r"""A signal at infinite width, and what the operations of a branch make of it.

A signal is one column of neurons per input. Its state are raw second moments
``K_pq = lim x_p.x_q / N`` and means ``m_p``; after a contraction it is a centred Gaussian of
covariance K. At infinite width averages over the neurons are numbers, so a map acts as a function
of one variable, and of noise:

- one that states a law gives formal averages of its label, closed later;
- one that is linear, ``y = a x + c`` with ``a`` and ``c`` made of averages and noise, gives
  ``K'_pq = <a_p a_q> K_pq + <a_p c_q> m_p + <c_p a_q> m_q + <c_p c_q>``; without noise of the
  neurons a Gaussian stays one, with it becomes a mixture (`resexpand.theory.noise`);
- any other gives averages of its expression.

Noise of a whole block stays a symbol of the moments; readers of the moments average it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import sympy as sp

from resexpand.conventions import K
from resexpand.errors import UnsupportedError
from resexpand.gaussian.expectation import (
    GaussianExpectation,
    integration_variables,
    mean_value,
    pair_moment,
    second_moment,
)
from resexpand.network.batch_norm import require_no_batch
from resexpand.network.operation import Map, Noise, X
from resexpand.network.steps import Step
from resexpand.theory.noise import Columns, Mixture, apart, averaged, fresh, outcomes

Entries = tuple[sp.Expr, ...]
Values = Mapping[sp.Symbol, sp.Expr]
Outcome = Mapping[sp.Symbol, sp.Expr]
Mean = Callable[[int, Outcome], sp.Expr]
Product = Callable[[tuple[int, int], Outcome, Outcome], sp.Expr]
ZERO, UNKNOWN = sp.Integer(0), sp.nan
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
    columns : str
        How the noise of the two columns goes together.
    mixture : Mixture or None
        The Gaussian behind masks.
    coins : tuple of Noise
        Noises of whole blocks that moments and means hold.
    """

    moments: Entries
    means: Entries
    is_gaussian: bool = True
    columns: Columns = "inputs"
    mixture: Mixture | None = None
    coins: tuple[Noise, ...] = field(default=())

    @classmethod
    def gaussian(cls, covariance: Entries, columns: Columns = "inputs") -> Signal:
        """Return the centred Gaussian of a covariance."""
        return cls(covariance, (ZERO,) * (1 if len(covariance) == 1 else 2), columns=columns)

    def contracted(self, covariance: Entries) -> Signal:
        """Return what a contraction makes of it, given the covariance.

        Raises
        ------
        UnsupportedError
            If the covariance is random.
        """
        self._require_no_coin("a Linear()")
        return Signal.gaussian(covariance, self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """Inputs that each second moment belongs to."""
        return ("",) if len(self.moments) == 1 else ("11", "12", "22")

    def mapped(self, step: Step, values: Values) -> Signal:
        """Return what a map makes of the signal, `values` being those of its parameters.

        Raises
        ------
        UnsupportedError
            If an average of it is not known from second moments.
        """
        require_no_batch(step.op, "the theory of single inputs or pairs")
        if step.label is not None:
            self._require_no_coin(repr(step.op))
            return self._activated(step)
        if step.op.gates is not None:
            return self._gated(step, values)
        if step.op.is_identity:
            return self
        noise = fresh(step.op.random, values)
        own = zip(step.op.random, noise, strict=True)
        named = {**values, **step.op.certain, **{old.symbol: new.symbol for old, new in own}}
        numbers = [self._numbers(step.op, p, named) for p in range(len(self.means))]
        if step.op.expression.diff(X).has(X):
            self._require_no_coin(repr(step.op))
            given = [sp.Tuple(step.op.expression.xreplace(at)) for at in numbers]
            inputs = [value for (value,) in self._by_column(given, noise)[0]]
            return self._averaged(step.op, inputs, noise)
        return self._linear(step.op, numbers, noise)

    def _variance(self, p: int) -> sp.Expr:
        return self.moments[-1 if p else 0]

    def _places(self) -> tuple[tuple[int, int], ...]:
        return PLACES[len(self.moments)]

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
        self._require_no_coin(repr(op))
        if function.is_polynomial(X) and sp.degree(function, X) <= 2:
            powers = (sp.Integer(1), self.means[p], self._variance(p))
            # Known averages may be formal, with a variable X of their own: they come in last.
            found = [c.xreplace(at) for c in sp.Poly(function, X).all_coeffs()[::-1]]
            terms = [_times(c, m) for c, m in zip(found, powers, strict=False)]
            if UNKNOWN in terms:
                raise _not_gaussian(op)
            return sp.expand(sp.Add(*terms))
        if not self.is_gaussian:
            raise _not_gaussian(op)
        (x,) = integration_variables(1)
        integrand = function.xreplace(at).xreplace({X: x})
        return GaussianExpectation(integrand, (x,), (self._variance(p),))

    def _linear(
        self, op: Map, numbers: list[dict[sp.Symbol, sp.Expr]], noise: tuple[Noise, ...]
    ) -> Signal:
        masks = tuple(each for each in noise if each.over == "neurons")
        parts = sp.Tuple(op.expression.diff(X), op.expression.xreplace({X: ZERO}))
        own, coins = self._by_column([parts.xreplace(at) for at in numbers], noise)
        slopes, shifts = zip(*own, strict=True)
        means, stays = self.means, self.is_gaussian and op.is_linear
        second, both = apart(masks, self.columns)

        def over(p: int, q: int, one: sp.Expr, other: sp.Expr) -> sp.Expr:
            if p == q:
                return averaged(one * other, masks)
            return averaged(one * other.xreplace(second), both)

        moments = tuple(
            over(p, q, slopes[p], slopes[q]) * moment
            + _times(over(p, q, slopes[p], shifts[q]), means[p])
            + _times(over(p, q, shifts[p], slopes[q]), means[q])
            + over(p, q, shifts[p], shifts[q])
            for moment, (p, q) in zip(self.moments, self._places(), strict=True)
        )
        new = tuple(
            _times(averaged(a, masks), m) + averaged(c, masks)
            for a, m, c in zip(slopes, means, shifts, strict=True)
        )
        mixture = None
        if masks and self.is_gaussian:
            mixture = Mixture(self.moments, (sp.Integer(1),) * len(means))
        elif not stays:
            mixture = self.mixture
        if mixture is not None:
            mixture = None if any(shifts) else mixture.times(slopes, masks)
        stays = stays and not masks
        return Signal(moments, new, stays, self.columns, mixture, self.coins + coins)

    def _by_column(
        self, values: list[sp.Tuple], noise: tuple[Noise, ...]
    ) -> tuple[list[sp.Tuple], tuple[Noise, ...]]:
        """Return values with the noise that each input meets, and the coins of both inputs."""
        coins = tuple(each for each in noise if each.over == "block")
        if self.columns in ("test", "evaluation"):
            at_mean = {each.symbol: each.mean() for each in noise}
            drawn = values[:1] if self.columns == "test" else []
            return [*drawn, *(value.xreplace(at_mean) for value in values[len(drawn) :])], coins
        if not coins or len(values) == 1:
            return values, coins
        second, both = apart(coins, self.columns)
        return [values[0], values[1].xreplace(second)], both

    def _activated(self, step: Step) -> Signal:
        label, op = step.label, step.op
        mixture = self._mixture_at(op)
        if mixture is None:
            return Signal((second_moment(label, self.moments[0]),), (UNKNOWN,), is_gaussian=False)

        def mean(p: int, at: Outcome) -> sp.Expr:
            slope = mixture.slopes[p].xreplace(at)
            variance = slope**2 * mixture.covariance[-1 if p else 0]
            return _at_zero(op) if variance == 0 else mean_value(label, variance)

        def product(places: tuple[int, int], first: Outcome, second: Outcome) -> sp.Expr:
            p, q = places
            one, other = mixture.slopes[p].xreplace(first), mixture.slopes[q].xreplace(second)
            if p != q and one != 0 and other != 0:
                factors = (one**2, one * other, other**2)
                covariance = zip(factors, mixture.covariance, strict=True)
                return pair_moment(label, tuple(f * k for f, k in covariance))
            if p == q and one != 0:
                return second_moment(label, one**2 * mixture.covariance[-1 if p else 0])
            return mean(p, first) * mean(q, second)

        return self._over_outcomes(mixture.noise, mean, product)

    def _gated(self, step: Step, values: Values) -> Signal:
        """Return an activation times an independent Gaussian of the same covariance."""
        (gain,) = (values[parameter.symbol] for parameter in step.op.parameters)
        averages = (
            second_moment(step.gate, moment) if p == q else pair_moment(step.gate, self.moments)
            for moment, (p, q) in zip(self.moments, self._places(), strict=True)
        )
        moments = (gain**2 * m * own for m, own in zip(self.moments, averages, strict=True))
        zeros = (ZERO,) * len(self.means)
        return Signal(tuple(moments), zeros, is_gaussian=False, columns=self.columns)

    def _averaged(self, op: Map, inputs: list[sp.Expr], noise: tuple[Noise, ...]) -> Signal:
        mixture = self._mixture_at(op)
        _require_smooth(op)
        if mixture is None or any(each.over == "block" for each in noise):
            raise _not_gaussian(op)
        (x,), pair = integration_variables(1), integration_variables(2)

        def value(p: int, at: Outcome, variable: sp.Symbol) -> sp.Expr:
            slope = mixture.slopes[p].xreplace(at)
            return inputs[p].xreplace(at).xreplace({X: slope * variable})

        def over_one(integrand: sp.Expr, p: int) -> sp.Expr:
            variance = mixture.covariance[-1 if p else 0]
            return (
                GaussianExpectation(integrand, (x,), (variance,)) if integrand.has(x) else integrand
            )

        def mean(p: int, at: Outcome) -> sp.Expr:
            return over_one(value(p, at, x), p)

        def product(places: tuple[int, int], first: Outcome, second: Outcome) -> sp.Expr:
            p, q = places
            if p == q:
                return over_one(value(p, first, x) ** 2, p)
            one, other = value(p, first, pair[0]), value(q, second, pair[1])
            if not (one.has(pair[0]) and other.has(pair[1])):
                return mean(p, first) * mean(q, second)
            return GaussianExpectation(one * other, pair, mixture.covariance)

        return self._over_outcomes(mixture.noise + noise, mean, product)

    def _mixture_at(self, op: Map) -> Mixture | None:
        """Return the signal as a mixture; None if the average of `op` needs its variance alone.

        That is where ``<phi^2>_K`` is proportional to K, as for relu: every mixture of Gaussians of
        one variance has the same.
        """
        if self.is_gaussian:
            return Mixture(self.moments, (sp.Integer(1),) * len(self.means))
        alone = len(self.moments) == 1 and not any(self.means)
        if self.mixture is None and not (alone and _is_proportional(op)):
            raise _not_gaussian(op)
        return self.mixture

    def _over_outcomes(self, noise: tuple[Noise, ...], mean: Mean, product: Product) -> Signal:
        """Return the moments of features that depend on the outcome of noise."""
        names, both = apart(noise, self.columns)
        means = tuple(
            sp.Add(*(chance * mean(p, at) for at, chance in outcomes(noise)))
            for p in range(len(self.means))
        )
        moments = []
        for p, q in self._places():
            terms = []
            for at, chance in outcomes(noise if p == q else both):
                other = (
                    at if p == q else {s.symbol: at[names.get(s.symbol, s.symbol)] for s in noise}
                )
                terms.append(chance * product((p, q), at, other))
            moments.append(sp.Add(*terms))
        return Signal(tuple(moments), means, is_gaussian=False, columns=self.columns)

    def _require_no_coin(self, reader: str) -> None:
        if self.coins:
            raise UnsupportedError(
                f"the theory of {reader} behind a coin of the block",
                "what it reads is random at infinite width",
                "put StochasticDepth at the end of the branch; sample() takes it",
            )


def _times(factor: sp.Expr, moment: sp.Expr) -> sp.Expr:
    """Return the product; what is unknown does not matter where the factor is zero."""
    return ZERO if factor == 0 else factor * moment


def _is_proportional(op: Map) -> bool:
    """Whether ``<phi^2>_K`` is proportional to K."""
    variance = None if op.law is None else op.law.variance
    return bool(variance and sp.expand(variance(K) - K * variance(sp.Integer(1))) == 0)


def _at_zero(op: Map) -> sp.Expr:
    value = op.expression.xreplace({X: ZERO})
    return sp.limit(op.expression, X, 0) if value is sp.nan else value


def _not_gaussian(op: Map) -> UnsupportedError:
    return UnsupportedError(
        f"the theory of {op!r} at this place of the branch",
        "it averages a function of what is not a centred Gaussian at infinite width",
        "put a Linear() in front of it, or average x and x**2 alone; noise_average(net, K0=...) "
        "takes masks at the end of a branch, sample() takes it",
    )


def _require_smooth(op: Map) -> None:
    if not op.is_smooth:
        raise UnsupportedError(
            f"the theory of {op!r}",
            f"it is not smooth, and {op.kind} states no law of its averages",
            "use Activation() of an expression in x alone; sample() takes it",
        )
