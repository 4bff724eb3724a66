"""What a command prints: aligned tables for people, one strict JSON record for programs."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from resexpand.export.record import write_record

MAX_ROWS = 41
"""Rows of a table; of longer ones evenly spaced rows are shown."""


def say(text: str = "") -> None:
    """Print a line of the answer."""
    sys.stdout.write(text + "\n")


def warn(text: str) -> None:
    """Print a remark that is not part of the answer."""
    sys.stderr.write(f"resexpand: {text}\n")


def record(**sections: object) -> None:
    """Print a record of the package (`resexpand.export.record`) as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(write_record(Path(folder) / "record.json", **sections).read_text("utf-8"))


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under headers, numbers to six digits, columns aligned to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    shown = _spaced(len(cells))
    if sys.stdout.isatty():
        _rich_table(headers, [cells[i] for i in shown])
    else:
        _plain_table(headers, [cells[i] for i in shown])
    if len(shown) < len(cells):
        say(f"({len(shown)} of {len(cells)} rows; --json has all)")


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
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

    grid = Table(box=None, pad_edge=False)
    for header in headers:
        grid.add_column(header, justify="right", no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    Console().print(grid)
