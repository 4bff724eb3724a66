"""Operations over positions in LaTeX: what a convolution sums."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from resexpand.export.latex.layout import Equation
from resexpand.export.latex.printer import FormulaPrinter

LISTED = 9
"""Offsets that are written out."""


def indexed(name: str, index: str) -> str:
    """Put an index on the name of a matrix or vector: ``W_{1}^{l}`` becomes ``W_{1,ij}^{l}``."""
    head, power, upper = name.partition("^")
    base, _, lower = head.partition("_")
    own = lower[1:-1] if "mathrm" in lower else lower.strip("{}")
    return f"{base}_{{{f'{own},{index}' if own else index}}}{power}{upper}"


def convolution(weight: str, op: Any) -> Iterable[Equation]:
    """Return the sum over offsets that a contraction over positions stands for, and its shares."""
    if op.over != "positions":
        return
    offsets = [o[0] if len(o) == 1 else o for o in op.offsets]
    shown = list(map(str, offsets[:LISTED])) + ([r"\dots"] if len(offsets) > LISTED else [])
    sum_ = rf"\sum_{{o \in \{{{', '.join(shown)}\}}}} {indexed(weight, 'o')} x_{{p+o}}"
    size = " \\times ".join(map(str, op.positions))
    remark = rf"p \in \mathbb{{Z}}_{{{size}}}" if op.circular else r"x_{p+o} = 0 \text{ outside}"
    yield Equation(rf"\left( {weight} * x \right)_{{p}}", (sum_,), remark)
    shares = [
        FormulaPrinter().text(v) if not isinstance(v, tuple) else r"\dots" for v in op.values[2:]
    ]
    equal = len(set(shares)) == 1
    listed = shares[0] if equal else rf"\left({', '.join(shares[:LISTED])}\right)_{{o}}"
    yield Equation("v_{o}", (listed,))
