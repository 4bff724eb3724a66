"""The family-wise verdict over many entries: *agrees*, *disagrees* or *inconclusive*.

For one entry with deviation `d = |estimate - theory|`, standard error `s` and a bound `b` on what
the theory neglects (neglected order and rounding), the null hypothesis is that the bias lies
anywhere in `[-b, b]`. Its largest tail probability, at the edge of the interval, is

    p = P(T > (d - b)/s) + P(T > (d + b)/s),

the two-sided Student tail at `b = 0`, `T` straightened where the draws are skewed
(`resexpand.agreement.tails.cautious`) and with the degrees of freedom that their kurtosis leaves
(`resexpand.agreement.shape`).

No sample tells of what it has not seen (R. R. Bahadur and L. J. Savage, Ann. Math. Statist. 27
(1956) 1115: over all laws with a variance, no test has level and power). An event of probability
`q` stays unseen in `n` draws with probability `(1 - q)^n`, and moves the mean by `d - b` if it
changes the observable by `J = (d - b)/q`. Changes up to a bound on `J` are reckoned with, so that

    p >= exp(-n (d - b)/J),

with `J` of `UNSEEN_SPREADS` standard deviations of a draw: no restriction for a thousand draws, and
most of the error for thirty. An observable that is the same in all draws has no such deviation, and
`J` is `UNSEEN` times its size; where every draw is zero there is no size either and `p = 1`. What
that leaves open is *inconclusive*.

Holm's procedure bounds the probability of one or more false rejections by `level` under *any*
dependence of the entries; layers of one network are strongly correlated, which makes it
conservative. (Sidak's step would need an assumption and gains a fraction `level/2`.)

*Disagrees*: an entry is rejected. *Agrees*: no entry is rejected, every entry could be judged, and
at every entry the test had power: a theory off by `resolve` times its magnitude would have been
rejected with probability 0.95, even if what it neglects pulled the sample towards it,

    2 b + (t_crit + t_0.95) s <= resolve * magnitude,

with `t_crit` at least what an unseen event explains, `J log(1/p)/(n s)`.

*Inconclusive*: everything else. A wide budget therefore can never produce agreement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from resexpand.agreement.tails import (
    Array,
    cautious,
    convincing,
    student_quantile,
    student_tail,
)

Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]

MISSED = (
    "all {:.0f} draws are the same, so there is no error: an event too rare to be seen may make "
    "the difference; take more draws, or a case in which it happens"
)
AGREES, DISAGREES, INCONCLUSIVE = "agrees", "disagrees", "inconclusive"
POWER_TAIL = 0.05  # a deviation counts as detectable when it is seen with probability 0.95
UNSEEN = 20.0  # largest change of a constant observable, in its size, by an event never seen
UNSEEN_SPREADS = 9.0  # the same of one that varies, in standard deviations of a draw
FEWEST_DRAWS = 16  # below, neither the standard error nor Student's law can be relied upon


@dataclass(frozen=True, eq=False)
class Entries:
    """Entries to judge: flat arrays of one value per entry.

    Attributes
    ----------
    labels : tuple of str
    theory, estimate, stderr : ndarray
        Both sides, and the standard error of their difference.
    neglected, rounding : ndarray
        Bounds on the systematic deviation.
    size : ndarray
        Positive magnitude to which `resolve` is relative.
    dof, lean, doubt : ndarray
        Degrees of freedom of `stderr`, skewness of the estimate and how uncertain that is.
    constant : ndarray
        1 where all draws are the same up to rounding, else 0.
    coarse : ndarray
        Factor on `resolve`: 1 for means, more for variances, which take many more draws.
    order : ndarray
        Power of `1/N` with which `neglected` falls; 0 where the width does not change it.
    draws, width : ndarray
        Number of draws and (largest) width, for advice.
    rejectable : ndarray
        1 where an entry that cannot be judged may be rejected all the same: its error is good
        enough to contradict a theory, and not to support one.
    unjudged : tuple of str
        Why an entry cannot be judged; empty where it can.
    """

    labels: tuple[str, ...]
    theory: Array
    estimate: Array
    stderr: Array
    neglected: Array
    rounding: Array
    size: Array
    dof: Array
    lean: Array
    doubt: Array
    constant: Array
    coarse: Array
    order: Array
    draws: Array
    width: Array
    rejectable: Array
    unjudged: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Judgement:
    """Outcome for each entry, and for all of them.

    Attributes
    ----------
    verdict : str
        `"agrees"`, `"disagrees"` or `"inconclusive"`.
    reason : str
        One sentence; for an inconclusive verdict it says what to do.
    z : ndarray
        `(estimate - theory)/stderr`; 0 where the difference is within rounding, infinite where an
        estimate without spread is off by more than its budget; nan where not judged.
    p : ndarray
        Tail probability of each entry under the interval null; nan where not judged.
    p_value : float
        Family-wise: the smallest `p` times the number of entries, at most 1.
    ok : tuple of bool or None
        Whether the entry is within its budget; None where it was not judged.
    detectable : ndarray
        Smallest relative deviation of the theory that would have been detected.
    unjudged : tuple of str
        Why an entry was not judged; empty where it was.
    """

    verdict: str
    reason: str
    z: Array
    p: Array
    p_value: float
    ok: tuple[bool | None, ...]
    detectable: Array
    unjudged: tuple[str, ...]


def judge(entries: Entries, *, level: float, resolve: float) -> Judgement:
    """Judge all entries together; see the module's opening for the rules."""
    ailing = np.array([bool(why) for why in entries.unjudged], dtype=bool)
    z, p = _scores(entries), _tails(entries)
    judged = (~ailing | (entries.rejectable > 0.0)) & np.isfinite(p)
    missed = judged & (entries.constant > 0.0) & ~_within(entries)
    tested = judged & ((entries.stderr > 0.0) & (entries.constant == 0.0) | missed)
    rejected = _holm(p, tested, level) | (judged & ~tested & (p == 0.0))
    unjudged = tuple(
        "" if off else why or (MISSED.format(n) if seen else "")
        for off, seen, n, why in zip(rejected, missed, entries.draws, entries.unjudged, strict=True)
    )
    judged &= np.array([not why for why in unjudged], dtype=bool)
    z, p = np.where(judged, z, np.nan), np.where(judged, p, np.nan)
    tested &= judged
    ok = tuple(None if not seen else not off for seen, off in zip(judged, rejected, strict=True))
    noise = _noise_factor(entries, tested, level) * np.where(tested, entries.stderr, 0.0)
    with np.errstate(invalid="ignore"):
        bias = 2.0 * entries.neglected + 2.0 * entries.rounding
        detectable = np.where(judged, (bias + noise) / entries.size, np.nan)
    outcome = Judgement("", "", z, p, _family_p(p, tested), ok, detectable, unjudged)
    verdict, reason = _decide(entries, outcome, noise, resolve)
    return replace(outcome, verdict=verdict, reason=reason)


