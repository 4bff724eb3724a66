"""Between a run and its settings: the texts that settings hold, and estimates from stored sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from resexpand.errors import ResexpandError
from resexpand.montecarlo.observables.observable import Observable
from resexpand.montecarlo.observables.registry import controlled, counted, select
from resexpand.montecarlo.runs.plan import name_of
from resexpand.montecarlo.runs.sums import Sums
from resexpand.montecarlo.statistics.estimate import Estimate, Estimates
from resexpand.montecarlo.statistics.histogram import Histogram
from resexpand.montecarlo.statistics.moments import Moments


def unregistered(chosen: Iterable[Observable], inputs: int) -> tuple[str, ...]:
    """Return the labels of observables that only the caller has: no name leads back to them."""
    return tuple(o.label for o in chosen if not _is_registered(o, inputs))


def _is_registered(observable: Observable, inputs: int) -> bool:
    try:
        (found,) = select(observable.label, inputs)
    except ResexpandError:
        return False
    return found == replace(observable, edges=())


def drawn(sums: Sums) -> int:
    """Return the number of networks in sums."""
    return int(next(iter(sums.values())).draws)


def estimates_of(sums: Sums, settings: Mapping[str, Any]) -> Estimates:
    """Return the estimates of a run from its sums.

    Parameters
    ----------
    sums : Sums
        By observable; with a control also under the `controlled` name, and counts under the
        `counted` name where the settings have edges for it.
    settings : mapping
        Of the run, with its draws.
    """
    found = {}
    edges = settings.get("histograms", {})
    for label in settings["observables"]:
        name = name_of(label)
        plain: Moments = sums[name]
        best: Moments = sums.get(controlled(name), plain)
        counts = sums.get(counted(name))
        found[name] = Estimate(
            name,
            best,
            settings["width"],
            settings["depth"],
            settings["method"],
            (settings["seed"],),
            uncontrolled=None if best is plain else plain,
            histogram=None if counts is None else Histogram(np.array(edges[name]), counts),
        )
    return Estimates(found, settings)
