r"""When a run has drawn enough: a relative error is reached, or the limit of draws.

With `until = eps` a run ends at the end of the first chunk, in the order of the draws, at which

    stderr <= eps |mean|     for every component of every observable that fluctuates,

there are `LEAST_DRAWS` draws, no draw was infinite or NaN, and no spread is carried by a few draws
(see `resexpand.montecarlo.statistics.estimate`). The rule sees merged sums only, so it stops at the
same draw for any number of workers, and for a run that was resumed. A component whose mean is zero,
such as an output, never satisfies it: such a run ends at its limit.

Stopping when the sample says so is not free: the rule favours samples whose spread came out small,
so intervals cover slightly less than they claim and, for skewed laws, means lean towards the side
of small spread. Both effects are of relative order `1/n` of the draws at the stop, not of
`1/sqrt(n)`: with `LEAST_DRAWS` and errors below a percent they are not seen (measured:
`numerics/interval_coverage.py`). Where a stop after few draws matters, draw a fixed number instead.

Source: Y. S. Chow, H. Robbins, Ann. Math. Statist. 36 (1965) 457, doi:10.1214/aoms/1177700156.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from resexpand.conventions import exact
from resexpand.errors import ExpressionError, HyperparameterError, UnsupportedError
from resexpand.expressions import parse_expression
from resexpand.montecarlo.observables.registry import controlled
from resexpand.montecarlo.statistics.estimate import HEAVY_TAIL, Estimate
from resexpand.montecarlo.statistics.moments import Floats, Moments

LEAST_DRAWS = 256
"""No run stops before: standard errors of fewer draws are too rough to be acted upon."""


@dataclass(frozen=True)
class Until:
    """The rule: called with merged sums, says whether they are enough.

    Attributes
    ----------
    relative_error : float
        The asked `stderr/|mean|`.
    names : tuple of str
        The observables it looks at; where a control is subtracted from one, what is left.
    """

    relative_error: float
    names: tuple[str, ...]

    def __call__(self, sums: Mapping[str, Any]) -> bool:
        """Return whether every component of every observable is known well enough."""
        best = (sums.get(controlled(name), sums[name]) for name in self.names)
        return all(map(self._enough, best))

    def _enough(self, moments: Moments) -> bool:
        if moments.draws < LEAST_DRAWS or (moments.finite != moments.draws).any():
            return False
        rough = Estimate("", moments, 0, 0).stderr_uncertainty
        steady = bool(np.max(rough, initial=0.0) <= np.sqrt(HEAVY_TAIL) / 2)
        return steady and bool(np.max(relative_error(moments), initial=0.0) <= self.relative_error)


def relative_error(moments: Moments) -> Floats:
    """Return `stderr/|mean|` by component: zero where nothing fluctuates, inf at mean zero."""
    n = moments.draws
    error = np.sqrt(moments.m2 / max(n - 1, 1) / max(n, 1))
    size = np.abs(moments.mean)
    quotient = np.divide(error, size, out=np.full_like(error, np.inf), where=size > 0)
    return np.where(error == 0, 0.0, quotient)


def checked_until(until: object, names: Iterable[str], shard: object = None) -> Until | None:
    """Return the rule that stops at this relative error; None for None.

    Raises
    ------
    HyperparameterError
        If it is not a number between 0 and 1.
    UnsupportedError
        If the run is one shard of several, which cannot know what the others have drawn.
    """
    if until is None:
        return None
    if shard is not None:
        raise UnsupportedError(
            f"until={until!r} with shard={shard!r}",
            "a shard does not know what the others have drawn",
            "draw a fixed number, merge the shards, and draw more if the error is too large",
        )
    wanted = _fraction(until)
    if not 0 < wanted < 1:
        raise HyperparameterError(
            f"until={until!r}",
            "not a relative error between 0 and 1",
            "pass until=0.001 or until='0.1%' to draw until every standard error is a thousandth "
            "of its mean",
        )
    return Until(wanted, tuple(names))


def _fraction(value: object) -> float:
    """Return the number that ``0.001`` or the text ``0.1%`` means; NaN if it means none."""
    try:
        if isinstance(value, str):
            bare, percent = value.strip().removesuffix("%"), value.strip().endswith("%")
            return float(parse_expression(bare, ())) / (100 if percent else 1)
        return float(exact(value))
    except (TypeError, ExpressionError):
        return math.nan
