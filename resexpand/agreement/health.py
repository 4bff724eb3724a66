"""Reasons against judging an entry: no number, few draws, a tail hardly seen, a bent line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from resexpand.agreement.extrapolation import ROUNDING_UNIT, Extrapolation
from resexpand.agreement.shape import Sampled, roughness
from resexpand.agreement.verdict import FEWEST_DRAWS
from resexpand.montecarlo.statistics.estimate import HEAVY_TAIL

Reasons = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

FEWEST_EFFECTIVE, PLENTY = 10, 80
"""Effective draws below which nothing is judged, and above which a heavy tail elsewhere is far."""
ENOUGH_DRAWS = 50
"""Draws below which a heavy tail is not yet seen to be one."""


def not_finite(values: Mapping[str, float]) -> str:
    """Say why an entry that is not finite cannot be judged; empty if all are finite."""
    for name, remedy in (
        ("theory", "choose hyperparameters at which the theory is finite"),
        ("estimate", "the sample overflowed or is undefined here: smaller scale or depth"),
        ("stderr", "the standard error is undefined here: more draws"),
        ("neglected", "the neglected order is undefined here: pass neglected="),
    ):
        if not np.isfinite(values[name]):
            return f"{name} is {values[name]}; {remedy}"
    return ""


def unjudged(
    estimate: Sampled, take: Callable[[Reasons], Reasons], level: float
) -> tuple[Reasons, Mask]:
    """Give the reason per entry that speaks against judging it, and whether it may be rejected."""
    reasons, rejectable = (take(part) for part in unhealthy(estimate))
    out = np.array(reasons, dtype=object)
    if isinstance(estimate, Extrapolation) and estimate.dof > 0:
        tail = take(estimate.fit_tail)
        curved = np.asarray(tail * tail.size <= level)
        ratio = take(estimate.chi2) / estimate.dof
        for index in np.argwhere(curved):
            place = tuple(index)
            out[place] = out[place] or (
                f"not linear in 1/N (chi^2/dof = {ratio[place]:.1f}); leave out the smallest width"
            )
        rejectable = rejectable & ~curved
    return out, rejectable


def unhealthy(estimate: Sampled) -> tuple[Reasons, Mask]:
    """Say of each entry why its standard error is not to be relied upon; empty if it is.

    Overflow and heavy tails are stated per component, whatever else concerns all of them. The
    entries of one sample are functions of the same networks: where one is carried by a few draws,
    its neighbours have the same tail and may only have missed it. They agree from `PLENTY`
    effective draws on. Whether one of them may be rejected is returned as well: such a sample is
    cautious enough about its tail as long as no component falls below `FEWEST_EFFECTIVE`.
    """
    out = np.full(np.shape(estimate.mean), "", dtype=object)
    none = np.zeros(out.shape, dtype=bool)
    if estimate.n < FEWEST_DRAWS:
        out[...] = f"{estimate.n} draws are too few for an error; take {FEWEST_DRAWS} or more"
    if estimate.n < FEWEST_DRAWS or estimate.status == "ok":
        return out, none
    # Constant entries still round: such a spread has no tail.
    still = np.asarray(estimate.stderr) <= ROUNDING_UNIT * np.abs(estimate.mean)
    with np.errstate(divide="ignore"):
        effective = np.where(still, np.inf, 0.5 / roughness(estimate) ** 2)
    heavy = "heavy-tail" in estimate.flags
    local = bool(estimate.flags) and set(estimate.flags) <= {"overflow", "heavy-tail"}
    sound = local & (effective >= (PLENTY if heavy else 2.0 / HEAVY_TAIL))
    out[~sound] = str(estimate.status)
    least = np.min(effective, initial=np.inf, where=~np.isnan(effective))
    mild = local and estimate.n >= ENOUGH_DRAWS and least >= FEWEST_EFFECTIVE
    return out, ~sound & (effective >= FEWEST_EFFECTIVE) & mild