def _scores(entries: Entries) -> Array:
    """Compute z-scores; exact entries and differences within rounding handled exactly."""
    difference = entries.estimate - entries.theory
    with np.errstate(all="ignore"):
        z = difference / entries.stderr
    exact = (entries.stderr == 0.0) | (entries.constant > 0.0)
    z = np.where(exact, np.copysign(np.inf, difference), z)
    rounded = np.abs(difference) <= entries.rounding
    return np.where(exact & _within(entries) | rounded, 0.0, z)


def _within(entries: Entries) -> Mask:
    """Mark the entries whose difference is within the systematic part of the budget."""
    distance = np.abs(entries.estimate - entries.theory)
    return np.asarray(distance <= entries.neglected + entries.rounding)


def _tails(entries: Entries) -> Array:
    """Compute the largest tail probability under the interval null."""
    difference = entries.estimate - entries.theory
    distance, side = np.abs(difference), np.where(difference < 0.0, -1.0, 1.0)
    bound = entries.neglected + entries.rounding
    with np.errstate(all="ignore"):
        low, high = (
            student_tail(
                cautious((distance - to * bound) / entries.stderr, to * side, *_skew(entries)),
                entries.dof,
            )
            for to in (1.0, -1.0)
        )
        unseen = np.exp(-entries.draws * (distance - bound) / _largest_change(entries))
    unseen = np.where(_within(entries), 1.0, unseen)
    exact = (entries.stderr == 0.0) | (entries.constant > 0.0)
    return np.where(exact, unseen, np.minimum(1.0, np.maximum(low + high, unseen)))


def _largest_change(entries: Entries) -> Array:
    """Return by how much an event never seen may change the observable."""
    size = np.where(entries.estimate == 0.0, np.inf, UNSEEN * entries.size)
    constant = np.where(entries.constant > 0.0, size, 0.0)
    return np.maximum(constant, UNSEEN_SPREADS * entries.stderr * np.sqrt(entries.draws))


def _skew(entries: Entries) -> tuple[Array, Array]:
    return entries.lean, entries.doubt


def _holm(p: Array, tested: Mask, level: float) -> Mask:
    """Mark the entries rejected by Holm's step-down procedure."""
    rejected = np.zeros(p.shape, dtype=bool)
    candidates = np.flatnonzero(tested)
    for rank, index in enumerate(candidates[np.argsort(p[candidates], kind="stable")]):
        if p[index] * (candidates.size - rank) > level:
            break
        rejected[index] = True
    return rejected


def _family_p(p: Array, tested: Mask) -> float:
    """Compute the family-wise tail probability; an exact entry that is off makes it 0."""
    exact = p[~tested & np.isfinite(p)]
    smallest = float(np.min(p[tested], initial=1.0)) * max(1, int(tested.sum()))
    return 0.0 if np.any(exact == 0.0) else min(1.0, smallest)


