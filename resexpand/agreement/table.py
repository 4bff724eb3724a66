"""How an agreement is shown: an aligned text table and an HTML table.

One line per entry: `theory | Monte Carlo +- error | neglected | z`. A value is written to two
significant digits of its standard error, so the last digits shown are the uncertain ones.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One compared entry.

    `neglected` and `rounding` are bounds in the units of `theory`; `z` is in standard errors;
    `ok` is None where the entry was not judged, and `note` says why; `detectable` is the smallest
    relative deviation that would have been seen.
    """

    label: str
    theory: float
    estimate: float
    stderr: float
    neglected: float
    z: float
    ok: bool | None
    rounding: float
    detectable: float
    note: str


MARKS = {True: "", False: "off", None: "not judged"}
COLOURS = {"agrees": "#1b7837", "disagrees": "#b2182b", "inconclusive": "#8c6d1f"}


def text_table(rows: Sequence[Row], heading: tuple[str, str], most: int = 24) -> str:
    """Write an aligned table of at most `most` rows: those off, the worst, an even selection."""
    shown = select(rows, most)
    cells = [("", heading[0], f"{heading[1]} ± error", "neglected", "z", "")]
    cells += [row_cells(rows[i]) for i in shown]
    widths = [max(len(line[k]) for line in cells) for k in range(6)]
    lines = [_aligned(line, widths) for line in cells]
    lines.insert(1, "-" * (sum(widths[:5]) + 12))
    if len(shown) < len(rows):
        lines.append(f"({len(rows) - len(shown)} further entries in .rows)")
    return "\n".join(lines)


def html_table(rows: Sequence[Row], heading: tuple[str, str], verdict: str, reason: str) -> str:
    """Write the same table as HTML, the verdict above it."""
    head = ("", heading[0], f"{heading[1]} ± error", "neglected", "z", "")
    body = [_html_line("th", head)]
    body += [_html_line("td", row_cells(rows[i])) for i in select(rows, 24)]
    if len(rows) > 24:
        body.append(f'<tr><td colspan="6">… {len(rows)} entries in all, see .rows</td></tr>')
    colour = COLOURS[verdict]
    title = f'<b style="color:{colour}">{verdict}</b>: {html.escape(reason)}'
    return f"<div><p>{title}</p><table>{''.join(body)}</table></div>"


def select(rows: Sequence[Row], most: int) -> list[int]:
    """Choose the indices of the rows to show, in order."""
    if len(rows) <= most:
        return list(range(len(rows)))
    urgent = [i for i, row in enumerate(rows) if row.ok is not True][: most // 2]
    known = [i for i, row in enumerate(rows) if math.isfinite(row.z)]
    if known:
        urgent.append(max(known, key=lambda i: abs(rows[i].z)))
    free = most - len(set(urgent))
    even = [round(k * (len(rows) - 1) / (free - 1)) for k in range(free)]
    return sorted(set(urgent) | set(even))


def row_cells(row: Row) -> tuple[str, str, str, str, str, str]:
    """Write the texts of one line."""
    theory, estimate = paired(row.theory, row.estimate, row.stderr)
    neglected = "0" if row.neglected == 0.0 else f"{row.neglected:.1e}"
    z = f"{row.z:+.2f}" if math.isfinite(row.z) else str(row.z)
    return row.label, theory, estimate, neglected, z, MARKS[row.ok]


def paired(theory: float, estimate: float, stderr: float) -> tuple[str, str]:
    """Write theory and `estimate ± error`, to two digits of the error (theory one more)."""
    if not (math.isfinite(estimate) and math.isfinite(stderr)):
        return f"{theory:.6g}", f"{estimate:.6g} ± {stderr:.2g}"
    size = max(abs(estimate), abs(stderr))
    if stderr == 0.0 or size / stderr > 1e12:
        return f"{theory:.8g}", f"{estimate:.8g} ± {stderr:.1g}"
    power = math.floor(math.log10(size))
    power = 0 if -4 <= power < 6 else power
    tail = f"e{power:+03d}" if power else ""
    unit = 10.0**power
    digits = max(0, 1 - math.floor(math.log10(stderr / unit)))
    left = f"{theory / unit:.{digits + 1}f}{tail}"
    return left, f"{estimate / unit:.{digits}f} ± {stderr / unit:.{digits}f}{tail}"


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    numbers = [text.rjust(width) for text, width in zip(line[1:5], widths[1:5], strict=True)]
    return "   ".join([line[0].ljust(widths[0]), *numbers, line[5]]).rstrip()


def _html_line(tag: str, cells: Sequence[str]) -> str:
    style = ' style="text-align:right"'
    return f"<tr>{''.join(f'<{tag}{style}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"
