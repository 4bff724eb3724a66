"""How results show themselves: a heading and a few facts, as text or as a table of HTML.

Long texts end in dots and long arrays show their ends, so that a result fits a screen whatever it
holds.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np

from resexpand.conventions import is_on_device

WIDTH = 96
"""Columns of a line of text."""

ROWS = 3
"""Lines of a long text, such as the sentence of a verdict."""

ENDS = 3
"""Numbers shown at either end of a long array."""

MOST = 10
"""Facts shown of a result that has more; the others are named."""


@dataclass(frozen=True)
class Card:
    """Summary of a result.

    Attributes
    ----------
    heading : str
        Kind and title, settings, status.
    facts : tuple of (str, str)
        Names with what belongs to them, a line each; empty ones are left out.
    notes : tuple of str
        Sentences that must be seen; the first character is a mark.
    """

    heading: str
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> list[tuple[str, str]]:
        """The facts that are shown."""
        said = [(name, text) for name, text in self.facts if text]
        more = listed(name for name, _ in said[MOST:])
        return [*said[:MOST], ("...", f"{len(said) - MOST} more: {more}")] if more else said

    def __str__(self) -> str:
        width = max((len(name) for name, _ in self.lines), default=0)
        facts = [_hanging(name.ljust(width), text) for name, text in self.lines]
        return "\n".join([f"<{self.heading}>", *facts, *self.notes])

    @property
    def page(self) -> str:
        """The same as HTML."""
        row = '<tr><th style="text-align:left">{}</th><td style="text-align:left">{}</td></tr>'
        rows = [
            row.format(html.escape(k), html.escape(clipped(v, ROWS * WIDTH))) for k, v in self.lines
        ]
        notes = [f"<p>{html.escape(note)}</p>" for note in self.notes]
        table = f"<table>{''.join(rows)}</table>" if rows else ""
        return f"<div><p><b>{html.escape(self.heading)}</b></p>{table}{''.join(notes)}</div>"


class Shown:
    """Shows itself in a terminal by `card`."""

    def card(self) -> Card:
        """Return what there is to say."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return str(self.card())


class Tabled(Shown):
    """Shows itself by `card` in a notebook, too."""

    def _repr_html_(self) -> str:
        return self.card().page


class Fielded(Tabled):
    """Shows the fields of a dataclass, of long arrays the ends."""

    def card(self) -> Card:
        """Return what there is to say."""
        told = ((field.name, getattr(self, field.name)) for field in fields(cast(Any, self)))
        return Card(type(self).__name__, tuple((name, _told(value)) for name, value in told))


def _told(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, np.ndarray | float):
        return numbers(value)
    return listed(value) if isinstance(value, tuple) else str(value)


def clipped(text: str, room: int) -> str:
    """Return a text without line breaks, not longer than there is room."""
    line = " ".join(text.split())
    return line if len(line) <= room else line[: room - 4] + " ..."


def _hanging(name: str, text: str) -> str:
    """Return a name and the text behind it, in at most so many rows."""
    room = WIDTH - len(name) - 4
    rows = textwrap.wrap(text, room, max_lines=ROWS, placeholder=" ...")
    return "\n".join([f"  {name}  {rows[0]}", *(f"  {' ' * len(name)}  {row}" for row in rows[1:])])


def listed(items: Iterable[object]) -> str:
    """Return things with commas between them."""
    return ", ".join(map(str, items))


def numbers(array: Any) -> str:
    """Return the numbers of an array; of a long one the shape, the first and the last."""
    if is_on_device(array):
        return f"shape {array.shape}, on the device"
    values = np.asarray(array)
    flat = [f"{value:.6g}" for value in _ends(values.ravel())]
    if values.size > 2 * ENDS:
        flat.insert(ENDS, "...")
    shape = f"shape {values.shape}: " if values.ndim > 1 or values.size > 2 * ENDS else ""
    return shape + listed(flat)


def _ends(flat: Any) -> Any:
    return flat if flat.size <= 2 * ENDS else np.concatenate([flat[:ENDS], flat[-ENDS:]])
