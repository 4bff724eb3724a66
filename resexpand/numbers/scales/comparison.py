"""`ScaleComparison`: candidates for the residual scale, and what each leads to."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resexpand.expressions.kept import Kept
from resexpand.expressions.shown import Card, Tabled, listed
from resexpand.numbers.scales.advice import LIMITS, advice
from resexpand.references import Citation

Array = NDArray[np.float64]

COLUMNS = ("scale", "growth", "response", "gradient_ratio", "tail")
"""Arrays of the table, in its order."""


class Row(NamedTuple):
    """One candidate at one depth; numbers that the theory has not are NaN."""

    candidate: str
    depth: int
    scale: float
    growth: float
    response: float
    gradient_ratio: float
    tail: float
    reason: str


@dataclass(frozen=True, repr=False, eq=False)
class ScaleComparison(Kept, Tabled, Mapping[str, Array]):
    """Candidates for the residual scale at several depths, as a mapping from names to arrays.

    All arrays have the shape (candidates, depths): ``scale``, ``growth`` (``K^L / K^0``),
    ``response`` (eta), ``gradient_ratio`` (``P^0 / P^L`` of second moments), ``order_0``,
    ``order_1``, ... (shares of the low orders of the path sum) and ``tail`` (of all others).
    Numbers that do not exist are NaN; `reasons` says why.

    Attributes
    ----------
    arrays : mapping of str to ndarray
        The arrays themselves.
    names, titles, assumptions : tuple of str
        Per candidate: key, name in tables, and what it rests on.
    sources : tuple of Citation or None
        Where each candidate stands.
    depths : tuple of int
        Numbers of blocks.
    reasons : mapping of str to str
        Why a candidate does not apply, by its key.
    remarks : mapping of str to str
        What the scale of a candidate does not say, by its key.
    missing : tuple of str
        Why some of the other numbers do not exist.
    identities : tuple of str
        Keys of candidates under which the network is the identity at initialisation.
    response_kind : str
        Which response it is.
    order : int
        First order of the tail.
    network : str
        The network as text.
    """

    arrays: Mapping[str, Array]
    names: tuple[str, ...]
    titles: tuple[str, ...]
    assumptions: tuple[str, ...]
    sources: tuple[Citation | None, ...]
    depths: tuple[int, ...]
    response_kind: str
    order: int
    network: str
    reasons: Mapping[str, str] = field(default_factory=dict)
    remarks: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    @property
    def citations(self) -> tuple[Citation, ...]:
        """Where the candidates stand."""
        return tuple(dict.fromkeys(source for source in self.sources if source is not None))

    @property
    def recommendation(self) -> str:
        """One sentence: which candidate, and why."""
        return advice(self)

    @property
    def limits(self) -> tuple[str, ...]:
        """What the theory of networks at initialisation cannot say, one sentence each."""
        return LIMITS

    @property
    def rows(self) -> list[Row]:
        """The table: the candidates of the first depth, then of the next."""
        rows = []
        for j, depth in enumerate(self.depths):
            for k, name in enumerate(self.names):
                numbers = {column: float(self[column][k, j]) for column in COLUMNS}
                rows.append(Row(name, depth, reason=self._why(name, k, j), **numbers))
        return rows

    def at(self, name: str, depth: int | None = None) -> Row:
        """Return the row of a candidate, at the largest depth by default.

        Raises
        ------
        KeyError
            If there is no such candidate or depth.
        """
        wanted = self.depths[-1] if depth is None else depth
        for row in self.rows:
            if (row.candidate, row.depth) == (name, wanted):
                return row
        raise KeyError((name, wanted))

    def applies(self, k: int, depths: slice = slice(None)) -> bool:
        """Whether a candidate has a scale at one of some depths, all by default."""
        return bool((~np.isnan(self["scale"][k, depths])).any())

    def _where(self, k: int) -> str:
        """Return the depths at which a candidate does not apply, if there are others."""
        if not self.applies(k):
            return ""
        without = [d for d, s in zip(self.depths, self["scale"][k], strict=True) if np.isnan(s)]
        return f" at depth {listed(without)}"

    def _why(self, name: str, k: int, j: int) -> str:
        return self.reasons.get(name, "") if np.isnan(self["scale"][k, j]) else ""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        about = [
            {
                "name": name,
                "title": title,
                "assumption": assumption,
                "citation": str(source) if source else None,
                "reason": self.reasons.get(name),
                "remark": self.remarks.get(name),
            }
            for name, title, assumption, source in zip(
                self.names, self.titles, self.assumptions, self.sources, strict=True
            )
        ]
        arrays = {name: np.asarray(array).tolist() for name, array in self.items()}
        return {
            "depths": list(self.depths),
            "candidates": about,
            **arrays,
            "recommendation": self.recommendation,
            "limits": list(self.limits),
            "missing": list(self.missing),
        }

    def card(self) -> Card:
        """Return what it says about itself: the largest depth; `str` gives the whole table."""
        left = [name for k, name in enumerate(self.names) if self.applies(k, slice(-1, None))]
        scales = ", ".join(f"{n} {self.at(n).scale:.3g}" for n in left)
        return Card(
            f"ScaleComparison: {len(left)} of {len(self.names)} candidates",
            (
                ("network", self.network),
                ("depths", listed(self.depths)),
                (f"scales at {self.depths[-1]}", scales),
                ("arrays", listed(self)),
                ("not for it", listed(self.reasons)),
                ("advice", self.recommendation),
                ("next", "print(...), .plot(), .at(name), .limits"),
            ),
        )

    def __str__(self) -> str:
        blocks = [
            "\n".join([f"depth {depth}", *_aligned([self._head(), *self._cells(j)])])
            for j, depth in enumerate(self.depths)
        ]
        return "\n\n".join([*blocks, "\n".join(self._notes())])

    def _repr_html_(self) -> str:
        blocks = []
        for j, depth in enumerate(self.depths):
            lines = [_html_line("th", self._head()), *(_html_line("td", c) for c in self._cells(j))]
            blocks.append(f"<p><b>depth {depth}</b></p><table>{''.join(lines)}</table>")
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self._notes())
        return f"<div>{''.join(blocks)}{notes}</div>"

    def _head(self) -> list[str]:
        numbers = ("scale", "K(L)/K(0)", f"{self.response_kind} response", "gradient first/last")
        return ["candidate", *numbers, f"orders >= {self.order}"]

    def _cells(self, j: int) -> list[list[str]]:
        return [
            [title, *(_number(float(self[c][k, j])) for c in COLUMNS)]
            for k, title in enumerate(self.titles)
            if self.applies(k, slice(j, j + 1))
        ]

    def _notes(self) -> list[str]:
        named = list(zip(self.names, self.titles, strict=True))
        return [
            *(f"{title}: {self.remarks[n]}" for n, title in named if n in self.remarks),
            *(
                f"{title} does not apply{self._where(k)}: {self.reasons[n]}"
                for k, (n, title) in enumerate(named)
                if n in self.reasons
            ),
            *(f"no number: {text}" for text in self.missing),
            f"recommendation: {self.recommendation}",
            *(f"not said here: {text}" for text in self.limits),
        ]


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4g}"


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            [
                cells[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)),
            ]
        ).rstrip()
        for cells in lines
    ]


def _html_line(tag: str, cells: list[str]) -> str:
    style = ' style="text-align:right"'
    return f"<tr>{''.join(f'<{tag}{style}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"
