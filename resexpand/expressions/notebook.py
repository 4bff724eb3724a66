"""Results in notebooks: the equations of `to_latex`, by its own printer."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def in_notebook(result: Any) -> str:
    """Return a result as one formula between dollar signs.

    The printer stands above all theory, so it is loaded when a notebook asks.
    """
    shown: str = import_module("resexpand.export.notebook").notebook_latex(result)
    return shown


def as_page(result: Any) -> str:
    """Return words and formulas of a derivation, or of one of its steps, as HTML."""
    shown: str = import_module("resexpand.export.notebook").notebook_page(result)
    return shown