def _noise_factor(entries: Entries, tested: Mask, level: float) -> Array:
    """Return the deviation, in standard errors, that is detected with probability 0.95."""
    tail = level / (2.0 * max(1, int(tested.sum())))
    skew = [part[tested] for part in _skew(entries)]

    def reached(of_tail: float) -> Array:
        quantiles = student_quantile(of_tail, entries.dof[tested])
        sides = [convincing(quantiles, np.array(side), *skew) for side in (1.0, -1.0)]
        return np.asarray(np.maximum(*sides))

    unseen = UNSEEN_SPREADS * math.log(0.5 / tail) / np.sqrt(entries.draws[tested])
    factors = np.zeros(entries.dof.shape)
    factors[tested] = np.maximum(reached(tail), unseen) + reached(POWER_TAIL)
    return factors


def _decide(entries: Entries, outcome: Judgement, noise: Array, resolve: float) -> tuple[str, str]:
    """Choose the verdict and its sentence."""
    off = [i for i, fine in enumerate(outcome.ok) if fine is False]
    if off:
        return DISAGREES, _disagreement(entries, outcome, off)
    unjudged = [i for i, fine in enumerate(outcome.ok) if fine is None]
    if unjudged:
        first = unjudged[0]
        count = f"{len(unjudged)} of {len(outcome.ok)} entries could not be judged"
        return INCONCLUSIVE, f"{count}; {entries.labels[first]}: {outcome.unjudged[first]}"
    weak = np.flatnonzero(outcome.detectable > resolve * entries.coarse)
    if weak.size:
        return INCONCLUSIVE, _advice(entries, outcome, noise, weak, resolve)
    largest = int(np.argmax(np.abs(outcome.z)))
    return AGREES, (
        f"{_entries(len(outcome.ok))} within budget, largest |z| = "
        f"{abs(outcome.z[largest]):.2f} ({entries.labels[largest]}); "
        f"a deviation of {_percent(float(np.max(outcome.detectable)))} would have been seen "
        "at every entry"
    )


def _entries(count: int) -> str:
    """Put a count of entries into words."""
    return "the one entry is" if count == 1 else f"all {count} entries are"


def _percent(value: float) -> str:
    return f"{100.0 * value:.2g} %" if value < 1.0 else f"{100.0 * value:.0f} %"


def _disagreement(entries: Entries, outcome: Judgement, off: Sequence[int]) -> str:
    """Say which entries deviate, and the worst of them."""
    worst = min(off, key=lambda i: (outcome.p[i], -abs(outcome.z[i])))
    relative = (entries.estimate[worst] - entries.theory[worst]) / entries.size[worst]
    return (
        f"{len(off)} of {len(outcome.ok)} entries deviate beyond the budget, worst "
        f"{entries.labels[worst]} by {100.0 * relative:+.2g} % (z = {outcome.z[worst]:+.1f})"
    )


def _advice(entries: Entries, outcome: Judgement, noise: Array, weak: Index, resolve: float) -> str:
    """Say what would make the comparison conclusive: more draws, a larger width, or both."""
    allowed = resolve * (entries.coarse * entries.size)[weak]
    bias = 2.0 * (entries.neglected + entries.rounding)[weak]
    # Half of what is allowed is left to the bias where it alone takes more than that.
    room = np.where(bias > 0.5 * allowed, 0.5 * allowed, bias)
    narrow = (bias > 0.5 * allowed) & ((bias >= allowed) | (noise[weak] <= 0.5 * allowed))
    kept = np.where(narrow, room, bias)
    draws = float(np.max(entries.draws[weak] * (noise[weak] / (allowed - kept)) ** 2))
    steps = []
    if np.any(narrow):
        fixed = narrow & (entries.order[weak] == 0)
        if np.any(fixed):
            steps.append(f"a smaller bound on the neglected order, or resolve above {resolve:g}")
        else:
            power = 1.0 / np.maximum(entries.order[weak], 1.0)
            width = entries.width[weak] * (bias / room) ** power
            largest = float(np.max(width[narrow]))
            scaled = "widths up to" if np.any(entries.order[weak] > 1) else "width"
            steps.append(f"{scaled} {_round_up(largest)} or more")
    if np.any(noise[weak] > allowed - kept):
        steps.append(f"{_round_up(draws)} draws or more")
    worst = int(weak[np.argmax((outcome.detectable / entries.coarse)[weak])])
    seen = _percent(float(outcome.detectable[worst]))
    return (
        f"no entry deviates, but at {entries.labels[worst]} only a deviation of {seen} would have "
        f"been seen, not {_percent(resolve * entries.coarse[worst])}; needed: {' and '.join(steps)}"
    )


def _round_up(value: float) -> int:
    """Round up to two significant digits."""
    unit = 10.0 ** max(0, math.floor(math.log10(max(value, 1.0))) - 1)
    return int(math.ceil(value / unit) * unit)
