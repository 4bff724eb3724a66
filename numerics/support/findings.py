"""Findings that are no comparison of theory and samples: scores, and numbers within bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from support.claims import Finding, Row

LEVEL = 0.0027


@dataclass(frozen=True)
class Bounded(Finding):
    """Numbers against what they should be, in units of an allowed distance."""

    found: Mapping[str, float]
    right: float
    allowed: float

    @property
    def rows(self) -> dict[str, float]:
        """Every distance."""
        return {name: (value - self.right) / self.allowed for name, value in self.found.items()}

    @property
    def worst(self) -> Row:
        """The largest distance."""
        return Row(*max(self.rows.items(), key=lambda row: abs(row[1])))

    @property
    def verdict(self) -> str:
        """Whether all distances are allowed."""
        return "agrees" if abs(self.worst.z) <= 1 else "disagrees"

    @property
    def resolution(self) -> float:
        """Distance that is allowed."""
        return self.allowed

    @property
    def reason(self) -> str:
        """The worst case."""
        name, _ = self.worst
        return f"{name}: {self.found[name]:.3g}, should be {self.right:g} up to {self.allowed:g}"


@dataclass(frozen=True)
class Scores(Finding):
    """Independent z-scores, judged by the sum of their squares."""

    values: dict[str, float]
    level: float = LEVEL

    @property
    def rms(self) -> float:
        """Root mean square."""
        return float(np.sqrt(np.mean(np.square(list(self.values.values())))))

    @property
    def worst(self) -> Row:
        """The largest score."""
        label = max(self.values, key=lambda key: abs(self.values[key]))
        return Row(label, self.values[label])

    @property
    def verdict(self) -> str:
        """Whether the sum of squares is one of a chi-squared law."""
        count = len(self.values)
        low, high = stats.chi2.ppf([self.level / 2, 1 - self.level / 2], count)
        return "agrees" if low <= count * self.rms**2 <= high else "disagrees"

    @property
    def reason(self) -> str:
        """The root mean square and the largest score."""
        largest = f"{self.worst.z:+.2f} ({self.worst.label})"
        return f"rms of {len(self.values)} scores {self.rms:.3f}, largest {largest}"

    @property
    def resolution(self) -> float:
        """Deviation of the root mean square that would be seen."""
        return float(3 / np.sqrt(2 * len(self.values)))

    @property
    def rows(self) -> dict[str, float]:
        """Every score."""
        return self.values
