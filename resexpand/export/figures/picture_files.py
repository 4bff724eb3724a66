"""Figures as files, and as notebooks show them."""

from __future__ import annotations

import io
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from resexpand.export.figures.style import RESOLUTION, house_style
from resexpand.export.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def in_notebook(figure: Figure) -> Figure:
    """Let a notebook show a figure that no plotting backend knows of."""
    figure._repr_png_ = partial(drawn, figure, "png")  # type: ignore[attr-defined]
    return figure


def save_figure(figure: Figure, stem: str | os.PathLike[str]) -> list[Path]:
    """Save a figure as PDF (vector) and PNG (200 dots per inch).

    Parameters
    ----------
    figure : Figure
    stem : path
        Path without suffix; a dot in its name is kept.

    Returns
    -------
    list of Path
        The PDF and the PNG. Both are free of dates: equal figures give equal files.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    """
    stem = Path(stem)
    return [
        write_atomically(stem.with_name(f"{stem.name}.{kind}"), drawn(figure, kind), "the figure")
        for kind in ("pdf", "png")
    ]


def drawn(figure: Figure, kind: str) -> bytes:
    """Return a figure as a file of a kind, ``"svg"``, ``"pdf"`` or ``"png"``.

    The file is free of dates, and text in SVG is outlines, for fonts are few.
    """
    import matplotlib as mpl

    metadata: dict[str, dict[str, str | None]] = {
        "svg": {"Date": None},
        "pdf": {"CreationDate": None, "Creator": "resexpand"},
        "png": {"Software": None},
    }
    buffer = io.BytesIO()
    with house_style(), mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "resexpand"}):
        figure.savefig(buffer, format=kind, dpi=RESOLUTION, metadata=metadata[kind])
    return buffer.getvalue()
