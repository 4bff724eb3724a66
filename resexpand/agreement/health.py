"""What speaks against judging an entry: no number, few draws, a tail that was hardly seen, a bend."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from resexpand.agreement.extrapolation import ROUNDING_UNIT, Extrapolation
from resexpand.agreement.shape import Sampled, roughness
from resexpand.agreement.verdict import FEWEST_DRAWS
from resexpand.montecarlo.estimate import HEAVY_TAIL

Reasons = npt.NDArray[Any]


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


def unjudged(estimate: Sampled, take: Callable[[Reasons], Reasons], level: float) -> Reasons:
    """Give the reason per entry that speaks against judging it; empty where none does."""
    out = np.array(take(unhealthy(estimate)), dtype=object)
    if isinstance(estimate, Extrapolation) and estimate.dof > 0:
        tail = take(estimate.fit_tail)
        curved = tail * tail.size <= level
        ratio = take(estimate.chi2) / estimate.dof
        for index in np.argwhere(curved):
            place = tuple(index)
            out[place] = out[place] or (
                f"not linear in 1/N (chi^2/dof = {ratio[place]:.1f}); leave out the smallest width"
            )
    return out


def unhealthy(estimate: Sampled) -> Reasons:
    """Say of each entry why its standard error is not to be relied upon; empty if it is.

    Overflow and heavy tails are stated per component, whatever else concerns all of them. The
    entries of one sample are functions of the same networks: where one is carried by a few draws,
    its neighbours have the same tail and may only have missed it. They are judged from four times
    as many effective draws on.
    """
    out = np.full(np.shape(estimate.mean), "", dtype=object)
    if estimate.n < FEWEST_DRAWS:
        out[...] = f"{estimate.n} draws are too few for an error; take {FEWEST_DRAWS} or more"
    elif estimate.status != "ok":
        local = bool(estimate.flags) and set(estimate.flags) <= {"overflow", "heavy-tail"}
        limit = math.sqrt(HEAVY_TAIL) / (4 if "heavy-tail" in estimate.flags else 2)
        # What does not fluctuate still rounds: such a spread has no tail.
        still = np.asarray(estimate.stderr) <= ROUNDING_UNIT * np.abs(estimate.mean)
        out[~(local & (still | (roughness(estimate) <= limit)))] = str(estimate.status)
    return out
