"""Errors of elementary functions in units in the last place, against mpmath at 50 digits."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mpmath import mp

from resexpand.codegen.functions import FunctionEntry, Span

REFERENCE_DIGITS = 50


@dataclass(frozen=True)
class UlpMeasurement:
    """Largest error in units in the last place, the arguments it occurred at, and the count."""

    largest: float
    at: tuple[float, ...]
    count: int


def drawn(span: Span, generator: random.Random) -> float:
    """Return one number of an interval."""
    if not span.magnitudes:
        return generator.uniform(span.low, span.high)
    size = math.exp(generator.uniform(math.log(span.low), math.log(span.high)))
    return -size if span.signed and generator.random() < 0.5 else size


def measure_ulp(
    entry: FunctionEntry,
    n: int,
    seed: int,
    implementation: Callable[..., float] | None = None,
) -> UlpMeasurement:
    """Measure a function, or another in its place, at n arguments spread over its boxes."""
    function = entry.implementation if implementation is None else implementation
    generator = random.Random(seed)
    worst = 0.0
    where: tuple[float, ...] = ()
    with mp.workdps(REFERENCE_DIGITS):
        for i in range(n):
            box = entry.sampled[i % len(entry.sampled)]
            arguments = tuple(drawn(span, generator) for span in box)
            error = ulp_error(function(*arguments), entry.reference(*map(mp.mpf, arguments)))
            if error > worst:
                worst, where = error, arguments
    return UlpMeasurement(worst, where, n)


def ulp_error(value: float, exact: Any) -> float:
    """Return |value - exact| in units in the last place of the double nearest to exact.

    NaN where a number belongs, or a number where NaN belongs, is infinitely wrong; an overflow is
    right where the nearest double is infinite too.
    """
    nearest = float(exact)
    if math.isnan(value) or math.isnan(nearest):
        return 0.0 if math.isnan(value) and math.isnan(nearest) else math.inf
    if math.isinf(nearest):
        return 0.0 if value == nearest else math.inf
    return float(abs(mp.mpf(value) - exact) / mp.mpf(math.ulp(nearest)))
