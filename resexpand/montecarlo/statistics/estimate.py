"""Estimates: mean, standard error, count, and the health of the sample.

From `n` independent networks, `mean = sum x/n`, `variance = sum (x - mean)^2/(n - 1)` (of one
draw) and `stderr = sqrt(variance/n)`. Three things make such numbers untrustworthy, and each
raises a flag:

overflow
    Some draws were infinite or NaN, as is the logarithm of what is exactly zero. The components
    concerned have mean and standard error NaN: a mean over the remaining draws would be biased.
    Components without such draws are unaffected.
heavy-tail
    The standard error is itself known only to `sqrt((kappa - 1)/n)/2`, with `kappa = n M_4/M_2^2`
    the kurtosis of the draws. Where a few draws carry the sum, `kappa/n = sum_i s_i^2` (`s_i`:
    share of draw `i` in the squared deviations) stays of order one however large `n` is; the sample
    has then not seen the tail that decides mean and variance. In other words: the standard error is
    as uncertain as that of `2n/(kappa - 1)` normal draws, the effective number of draws. Raised
    above `HEAVY_TAIL`, that is below twenty effective draws.
few-draws
    Fewer than `FEW_DRAWS` draws: deviations are not yet normal, and z-scores mean less.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.expressions.kept import Kept
from resexpand.expressions.shown import Card, Tabled, listed, numbers
from resexpand.montecarlo.statistics.histogram import Histogram
from resexpand.montecarlo.statistics.intervals import student, unskewed
from resexpand.montecarlo.statistics.moments import Floats, Moments
from resexpand.references import REFERENCES, Citation

FEW_DRAWS = 30
HEAVY_TAIL = 0.1
"""Largest `(kappa - 1)/n` without a flag: the standard error is then known to 16 percent."""

LOGARITHMS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("kernel", "output_squared"), "log_kernel"),
        **dict.fromkeys(("distance", "distance_squared"), "log_growth"),
        **dict.fromkeys(("tangent", "chi", "response"), "log_tangent"),
        **dict.fromkeys(("gradient", "ntk", "ntk_layers", "ntk_moments"), "log_gradient"),
    }
)
"""Observables to ask for where a few draws carry the mean of another."""


@dataclass(frozen=True, eq=False, repr=False)
class Estimate(Kept, Tabled):
    """Ensemble average of one observable.

    Attributes
    ----------
    name : str
        The observable.
    moments : Moments
        Mergeable sums from which everything else is computed.
    width, depth : int
        Of the sampled networks.
    method : str
        ``"function-space"`` or ``"dense"``.
    seeds : tuple of int
        Seeds of the ensembles in this estimate; one, unless merged.
    uncontrolled : Moments or None
        Sums of the same draws without the control variate, if one was subtracted. Mean and
        standard error then are those of the controlled draws, `variance` and `kurtosis` as well:
        the fluctuations of the observable itself are those of `plain`.
    histogram : Histogram or None
        Its distribution between the edges that were asked for, without control.
    """

    name: str
    moments: Moments
    width: int
    depth: int
    method: str = "function-space"
    seeds: tuple[int, ...] = (0,)
    uncontrolled: Moments | None = None
    histogram: Histogram | None = None

    @property
    def n(self) -> int:
        """Number of networks drawn."""
        return self.moments.draws

    @property
    def seed(self) -> int:
        """Seed of the ensemble (of the first one, if merged)."""
        return self.seeds[0]

    @property
    def overflowed(self) -> Floats:
        """Number of draws that were not finite, by component."""
        return np.asarray(self.n - self.moments.finite, dtype=float)

    @property
    def mean(self) -> Floats:
        """Average over the draws; layer axis last, pair observables have shape (L+1, D, D)."""
        return self._valid(_unscaled(self.moments.mean, self.moments.exponent))

    @property
    def variance(self) -> Floats:
        """Variance of a single draw, with the divisor n - 1."""
        per_draw = self.moments.m2 / max(self.n - 1, 1)
        return self._valid(_unscaled(per_draw, 2 * self.moments.exponent))

    @property
    def stderr(self) -> Floats:
        """Standard error of the mean."""
        root = np.sqrt(self.moments.m2 / max(self.n - 1, 1) / max(self.n, 1))
        return self._valid(_unscaled(root, self.moments.exponent))

    @property
    def kurtosis(self) -> Floats:
        """Fourth central moment over the squared variance, `kappa`; 1 where nothing fluctuates."""
        m2, m4 = self.moments.m2, self.moments.m4
        quotient = np.divide(self.n * m4, m2 * m2, out=np.ones_like(m2), where=m2 * m2 > 0)
        return self._valid(quotient)

    @property
    def stderr_uncertainty(self) -> Floats:
        """Relative uncertainty of the standard error, `sqrt((kappa - 1)/n)/2`."""
        return np.asarray(np.sqrt(np.maximum(self.kurtosis - 1, 0) / max(self.n, 1)) / 2)

    @property
    def effective_draws(self) -> Floats:
        """Number of normal draws whose standard error would be as certain, at most `n`.

        `2n/(kappa - 1)`: far below `n` where a few draws carry the spread, and with it the mean.
        """
        excess = np.maximum(self.kurtosis - 1, 2.0)
        return np.asarray(2 * self.n / excess)

    @property
    def lean(self) -> Floats:
        """Skewness of the mean: that of a draw over `sqrt(n)`; 0 where nothing fluctuates."""
        m2, m3 = self.moments.m2, self.moments.m3
        power = m2 * np.sqrt(m2)
        return np.asarray(np.divide(m3, power, out=np.zeros_like(m3), where=power > 0))

    def interval(self, confidence: float = 0.95) -> tuple[Floats, Floats]:
        """Return the ends of a confidence interval for the mean of every component.

        Student's interval with `n - 1` degrees of freedom, bent by the skewness of the draws
        (`resexpand.montecarlo.statistics.intervals.unskewed`): kernels are skewed, and intervals
        symmetric about the mean then miss on one side. Its coverage is measured in
        ``numerics/interval_coverage.py``; under a ``"heavy-tail"`` flag it is less than it claims.

        Raises
        ------
        HyperparameterError
            If the confidence is not between 0 and 1.
        """
        if not isinstance(confidence, float) or not 0 < confidence < 1:
            raise HyperparameterError(
                f"confidence={confidence!r}", "not between 0 and 1", "use 0.95"
            )
        t = student(confidence, max(self.n - 1, 1))
        ends = (self.mean - unskewed(end, self.lean) * self.stderr for end in (t, -t))
        return next(ends), next(ends)

    @property
    def flags(self) -> tuple[str, ...]:
        """Which of ``"overflow"``, ``"heavy-tail"``, ``"few-draws"`` apply."""
        return tuple(self._complaints())

    @property
    def status(self) -> str:
        """``"ok"``, or a sentence per flag saying what is wrong and what would help."""
        return " ".join(self._complaints().values()) or "ok"

    @property
    def plain(self) -> Estimate:
        """The estimate from the same draws without the control variate; itself if there is none."""
        if self.uncontrolled is None:
            return self
        return replace(self, moments=self.uncontrolled, uncontrolled=None)

    @property
    def gain(self) -> Floats:
        """Variance of `plain` over that of the controlled draws: how many draws one is worth.

        One where there is no control or nothing fluctuates, infinite where nothing is left.
        """
        before, after = self.plain.variance, self.variance
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(before == after, 1.0, before / after)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Floats:
        return np.array(self.mean, dtype=dtype)

    def merge(self, other: Estimate) -> Estimate:
        """Return the estimate from the draws of both ensembles.

        Raises
        ------
        UnsupportedError
            If the two are not the same observable of the same networks, or share a seed: then
            they hold the same networks, which must not be counted twice.
        """
        mine = (self.name, self.width, self.depth, self.mean.shape)
        theirs = (other.name, other.width, other.depth, other.mean.shape)
        asked = f"merging estimates of {self.name!r} and {other.name!r}"
        if mine != theirs:
            why = f"name, width, depth and shape {mine} differ from {theirs}"
            raise UnsupportedError(asked, why, "merge estimates of one observable of one ensemble")
        shared = set(self.seeds) & set(other.seeds)
        if shared and self.method == other.method:
            why = f"both hold the networks of seed {min(shared)}"
            raise UnsupportedError(asked, why, "sample the second ensemble with another seed")
        if (self.uncontrolled is None) != (other.uncontrolled is None):
            why = "one of them has a control variate subtracted, the other has not"
            raise UnsupportedError(asked, why, "merge what .plain gives of both")
        plain = None
        if self.uncontrolled is not None and other.uncontrolled is not None:
            plain = self.uncontrolled.merge(other.uncontrolled)
        histogram = None
        if self.histogram is not None and other.histogram is not None:
            histogram = self.histogram.merge(other.histogram)
        method = self.method if self.method == other.method else "mixed"
        moments = self.moments.merge(other.moments)
        seeds = self.seeds + other.seeds
        return Estimate(self.name, moments, self.width, self.depth, method, seeds, plain, histogram)

    def _valid(self, values: Floats) -> Floats:
        """Return the values, NaN where draws overflowed."""
        return np.where(self.moments.finite == self.n, values, np.nan)

    def _complaints(self) -> dict[str, str]:
        """Return flag -> sentence."""
        found = {}
        overflowed = self.overflowed
        if overflowed.any() or not np.isfinite(self.variance).all():
            found["overflow"] = _overflow_sentence(overflowed, self.n, self._remedy())
        uncertainty = np.max(self.stderr_uncertainty, initial=0.0, where=overflowed == 0)
        if self.n < FEW_DRAWS:
            found["few-draws"] = (
                f"Only {self.n} draws: the standard error is rough; draw {FEW_DRAWS} or more."
            )
        elif uncertainty > np.sqrt(HEAVY_TAIL) / 2:
            effective = np.min(self.effective_draws, initial=np.inf, where=overflowed == 0)
            note = ", whose spread is not carried by a few" if self._alternative() else ""
            found["heavy-tail"] = (
                f"A few of the {self.n} draws carry most of the spread (effective number of draws "
                f"{effective:.2g}): the standard error is known to {uncertainty:.0%} at best and "
                "the mean may lie far beyond it; more draws, a larger width or a smaller residual "
                f"scale would help{self._alternative()}{note}."
            )
        return found

    def _alternative(self) -> str:
        """Return which observable to ask for instead, if there is one."""
        other = LOGARITHMS.get(self.name)
        return f', or ask for "{other}"' if other else ""

    def _remedy(self) -> str:
        """Return what helps against draws that are not finite."""
        if self.name in LOGARITHMS.values():
            return (
                "what is exactly zero, as in a dead network, has no logarithm (a larger width "
                "helps); against overflow use a smaller residual scale, variance or depth"
            )
        return f"use a smaller residual scale, variance or depth{self._alternative()}"

    def card(self) -> Card:
        """Return what it says about itself."""
        sizes = f"{self.n} draws, width {self.width}, depth {self.depth}, {self.method}"
        if self.uncontrolled is not None and np.isfinite(self.gain).any():
            sizes += f", gain {np.median(self.gain[np.isfinite(self.gain)]):.3g}"
        state = listed(self.flags) or "ok"
        return Card(
            f"Estimate {self.name}: {sizes}, {state}",
            (("mean", numbers(self.mean)), ("stderr", numbers(self.stderr))),
            (f"! {self.status}",) if self.flags else (),
        )


def _unscaled(values: Floats, exponent: Any) -> Floats:
    """Return values * 2**exponent; infinite where that exceeds float64, which `flags` reports."""
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.ldexp(values, exponent))


def _overflow_sentence(overflowed: Floats, n: int, remedy: str) -> str:
    worst = int(overflowed.max(initial=0))
    if not worst:
        return "The variance of a draw exceeds the range of float64; mean and standard error hold."
    where = np.argwhere(np.atleast_1d(overflowed) > 0)
    return (
        f"{worst} of {n} draws overflowed (infinite or NaN), first in component "
        f"{tuple(map(int, where[0]))}: no mean is given there; {remedy}."
    )


@dataclass(frozen=True, eq=False, repr=False)
class Estimates(Kept, Tabled, Mapping[str, Estimate]):
    """Estimates by the name of their observable, with the settings that produced them.

    Attributes
    ----------
    settings : mapping
        Width, depth, draws, seed, method, input kernel and hyperparameters, as plain values that
        JSON can hold.
    """

    estimates: Mapping[str, Estimate]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))

    def __reduce__(self) -> tuple[type[Estimates], tuple[dict[str, Any], ...]]:
        # A read-only view cannot be sent to another process; what it shows can.
        return Estimates, (dict(self.estimates), dict(self.settings))

    def __getitem__(self, name: str) -> Estimate:
        # An observable asked for as "order_profile(4)" is found under that text, too.
        if name in self.estimates:
            return self.estimates[name]
        bare = str(name).partition("(")[0]
        if bare.startswith(("order_", "path_")) and bare in self.estimates:
            found = self.estimates[bare]
            if name == f"{bare}({found.mean.shape[-1] - 1})":
                return found
        return self.estimates[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.estimates)

    def __len__(self) -> int:
        return len(self.estimates)

    @property
    def method_reason(self) -> str:
        """Why the sampler is the one it is; empty if nobody said so."""
        return str(self.settings.get("method_reason", ""))

    @property
    def citations(self) -> tuple[Citation, ...]:
        """Where the random numbers come from; a sample rests on no other equation."""
        return (Citation(REFERENCES["salmon2011"]),)

    @property
    def flags(self) -> dict[str, tuple[str, ...]]:
        """Flags by observable; empty when every estimate is healthy."""
        return {name: e.flags for name, e in self.items() if e.flags}

    def merge(self, other: Estimates) -> Estimates:
        """Return the estimates from the draws of both, for the observables that both have.

        Raises
        ------
        UnsupportedError
            As for `Estimate.merge`.
        """
        shared = {name: e.merge(other[name]) for name, e in self.items() if name in other}
        settings = {
            **self.settings,
            "draws": sum(s.settings.get("draws", 0) for s in (self, other)),
        }
        return Estimates(shared, settings)

    def card(self) -> Card:
        """Return what they say about themselves."""
        shared = ("width", "depth", "draws", "seed", "method")
        settings = listed(f"{k} {self.settings[k]}" for k in shared if k in self.settings)
        facts = []
        for name, e in self.items():
            error = np.max(e.stderr, initial=0.0, where=np.isfinite(e.stderr))
            facts.append((name, f"{numbers(e.mean)}  (stderr up to {error:.2g})"))
        said = {f"! {name}: {e.status}" for name, e in self.items() if e.flags}
        return Card(f"Estimates: {settings or f'{len(self)} observables'}", tuple(facts), (*said,))
