"""The outcome of a comparison: verdict, z-scores, error budget, table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

from resexpand.agreement.budget import Budget
from resexpand.agreement.table import Row, html_table, paired, text_table
from resexpand.agreement.tails import Array
from resexpand.agreement.verdict import Entries, Judgement, judge
from resexpand.errors import UnsupportedError
from resexpand.expressions.kept import Kept
from resexpand.expressions.shown import Card, listed

EXIT_CODES = {"agrees": 0, "disagrees": 1, "inconclusive": 2}


@dataclass(frozen=True, eq=False, repr=False)
class Agreement(Kept):
    """Outcome of a comparison. Made by `compare`, `two_sample` and `combine`.

    An agreement has three outcomes, so it has no truth value: `bool(agreement)` raises; write
    `agreement.verdict == "agrees"` or use `agreement.exit_code`.

    Attributes
    ----------
    entries : Entries
        The entries judged, one value per entry.
    judgement : Judgement
        Outcome per entry and over all.
    positions : mapping of str to ndarray of int
        For each name the index of its entries, in the shape of the compared array.
    level, resolve : float
        Family-wise level, and the relative deviation that had to be detectable.
    heading : tuple of str
        Titles of the two sides.
    notes : tuple of str
        Health flags of the estimates and what was left out.
    """

    entries: Entries
    judgement: Judgement
    positions: Mapping[str, npt.NDArray[np.intp]]
    level: float
    resolve: float
    heading: tuple[str, str] = ("theory", "Monte Carlo")
    notes: tuple[str, ...] = field(default=())

    @property
    def verdict(self) -> str:
        """`"agrees"`, `"disagrees"` or `"inconclusive"`."""
        return self.judgement.verdict

    @property
    def reason(self) -> str:
        """Why, in one sentence; for an inconclusive verdict, what to do."""
        return self.judgement.reason

    @property
    def exit_code(self) -> int:
        """0 agrees, 1 disagrees, 2 inconclusive."""
        return EXIT_CODES[self.verdict]

    @property
    def p_value(self) -> float:
        """Family-wise tail probability (Bonferroni)."""
        return self.judgement.p_value

    @property
    def resolution(self) -> float:
        """Relative deviation seen at every entry; infinite if one was not judged."""
        seen = self.judgement.detectable
        return float(np.max(np.where(np.isfinite(seen), seen, np.inf), initial=0.0))

    @property
    def z(self) -> dict[str, Array]:
        """z-scores by name, in the shape of the compared arrays."""
        return self._shaped(self.judgement.z)

    @property
    def budget(self) -> dict[str, Budget]:
        """Error budget by name: Monte Carlo, neglected order, rounding."""
        parts = [
            self._shaped(part)
            for part in (self.entries.stderr, self.entries.neglected, self.entries.rounding)
        ]
        return {name: Budget(*(part[name] for part in parts)) for name in self.positions}

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per entry: label, theory, estimate, stderr, neglected, z, ok, ..."""
        e, j = self.entries, self.judgement
        numbers = (e.theory, e.estimate, e.stderr, e.neglected, j.z, e.rounding, j.detectable)
        table = np.column_stack(numbers).tolist()
        texts = zip(e.labels, j.ok, j.unjudged, strict=True)
        return tuple(
            Row(label, t, m, s, b, z, ok, r, d, note)
            for (label, ok, note), (t, m, s, b, z, r, d) in zip(texts, table, strict=True)
        )

    @property
    def worst(self) -> Row:
        """The entry least compatible with its budget; among equals the largest |z|."""
        keys = [
            (-p if math.isfinite(p) else -2.0, abs(z) if not math.isnan(z) else -1.0)
            for p, z in zip(self.judgement.p.tolist(), self.judgement.z.tolist(), strict=True)
        ]
        return self.rows[max(range(len(keys)), key=keys.__getitem__)]

    def to_dict(self, *, json_safe: bool = True) -> dict[str, object]:
        """Return the outcome and its rows; if `json_safe`, None for what is not finite."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "exit_code": self.exit_code,
            "p_value": self.p_value,
            "level": self.level,
            "resolve": self.resolve,
            "heading": list(self.heading),
            "notes": list(self.notes),
            "rows": [
                {k: _finite(v) if json_safe else v for k, v in row._asdict().items()}
                for row in self.rows
            ],
        }

    def __str__(self) -> str:
        lines = [text_table(self.rows, self.heading), f"{self.verdict}: {self.reason}"]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def __repr__(self) -> str:
        entries = len(self.judgement.z)
        heading = f"Agreement: {self.verdict}, {entries} entries, p = {self.p_value:.3g}"
        facts = (("names", listed(self.positions)), ("largest", _row_text(self.worst)))
        options = ("level", f"{self.level:g}, to resolve {self.resolve:g}")
        return str(Card(heading, (("reason", self.reason), *facts, options)))

    def _repr_html_(self) -> str:
        return html_table(self.rows, self.heading, self.verdict, self.reason)

    def __bool__(self) -> bool:
        raise UnsupportedError(
            "truth value of an agreement",
            "its verdict is one of three: agrees, disagrees, inconclusive",
            "compare .verdict with 'agrees', or use .exit_code",
        )

    def _shaped(self, flat: Array) -> dict[str, Array]:
        return {name: flat[index] for name, index in self.positions.items()}


def assemble(
    keys: Sequence[str],
    built: Sequence[tuple[Entries, npt.NDArray[np.intp]]],
    *,
    level: float,
    resolve: float,
    heading: tuple[str, str] = ("theory", "Monte Carlo"),
    notes: tuple[str, ...] = (),
) -> Agreement:
    """Join the entries of all names and judge them together."""
    parts = [part for part, _ in built]
    joined: dict[str, object] = {}
    for item in fields(Entries):
        values = [getattr(part, item.name) for part in parts]
        textual = item.name in ("labels", "unjudged")
        joined[item.name] = sum(values, ()) if textual else np.concatenate(values)
    entries = Entries(**joined)  # type: ignore[arg-type]
    starts = np.cumsum([0, *(len(part.labels) for part in parts)])
    positions = {
        key: index + start for key, (_, index), start in zip(keys, built, starts, strict=False)
    }
    judgement = judge(entries, level=level, resolve=resolve)
    return Agreement(entries, judgement, positions, level, resolve, heading, notes)


def _row_text(row: Row) -> str:
    theory, estimate = paired(row.theory, row.estimate, row.stderr)
    return f"{row.label}: theory {theory}, estimate {estimate}, z = {row.z:+.2f}"


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
