"""Measured numbers against derived ones, at infinite width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from support.claims import Finding, Row

BOUND = 4.0
"""Largest z-score of some dozens that counts as chance."""


@dataclass(frozen=True)
class Ratios(Finding):
    """Measured numbers against derived ones, in standard errors."""

    theory: dict[str, float]
    mean: dict[str, float]
    error: dict[str, float]

    @property
    def rows(self) -> dict[str, float]:
        """Every z-score."""
        return {k: (self.mean[k] - self.theory[k]) / self.error[k] for k in self.theory}

    @property
    def worst(self) -> Row:
        """The largest deviation."""
        return Row(*max(self.rows.items(), key=lambda row: abs(row[1])))

    @property
    def verdict(self) -> str:
        """Whether all deviations are chance."""
        return "agrees" if abs(self.worst.z) < BOUND else "disagrees"

    @property
    def resolution(self) -> float:
        """Relative deviation of the least certain number that would have been seen."""
        return max(BOUND * self.error[k] / abs(self.mean[k]) for k in self.theory)

    @property
    def reason(self) -> str:
        """The worst case and the root mean square."""
        rms = np.sqrt(np.mean(np.square(list(self.rows.values()))))
        return f"worst z = {self.worst.z:.2f} ({self.worst.label}), rms {rms:.2f}"


def extrapolated(widths: Sequence[int], means: Any, errors: Any) -> tuple[Any, Any]:
    """Return means at infinite width, linear in the inverse width, and their standard errors.

    Parameters
    ----------
    widths : sequence of int
        Two or more.
    means, errors : array_like, shape (widths, ...)
        Of independent samples.
    """
    # Weights of the intercept of a least squares line, the same for all numbers.
    line = np.linalg.pinv(np.vander(1 / np.array(widths), 2))[1]
    return line @ np.array(means), np.sqrt(line**2 @ np.array(errors) ** 2)


def scores(theory: dict[str, float], found: dict[str, tuple[float, float]]) -> Ratios:
    """Return the numbers of a claim side by side, given means and errors by label."""
    means, errors = ({k: float(found[k][i]) for k in theory} for i in (0, 1))
    return Ratios({k: float(v) for k, v in theory.items()}, means, errors)
