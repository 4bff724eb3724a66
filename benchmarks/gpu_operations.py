"""How many arithmetic instructions a loop takes, read from its PTX: the roof of what computes.

The longest loop of a routine is the one over layers. Its instructions on float64 are counted,
each as one slot of a fused multiply-add; a division or square root, which the assembler expands,
counts `EXPANDED`. A compiler that unrolled the loop is seen by the stores, of which every layer has
a known number. The count is of instructions as written: a roof within some ten per cent.
"""

from __future__ import annotations

import re

EXPANDED = 9
ARITHMETIC = r"(fma|add|sub|mul|setp|min|max|cvt|rcp|ex2|lg2|sin|cos)"
BRANCH = re.compile(r"\bbra(?:\.uni)?\s+(\$\w+);")
LABEL = re.compile(r"^(\$\w+):")


def longest_loop(ptx: str) -> list[str]:
    """Return the lines from a label to the last jump back to it, of the longest such stretch."""
    labels: dict[str, int] = {}
    longest: list[str] = []
    lines = ptx.splitlines()
    for number, line in enumerate(lines):
        if label := LABEL.match(line.strip()):
            labels[label[1]] = number
        jump = BRANCH.search(line)
        if jump and jump[1] in labels and number - labels[jump[1]] > len(longest):
            longest = lines[labels[jump[1]] : number]
    return longest


def slots_per_layer(ptx: str, stores: int) -> float | None:
    """Return the arithmetic of one layer in slots of a multiply-add, None if there is no loop.

    Parameters
    ----------
    ptx : str
        Text of a routine.
    stores : int
        Numbers that a layer writes.
    """
    loop = "\n".join(longest_loop(ptx))
    written = len(re.findall(r"\bst\.global\S*\.f64\b", loop))
    if not written:
        return None
    simple = len(re.findall(rf"\b{ARITHMETIC}\S*\.f64\b", loop))
    expanded = len(re.findall(r"\b(div|sqrt)\S*\.f64\b", loop))
    return (simple + EXPANDED * expanded) * stores / written
