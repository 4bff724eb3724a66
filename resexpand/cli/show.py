"""Output of a command: aligned tables for people, one strict JSON record for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from resexpand.cli.output import one_line, remark, write
from resexpand.export.record import record_text

MAX_ROWS = 41
"""Rows of a table; of longer ones evenly spaced rows are shown."""


def say(text: str = "") -> None:
    """Print a line of the answer."""
    write(f"{text}\n")


def warn(text: str) -> None:
    """Print a remark that is not part of the answer."""
    remark(text)


def record(**sections: object) -> None:
    """Print a record of the package (`resexpand.export.record`) as JSON."""
    write(record_text(**sections))


def theory_record(
    command: str,
    source: Any,
    settings: Mapping[str, object],
    formulas: Mapping[str, str],
    results: Sequence[object],
    neglects: str | None = None,
) -> None:
    """Print the record of a theory: settings, formulas, what is neglected, papers, numbers."""
    record(
        command=command,
        settings=settings,
        formulas=formulas,
        neglects=getattr(source, "neglects", "") if neglects is None else neglects,
        citations=list(map(str, source.citations)),
        results=results,
    )


def draw(figure: Any, stem: str) -> None:
    """Save a figure as PDF and PNG."""
    from resexpand.export.figures.picture_files import save_figure

    for path in save_figure(figure, stem):
        warn(f"wrote {path}")


def table(headers: Sequence[str], count: int, row: Callable[[int], Sequence[object]]) -> None:
    """Print rows under headers, numbers to six digits, columns aligned to the right.

    Parameters
    ----------
    headers : sequence of str
        One per column.
    count : int
        Number of rows; of more than `MAX_ROWS` evenly spaced ones are shown.
    row : callable
        Index to the cells of that row; asked only for what is shown.
    """
    shown = _spaced(count)
    cells = [[_cell(value) for value in row(index)] for index in shown]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    for line in [headers, *cells]:
        say("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if len(shown) < count:
        say(f"({len(shown)} of {count} rows; --json has all)")


def _cell(value: object) -> str:
    if isinstance(value, str):
        return one_line(value)
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _spaced(count: int) -> list[int]:
    """Return the indices of at most `MAX_ROWS` rows, first and last among them."""
    if count <= MAX_ROWS:
        return list(range(count))
    return [round(i * (count - 1) / (MAX_ROWS - 1)) for i in range(MAX_ROWS)]
