"""What scripts of derivations share: their one option, and the document they write."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resexpand.export.files import write_atomically
from resexpand.export.latex.to_latex import to_latex

FOLDER = "resexpand-derivations"


def output_folder(words: str | None, arguments: Sequence[str] | None = None) -> Path:
    """Read the command line before anything is derived, so that ``--help`` runs nothing.

    In a notebook the arguments belong to Jupyter: the default folder is used.

    Parameters
    ----------
    words : str or None
        What the script derives.
    arguments : sequence of str, optional
        Instead of those of the command line.
    """
    parser = argparse.ArgumentParser(description=words or "Derive, check and write LaTeX.")
    parser.add_argument(
        "--out", type=Path, default=Path(FOLDER), help=f"folder of the LaTeX (default: {FOLDER})"
    )
    if arguments is None and "ipykernel" in sys.modules:
        arguments = []
    chosen: Path = parser.parse_args(arguments).out
    return chosen


def write_derivation(results: Sequence[Any], path: Path) -> Path:
    """Write a derivation, and what belongs to it, as a document, and say where."""
    text = to_latex(results, style="document")
    written = write_atomically(path, text.encode(), "the derivation")
    sys.stdout.write(f"written: {written}\n")
    return written
