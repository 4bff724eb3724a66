"""What a command prints: aligned tables for people, one strict JSON record for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

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
    (_rich_table if sys.stdout.isatty() else _plain_table)(headers, cells)
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


def _plain_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    for row in [headers, *rows]:
        say("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _rich_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False)
    for header in headers:
        grid.add_column(header, justify="right", no_wrap=True)
    for row in rows:
        grid.add_row(*map(Text, row))  # of which no part is markup
    console = Console()
    with console.capture() as captured:
        console.print(grid)
    write(captured.get(), styled=True)
