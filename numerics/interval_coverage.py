"""Confidence intervals cover: repeated runs of networks whose exact moments are known.

Linear, sign and relu networks of finite width can be solved (`resexpand.exact_moments`). Each is
sampled in thousands of independent runs, and the 95 percent interval of every run
(`Estimate.interval`) either holds the exact mean or not. Two claims:

- means: intervals of runs with a fixed number of draws hold the mean of G^L and C^L in 93.5 to 96.5
  percent of the runs. Control: intervals of 1.5 standard errors.
- stopping: intervals of runs that stop at an asked relative error (`until`). Control: runs that may
  stop after four draws, with no least number of draws.

Usage: ``python numerics/interval_coverage.py [--scale smoke|full] [--out FOLDER]``. Exit code 0 if
all claims agree, 1 if one disagrees (or a control slips through), 2 if undecided.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from resexpand import Activation, Branch, Linear, ResNet, evaluate, exact_moments
from resexpand.montecarlo.engine import make_sampler
from resexpand.montecarlo.spec import SamplerSpec
from resexpand.montecarlo.statistics.estimate import Estimate
from resexpand.montecarlo.statistics.moments import Moments
from resexpand.montecarlo.statistics.stopping import LEAST_DRAWS, Until
from support.claims import Claim, Finding, Row, run_script

CONFIDENCE = 0.95
LOWEST, HIGHEST = 0.935, 0.965
UNSEEN = 0.03
"""Largest deviation of a coverage that may stay unseen."""
K0, DEPTH, SCALE = 0.8, 4, 0.5
BRANCHES = {
    "linear": Branch(Linear(1.3, 0.2)),
    "sign": Branch(Activation("sign"), Linear(1.3, 0.2)),
    "relu inside": Branch(Linear(1.1, 0.1), Activation("relu"), Linear(1.3, 0.2)),
}
OBSERVABLES = {"kernel": "G_mean", "layer_covariance": "C_mean"}


@dataclass(frozen=True)
class Scale:
    """How much is sampled."""

    networks: tuple[str, ...] = tuple(BRANCHES)
    widths: tuple[int, ...] = (8, 32)
    draws: tuple[int, ...] = (100, 400)
    runs: int = 5_000
    asked: tuple[float, ...] = (0.02,)
    stopped_runs: int = 2_000


SETTINGS = {
    "smoke": Scale(("linear", "sign"), (16,), (200,), 4_000, (0.02,), 1_000),
    "full": Scale(),
}


@dataclass(frozen=True)
class Coverage(Finding):
    """The share of runs whose interval held the exact mean, by case."""

    found: dict[str, float]
    runs: int

    @property
    def worst(self) -> Row:
        """The case with the largest deviation."""
        label = max(self.found, key=lambda name: abs(self.found[name] - CONFIDENCE))
        error = np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / self.runs)
        return Row(label, float((self.found[label] - CONFIDENCE) / error))

    @property
    def resolution(self) -> float:
        """Deviation of a coverage that would have been seen with probability 0.95 and more."""
        error = np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / self.runs)
        return float(HIGHEST - CONFIDENCE + 2 * error)

    @property
    def verdict(self) -> str:
        """``"agrees"`` if every share is between the bounds, ``"disagrees"`` if one is not."""
        inside = all(LOWEST <= share <= HIGHEST for share in self.found.values())
        return "agrees" if inside else "disagrees"

    @property
    def reason(self) -> str:
        """Why, in one sentence."""
        low, high = min(self.found.values()), max(self.found.values())
        shares = f"{low:.2%} to {high:.2%} in {len(self.found)} cases of {self.runs} runs"
        return f"{shares} ({LOWEST:.1%} to {HIGHEST:.1%} claimed)"

    @property
    def rows(self) -> dict[str, float]:
        """Every share."""
        return self.found


class Case(NamedTuple):
    """A network at a width, its exact means, and what draws it."""

    name: str
    exact: dict[str, float]
    rows: Callable[[int, int], dict[str, np.ndarray]]

    def runs(self, count: int, draws: int) -> dict[str, Moments]:
        """Return the sums of many runs, one component each, for what fluctuates."""
        sums = {}
        for name, rows in self.rows(0, count * draws).items():
            last = rows[:, -1].reshape(count, draws).T
            if np.ptp(last) > 1e-12:  # the covariance of a sign layer is a number
                sums[name] = Moments.of(last)
        return sums

    def kernel(self, first: int, draws: int) -> dict[str, Moments]:
        """Return the sums of the kernel of the last layer."""
        return {"kernel": Moments.of(self.rows(first, draws)["kernel"][:, -1:])}


def case(network: str, width: int) -> Case:
    """Return a case; the last layer of every observable is judged."""
    net = ResNet(BRANCHES[network], scale=SCALE, depth=DEPTH)
    name = f"{network}, N = {width}"
    values = evaluate(exact_moments(net), K0=K0, N=width)
    how = {"width": width, "method": "function-space", "seed": zlib.crc32(name.encode())}
    sampler = make_sampler(SamplerSpec.of(net, OBSERVABLES, [[K0]], **how))
    exact = {o: float(np.asarray(values[key]).reshape(-1)[-1]) for o, key in OBSERVABLES.items()}
    return Case(name, exact, sampler.rows)


def holds(moments: Moments, exact: float, errors: float | None = None) -> np.ndarray:
    """Return whether the interval of each run holds the exact mean; `errors`: of so many errors."""
    estimate = Estimate("", moments, 0, 0)
    low, high = estimate.interval(CONFIDENCE)
    if errors is not None:
        half = errors * estimate.stderr
        low, high = estimate.mean - half, estimate.mean + half
    return np.asarray((low <= exact) & (exact <= high))


def cases(scale: Scale) -> Iterator[Case]:
    """Yield every network at every width."""
    for network in scale.networks:
        for width in scale.widths:
            yield case(network, width)


def means_claim(scale: Scale) -> Claim:
    """Count the intervals of runs with a fixed number of draws."""
    right: dict[str, float] = {}
    wrong: dict[str, float] = {}
    for at in cases(scale):
        for draws in scale.draws:
            for name, runs in at.runs(scale.runs, draws).items():
                label = f"{name}, {at.name}, n = {draws}"
                right[label] = float(np.mean(holds(runs, at.exact[name])))
                wrong[label] = float(np.mean(holds(runs, at.exact[name], 1.5)))
    return Claim(
        "means",
        f"95 percent intervals hold the exact mean in {LOWEST:.1%} to {HIGHEST:.1%} of the runs",
        Coverage(right, scale.runs),
        Coverage(wrong, scale.runs),
        "intervals of 1.5 standard errors",
        UNSEEN,
    )


def stopped(at: Case, first: int, rule: Callable[[dict[str, Moments]], bool], chunk: int) -> Any:
    """Return the sums of one run that draws chunks until the rule is satisfied."""
    sums = at.kernel(first, chunk)
    drawn = chunk
    while not rule(sums):
        more = at.kernel(first + drawn, chunk)
        sums = {"kernel": sums["kernel"].merge(more["kernel"])}
        drawn += chunk
    return sums


def early(relative_error: float) -> Callable[[dict[str, Moments]], bool]:
    """Return the rule of the control: no least number of draws, ten times the error."""

    def rule(sums: dict[str, Moments]) -> bool:
        estimate = Estimate("", sums["kernel"], 0, 0)
        return bool(estimate.stderr[0] <= 10 * relative_error * estimate.mean[0])

    return rule


def stopping_claim(scale: Scale) -> Claim:
    """Count the intervals of runs that stop when the sample says so."""
    right: dict[str, float] = {}
    wrong: dict[str, float] = {}
    most = 2**20  # draws set aside for one run: runs never share a network
    for at in cases(scale):
        for asked in scale.asked:
            rules = (Until(asked, ("kernel",)), LEAST_DRAWS // 4, right), (early(asked), 4, wrong)
            for rule, chunk, shares in rules:
                runs = [stopped(at, most * k, rule, chunk) for k in range(scale.stopped_runs)]
                held = [holds(run["kernel"], at.exact["kernel"]) for run in runs]
                shares[f"kernel, {at.name}, until = {asked:g}"] = float(np.mean(held))
    return Claim(
        "stopping",
        "so do those of runs that stop at an asked relative error",
        Coverage(right, scale.stopped_runs),
        Coverage(wrong, scale.stopped_runs),
        "runs that may stop after four draws",
        UNSEEN,
    )


def examined(_: Any, scale: Scale) -> tuple[list[Claim], dict[str, Any]]:
    """Return the claims."""
    return [means_claim(scale), stopping_claim(scale)], {}


main = partial(run_script, __doc__, SETTINGS, examined)

if __name__ == "__main__":
    sys.exit(main())
