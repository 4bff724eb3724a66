"""Operations over positions in LaTeX: what a convolution sums."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from resexpand.export.latex.layout import Equation
from resexpand.export.latex.printer import FormulaPrinter

LISTED = 9
"""Offsets that are written out."""


def at_offset(weight: str) -> str:
    """Return the name of a weight matrix at an offset o: ``W_{1}^{l}`` becomes ``W_{1,o}^{l}``."""
    head, power, upper = weight.partition("^")
    base, _, lower = head.partition("_")
    inner = f"{lower.strip('{}')},o" if lower else "o"
    return f"{base}_{{{inner}}}{power}{upper}"


def convolution(weight: str, op: Any) -> Iterable[Equation]:
    """Return the sum over offsets that a contraction over positions stands for, and its shares."""
    if op.over != "positions":
        return
    offsets = [o[0] if len(o) == 1 else o for o in op.offsets]
    shown = list(map(str, offsets[:LISTED])) + ([r"\dots"] if len(offsets) > LISTED else [])
    sum_ = rf"\sum_{{o \in \{{{', '.join(shown)}\}}}} {at_offset(weight)} x_{{p+o}}"
    size = " \\times ".join(map(str, op.positions))
    remark = rf"p \in \mathbb{{Z}}_{{{size}}}" if op.circular else r"x_{p+o} = 0 \text{ outside}"
    yield Equation(rf"\left( {weight} * x \right)_{{p}}", (sum_,), remark)
    shares = [
        FormulaPrinter().text(v) if not isinstance(v, tuple) else r"\dots" for v in op.values[2:]
    ]
    equal = len(set(shares)) == 1
    listed = shares[0] if equal else rf"\left({', '.join(shares[:LISTED])}\right)_{{o}}"
    yield Equation("v_{o}", (listed,))
