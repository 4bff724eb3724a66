"""A finding of measured numbers against derived ones, each in standard errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from support.claims import Finding, Row

BOUND = 4.0
"""Largest z-score of some dozens that counts as chance."""


@dataclass(frozen=True)
class Scores(Finding):
    """Theory, measured means and their errors, by label."""

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
        worst = self.worst
        return (
            f"{len(self.rows)} numbers, worst z = {worst.z:.2f} ({worst.label}: "
            f"{self.mean[worst.label]:.5g}, theory {self.theory[worst.label]:.5g}), rms {rms:.2f}"
        )


def scores(theory: dict[str, float], found: dict[str, tuple[float, float]]) -> Scores:
    """Return the numbers of a claim side by side, given means and errors."""
    means, errors = ({k: float(found[k][i]) for k in theory} for i in (0, 1))
    return Scores({k: float(v) for k, v in theory.items()}, means, errors)
