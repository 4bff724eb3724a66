"""Extrapolation of estimates at several widths to infinite width.

A self-averaging observable of a network of width `N` has the mean `a + b/N + c/N^2 + ...`. From
independent estimates `y_i +- s_i` at widths `N_i` the weighted least-squares line in `x = 1/N`,

    a = sum_i l_i y_i,   l_i = w_i (S_xx - x_i S_x) / (S S_xx - S_x^2),   w_i = 1/s_i^2,

estimates the infinite-width value `a` with variance `S_xx / (S S_xx - S_x^2)`; the neglected
curvature `c` enters it as `c sum_i l_i/N_i^2`. `chi^2 = sum_i w_i (y_i - a - b x_i)^2` with
`widths - 2` degrees of freedom says whether a line describes the data. All of it is done entry by
entry; different layers of one network are correlated, which neither `a` nor its error needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from resexpand.agreement.shape import (
    Sampled,
    Shape,
    raw_variance,
    roughness,
    shape_of,
    shape_of_sum,
)
from resexpand.agreement.tails import Array, chi_square_tail
from resexpand.errors import HyperparameterError

# Condition guess: relative error per layer, in double precision.
ROUNDING_UNIT = 64.0 * float(np.finfo(float).eps)


@dataclass(frozen=True, eq=False)
class Extrapolation:
    """The line through the estimates of one observable at several widths, entry by entry.

    Attributes
    ----------
    name : str
        Name of the observable.
    intercept, intercept_stderr : ndarray
        Infinite-width value and its standard error, in the observable's own shape.
    slope, slope_stderr : ndarray
        Coefficient of `1/N` and its standard error.
    chi2 : ndarray
        Weighted sum of squared residuals; infinite where the entry has no spread and is no line.
    dof : int
        Degrees of freedom, `len(widths) - 2`.
    curvature : ndarray
        `|sum_i l_i / N_i^2|`: how much of a neglected term `c/N^2` enters the intercept.
    amplification : ndarray
        `sum_i |l_i|`, the factor by which rounding of the means is amplified.
    fluctuation : ndarray
        Largest `N Var(single draw)` over the widths, without control variates.
    widths : tuple of int
        Sorted widths.
    n : int
        Smallest number of draws over the widths.
    variance : ndarray
        Single-draw variance at the largest width, without control variates.
    shape : Shape
        Skewness and degrees of freedom of the intercept.
    stderr_uncertainty : ndarray
        Largest relative uncertainty of a standard error over the widths.
    status, flags : str, tuple of str
        Health carried over from the estimates.
    """

    name: str
    intercept: Array
    intercept_stderr: Array
    slope: Array
    slope_stderr: Array
    chi2: Array
    dof: int
    curvature: Array
    amplification: Array
    fluctuation: Array
    widths: tuple[int, ...]
    n: int
    variance: Array
    stderr_uncertainty: Array
    shape: Shape
    status: str = "ok"
    flags: tuple[str, ...] = field(default=())

    @property
    def mean(self) -> Array:
        """The intercept: the value at infinite width."""
        return self.intercept

    @property
    def stderr(self) -> Array:
        """Standard error of the intercept."""
        return self.intercept_stderr

    @property
    def width(self) -> int:
        """The largest width that entered."""
        return self.widths[-1]

    @property
    def fit_tail(self) -> Array:
        """Probability of a larger `chi2` if a line is right; 1 where there is nothing to test."""
        flat = [
            1.0 if np.isnan(c) else 0.0 if np.isinf(c) else chi_square_tail(float(c), self.dof)
            for c in self.chi2.ravel()
        ]
        return np.array(flat).reshape(self.chi2.shape)


def extrapolate(estimates: Sequence[Sampled]) -> Extrapolation:
    """Extrapolate one observable, sampled at several widths, to infinite width.

    Parameters
    ----------
    estimates : sequence of Estimate
        The same observable of the same network at two or more distinct widths, from distinct
        seeds (the counter-based generator would otherwise reuse random numbers across widths,
        and the errors would not be independent).

    Returns
    -------
    Extrapolation

    Raises
    ------
    HyperparameterError
        For fewer than two widths, a repeated width or seed, or shapes that differ.
    """
    ordered = sorted(estimates, key=lambda e: int(e.width))
    _check(ordered)
    x = 1.0 / np.array([float(e.width) for e in ordered])
    y = np.stack([np.asarray(e.mean, dtype=float) for e in ordered])
    s = np.stack([np.asarray(e.stderr, dtype=float) for e in ordered])
    variance = np.stack([raw_variance(e) for e in ordered])
    x = x.reshape((-1,) + (1,) * (y.ndim - 1))
    fit, weight = _line(x, y, s)
    parts = [np.where(one > 0.0, share * one, 0.0) for share, one in zip(weight, s, strict=True)]
    status = [f"width {e.width}: {e.status}" for e in ordered if e.status != "ok"]
    return Extrapolation(
        name=ordered[0].name,
        **fit,
        dof=len(ordered) - 2,
        fluctuation=np.max(variance / x, axis=0),
        widths=tuple(int(e.width) for e in ordered),
        n=min(int(e.n) for e in ordered),
        variance=variance[-1],
        shape=shape_of_sum(parts, [shape_of(e) for e in ordered]),
        stderr_uncertainty=np.max([roughness(e) for e in ordered], axis=0),
        status="; ".join(status) or "ok",
        flags=tuple(dict.fromkeys(flag for e in ordered for flag in e.flags)),
    )


def extrapolate_all(runs: Sequence[Mapping[str, Sampled]]) -> dict[str, Sampled]:
    """Extrapolate every observable that all of the runs share; see `extrapolate`."""
    shared = [name for name in runs[0] if all(name in run for run in runs)]
    return {name: extrapolate([run[name] for run in runs]) for name in shared}


def _line(x: Array, y: Array, s: Array) -> tuple[dict[str, Array], Array]:
    """Weighted straight-line fit along axis 0, and what each mean weighs in the intercept.

    Entries without any spread are weighted equally.
    """
    # Constant entries still round: such a spread is no weight and no test of the line.
    s = np.where(s <= ROUNDING_UNIT * np.abs(y), 0.0, s)
    exact = np.all(s == 0.0, axis=0)
    usable = exact | np.all(s > 0.0, axis=0)
    with np.errstate(all="ignore"):
        w = np.where(exact, 1.0, 1.0 / np.where(s == 0.0, np.nan, s) ** 2)
        # Sums relative to the weighted mean of x: the textbook determinant cancels digits.
        total = w.sum(axis=0)
        centre = (w * x).sum(axis=0) / total
        spread = (w * (x - centre) ** 2).sum(axis=0)
        slope_weight = w * (x - centre) / spread
        weight = w / total - centre * slope_weight
        intercept, slope = (weight * y).sum(axis=0), (slope_weight * y).sum(axis=0)
        residual = y - intercept - slope * x
        chi2 = (w * residual**2).sum(axis=0)
        rounding = ROUNDING_UNIT * np.abs(y).max(axis=0)
        off = np.where(np.abs(residual).max(axis=0) > rounding, np.inf, 0.0)
    nan = np.where(usable, 0.0, np.nan)
    fit = {
        "intercept": intercept + nan,
        "slope": slope + nan,
        "intercept_stderr": np.where(exact, 0.0, np.sqrt(1.0 / total + centre**2 / spread)) + nan,
        "slope_stderr": np.where(exact, 0.0, np.sqrt(1.0 / spread)) + nan,
        "chi2": np.where(exact, off, chi2) + nan,
        "curvature": np.abs((weight * x**2).sum(axis=0)),
        "amplification": np.abs(weight).sum(axis=0),
    }
    return fit, weight


def _check(ordered: Sequence[Sampled]) -> None:
    """Refuse what cannot be extrapolated."""
    asked = f"extrapolating {ordered[0].name!r} to infinite width" if ordered else "extrapolating"
    widths = [int(e.width) for e in ordered]
    if len(set(widths)) < 2 or len(set(widths)) < len(widths):
        raise HyperparameterError(
            asked, f"the widths are {widths}", "pass estimates at two or more distinct widths"
        )
    shapes = {np.shape(e.mean) for e in ordered}
    if len(shapes) > 1:
        raise HyperparameterError(
            asked, f"the shapes differ: {sorted(shapes)}", "sample the same network at every width"
        )
    require_independent(ordered, asked)


def require_independent(estimates: Sequence[Sampled], asked: str) -> None:
    """Refuse estimates that share a seed: their errors would be correlated."""
    known = [seed for e in estimates for seed in getattr(e, "seeds", ())]
    if len(set(known)) < len(known):
        raise HyperparameterError(
            asked,
            f"the seeds {known} repeat, so the estimates share random numbers",
            "sample each with a seed of its own",
        )


__all__ = ["Extrapolation", "extrapolate", "extrapolate_all", "require_independent"]
