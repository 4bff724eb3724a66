"""Direction of a difference between two ways of training, over paired seeds.

The seeds of both ways draw the same initial weights and mini-batches, so differences are taken
seed by seed and judged by Student's test. A claim of a direction agrees if chance would exceed
the difference with a probability below `LEVEL`, and disagrees if it is as clear in the other
direction; anything else is inconclusive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from support.claims import Claim, Finding, Row

LEVEL = 0.01


@dataclass(frozen=True)
class Direction(Finding):
    """Differences that should be positive, over seeds.

    Attributes
    ----------
    differences : mapping of str to sequence of float
        Case to one difference per seed.
    matters : float
        Difference that matters, in the units of the differences.
    sign : int
        1 as claimed, -1 for the opposite.
    """

    differences: Mapping[str, Sequence[float]]
    matters: float
    sign: int = 1

    @property
    def cases(self) -> dict[str, dict[str, float]]:
        """Mean, standard error and one-sided probability of every case."""
        found = {}
        for name, values in self.differences.items():
            array = self.sign * np.asarray(values, dtype=float)
            n, mean = len(array), float(array.mean())
            # Equal differences, as where one side always fails, still leave one unit of rounding.
            error = max(float(array.std(ddof=1)) / np.sqrt(n), 1e-3 * self.matters)
            chance = float(student.sf(mean / error, n - 1))
            found[name] = {"mean": mean, "error": error, "chance": chance, "seeds": n}
        return found

    @property
    def rows(self) -> dict[str, dict[str, float]]:
        """Every number that was judged."""
        return self.cases

    @property
    def worst(self) -> Row:
        """The case that speaks least for the claim."""
        name, case = max(self.cases.items(), key=lambda item: item[1]["chance"])
        return Row(name, case["mean"] / case["error"])

    @property
    def verdict(self) -> str:
        """Whether all cases have the direction, one has the opposite, or neither is clear."""
        chances = np.array([case["chance"] for case in self.cases.values()])
        largest = float(np.max(chances, initial=0.0))  # NaN, if a network diverged, is no verdict
        if largest < LEVEL / len(chances):
            return "agrees"
        return "disagrees" if largest > 1 - LEVEL / len(chances) else "inconclusive"

    @property
    def resolution(self) -> float:
        """Smallest difference that would have been seen, in units of the one that matters."""
        level = LEVEL / len(self.cases)
        sizes = [student.isf(level, c["seeds"] - 1) * c["error"] for c in self.cases.values()]
        return float(max(sizes)) / self.matters

    @property
    def reason(self) -> str:
        """Every case with its standard error."""
        said = (f"{n}: {c['mean']:.3g} +- {c['error']:.2g}" for n, c in self.cases.items())
        return "; ".join(said)


def direction_claim(
    name: str, statement: str, differences: Mapping[str, Any], matters: float, opposite: str
) -> Claim:
    """Return the claim that differences are positive; its control is the opposite claim.

    Parameters
    ----------
    name, statement : str
        Of the claim.
    differences : mapping
        Case to one difference per seed.
    matters : float
        Difference that would matter.
    opposite : str
        The statement of the control.
    """
    claimed, other = (Direction(differences, matters, sign) for sign in (1, -1))
    return Claim(name, statement, claimed, other, opposite, resolve=1.0)
