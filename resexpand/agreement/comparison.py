"""Comparison of a theory with sampled networks, and of two samplers with each other.

Each entry (one layer, one pair of inputs) is judged against an error budget of three parts:
Monte Carlo error, neglected order, rounding (`resexpand.agreement.budget`); the verdict over all
of them is *agrees*, *disagrees* or *inconclusive* (`resexpand.agreement.verdict`). Estimates at
several widths are first extrapolated to infinite width (`resexpand.agreement.extrapolation`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np
import numpy.typing as npt

from resexpand.agreement.extrapolation import extrapolate_all, require_independent
from resexpand.agreement.finite_width import completed
from resexpand.agreement.outcome import Agreement, assemble
from resexpand.agreement.pairing import entries_of, pair_up, sides_of
from resexpand.agreement.shape import Sampled
from resexpand.agreement.verdict import Entries
from resexpand.errors import HyperparameterError


def compare(
    theory: Mapping[str, npt.ArrayLike],
    estimates: Mapping[str, Sampled] | Sequence[Mapping[str, Sampled]],
    *,
    names: Mapping[str, str] | None = None,
    neglected: object = "auto",
    resolve: float = 0.05,
    level: float = 0.0027,
    labels: Mapping[str, str | Sequence[str]] | None = None,
    scale: float | Mapping[str, npt.ArrayLike] | None = None,
) -> Agreement:
    """Compare a theory with Monte Carlo estimates.

    Parameters
    ----------
    theory : mapping of str to array_like
        As `evaluate` returns it: `K` is compared with the estimate `kernel`, `C` with
        `layer_covariance`, `eta_layers` with `response`, `eta` with its last layer, the first
        column of `chi` with `chi`; any other key with the estimate of the same name. A theory of
        one width is compared at that width only: of `one_loop` the means `K_width`, `C_width` and
        the standard deviations `K_deviation`, `C_deviation` (without `width=` they are taken at
        that of the run), of `exact_moments` `G_mean`, `C_mean`, `G_var` and `C_var`.
    estimates : mapping of str to Estimate, or a sequence of such mappings
        Of one run; or of runs at two or more widths, which are extrapolated to infinite width.
    names : mapping of str to str, optional
        Theory key to estimate name; then exactly these are compared.
    neglected : "auto", "1/N", "1/N^2", float, array_like, or a mapping of theory key to these
        Bound on what the theory neglects. `"auto"`: what a theory of one width states itself
        (`one_loop`: the next order, `exact_moments`: nothing), for others the order `1/N`,
        measured on the fluctuations of the observable without control variate (`1/N^2` where
        extrapolated); `"1/N^2"` for a theory that includes the order `1/N`; a
        float is relative (0: exact at this width), an array absolute. Keys missing in a mapping
        are `"auto"`.
    resolve : float
        Relative deviation that must be detectable at every entry for the verdict *agrees*; four
        times as much for standard deviations, eight times for variances.
    level : float
        Family-wise probability of a false *disagrees*; the default is two-sided 3 sigma.
    labels : mapping of str to str or sequence of str, optional
        For a theory key its symbol, or the label of each entry.
    scale : float or mapping of str to array_like, optional
        Magnitude to which `resolve` is relative; by default that of each theory entry. For a
        curve that passes near zero, pass its maximum.

    Returns
    -------
    Agreement

    Raises
    ------
    HyperparameterError
        If nothing can be paired, shapes or widths differ, or an option is out of range.
    """
    _check_options(resolve, level)
    if not isinstance(estimates, Mapping | list | tuple):
        raise HyperparameterError(
            f"comparing a theory with {type(estimates).__name__}",
            "it is no sample",
            "pass what sample() returns, or a list of such runs",
        )
    runs = [estimates] if isinstance(estimates, Mapping) else estimates
    strange = [type(run).__name__ for run in runs if not isinstance(run, Mapping)]
    if strange:
        raise HyperparameterError(
            f"comparing a theory with a list of {', '.join(dict.fromkeys(strange))}",
            "each entry must be a run: estimates by the name of their observable",
            'pass what sample() returns, or {"kernel": estimate}',
        )
    if not estimates:
        raise HyperparameterError(
            "comparing a theory with no estimates",
            "there is nothing to judge it by",
            "pass what sample() returns, or a list of such runs",
        )
    if isinstance(estimates, Mapping):
        run: Mapping[str, Sampled] = estimates
    else:
        run = estimates[0] if len(estimates) == 1 else extrapolate_all(estimates)
    theory = completed(theory, run)
    pairs, skipped = pair_up(theory, run, names)
    built = [
        entries_of(pair, run, neglected=neglected, level=level, labels=labels, scale=scale)
        for pair in pairs
    ]
    notes = _health([pair.estimate for pair in pairs])
    if skipped:
        notes += (f"no estimate for {', '.join(skipped)}",)
    return assemble([p.key for p in pairs], built, level=level, resolve=resolve, notes=notes)


def two_sample(
    estimates_a: Mapping[str, Sampled],
    estimates_b: Mapping[str, Sampled],
    *,
    resolve: float = 0.05,
    level: float = 0.0027,
    labels: Mapping[str, str | Sequence[str]] | None = None,
    scale: float | Mapping[str, npt.ArrayLike] | None = None,
) -> Agreement:
    """Compare two independent samples of the same law, such as dense with function-space.

    No order is neglected: both are exact at their common width. The standard error is that of
    the difference, its degrees of freedom are Welch's.

    Parameters
    ----------
    estimates_a, estimates_b : mapping of str to Estimate
        From distinct seeds; the observables that both have are compared.
    resolve, level, labels : optional
        As for `compare`.
    scale : float or mapping of str to array_like, optional
        As for `compare`, by name of the observable.

    Returns
    -------
    Agreement

    Raises
    ------
    HyperparameterError
        If the samples share no observable, differ in width or shape, or share their seed.
    """
    _check_options(resolve, level)
    shared = [name for name in estimates_a if name in estimates_b]
    if not shared:
        raise HyperparameterError(
            "comparing two samples", "they share no observable", "sample the same observables"
        )
    built = []
    for name in shared:
        a, b = estimates_a[name], estimates_b[name]
        require_independent([a, b], f"comparing two samples of {name!r}")
        built.append(sides_of(a, b, labels, scale))
    first = (estimates_a[shared[0]], estimates_b[shared[0]])
    methods = [str(getattr(e, "method", None) or side) for e, side in zip(first, "AB", strict=True)]
    heading = (methods[0], methods[1]) if methods[0] != methods[1] else ("sample A", "sample B")
    notes = _health([run[name] for run in (estimates_a, estimates_b) for name in shared])
    return assemble(shared, built, level=level, resolve=resolve, heading=heading, notes=notes)


def combine(
    agreements: Mapping[str, Agreement],
    *,
    resolve: float | None = None,
    level: float | None = None,
) -> Agreement:
    """One family-wise verdict over several comparisons, such as the points of a figure.

    Parameters
    ----------
    agreements : mapping of str to Agreement
        The key is put before the labels of its entries.
    resolve, level : float, optional
        By default those of the first agreement.

    Returns
    -------
    Agreement

    Raises
    ------
    HyperparameterError
        If there is no agreement to combine.
    """
    if not agreements:
        raise HyperparameterError("combining no agreements", "", "pass at least one")
    first = next(iter(agreements.values()))
    resolve = first.resolve if resolve is None else resolve
    level = first.level if level is None else level
    _check_options(resolve, level)
    keys: list[str] = []
    built: list[tuple[Entries, npt.NDArray[np.intp]]] = []
    for prefix, agreement in agreements.items():
        for name, index in agreement.positions.items():
            kept, inverse = np.unique(index, return_inverse=True)
            part = _select(agreement.entries, kept, prefix)
            keys.append(f"{prefix} {name}".strip())
            built.append((part, inverse.reshape(index.shape)))
    notes = tuple(f"{key}: {note}" for key, a in agreements.items() for note in a.notes)
    return assemble(keys, built, level=level, resolve=resolve, heading=first.heading, notes=notes)


def _select(entries: Entries, kept: npt.NDArray[np.intp], prefix: str) -> Entries:
    """Select entries by index and prefix their labels."""
    chosen: dict[str, object] = {}
    for item in fields(Entries):
        value = getattr(entries, item.name)
        chosen[item.name] = (
            tuple(value[i] for i in kept) if isinstance(value, tuple) else value[kept]
        )
    chosen["labels"] = tuple(f"{prefix} {entries.labels[i]}".strip() for i in kept)
    return Entries(**chosen)  # type: ignore[arg-type]


def _health(estimates: Sequence[Sampled]) -> tuple[str, ...]:
    """Collect the health flags of the estimates, each once."""
    return tuple(dict.fromkeys(f"{e.name}: {flag}" for e in estimates for flag in e.flags))


def _check_options(resolve: float, level: float) -> None:
    if not (0.0 < level < 0.5):
        raise HyperparameterError(
            f"level={level!r}", "a family-wise level lies between 0 and 0.5", "try 0.0027"
        )
    if not (resolve > 0.0 and math.isfinite(resolve)):
        raise HyperparameterError(
            f"resolve={resolve!r}", "a relative deviation is positive", "the default is 0.05"
        )


__all__ = ["Agreement", "combine", "compare", "two_sample"]
