"""Checks of an order, a number of labels, and the memory for an enumeration.

An order is the number of vertices of a tree, from 1. An enumeration that would not fit into the
memory of this machine is refused before it starts, with the number of bytes it would take.
"""

from __future__ import annotations

import os
from numbers import Integral
from typing import Any

from resexpand.errors import HyperparameterError, UnsupportedError

MEMORY_SHARE = 0.5
"""Part of the memory of the machine that one enumeration may take."""
MAX_ORDER = 150
"""Highest order of which labelled trees are counted; the cost grows with its fourth power."""
FALLBACK_MEMORY = 4 * 2**30
"""Bytes assumed where the system does not tell how many it has."""

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def check_order(order: Any, name: str = "order") -> int:
    """Return an order as an integer.

    Raises
    ------
    HyperparameterError
        If it is not an integer of 1 or more.
    """
    return _at_least(order, 1, name)


def check_countable(order: Any) -> int:
    """Return an order whose trees can be counted.

    Raises
    ------
    HyperparameterError
        If it is not an integer of 1 or more.
    UnsupportedError
        If it is above `MAX_ORDER`.
    """
    checked = check_order(order)
    if checked > MAX_ORDER:
        raise UnsupportedError(
            f"counts of order {checked}",
            "the counting series of that order cost too much",
            f"ask for orders up to {MAX_ORDER}",
        )
    return checked


def check_count(count: Any, name: str = "number of labels", least: int = 0) -> int:
    """Return a number of labels or blocks as an integer.

    Raises
    ------
    HyperparameterError
        If it is not an integer, or below the least that makes sense.
    """
    return _at_least(count, least, name)


def _at_least(value: Any, least: int, name: str) -> int:
    # SymPy's integers are not registered with `numbers`, but know that they are integers.
    integral = isinstance(value, Integral) or getattr(value, "is_Integer", False) is True
    if isinstance(value, bool) or not integral:
        raise HyperparameterError(
            f"{name} = {value!r}",
            f"it is of type {type(value).__name__}, not an integer",
            f"give an integer >= {least}",
        )
    if value < least:
        raise HyperparameterError(
            f"{name} = {value}", f"it is below {least}", f"give an integer >= {least}"
        )
    return int(value)


def check_memory(what: str, count: int, bytes_each: int, is_least: bool = False) -> None:
    """Refuse an enumeration that would not fit into memory.

    Parameters
    ----------
    what : str
        Name of the objects enumerated, for the message.
    count : int
        How many there are.
    bytes_each : int
        Bytes that each of them takes.
    is_least : bool, optional
        Whether there are more than that.

    Raises
    ------
    UnsupportedError
        If they would take more than `MEMORY_SHARE` of the memory of this machine.
    """
    needed, limit = count * bytes_each, int(MEMORY_SHARE * memory_size())
    if needed > limit:
        about = "more than" if is_least else "about"
        raise UnsupportedError(
            what,
            f"there are {'more than ' * is_least}{_rounded(count)} of them, which would take "
            f"{about} {as_bytes(needed)}, "
            f"and at most {as_bytes(limit)} may be used here",
            "lower the order or the number of blocks, or ask for the counts or for symbolic depth, "
            "which enumerate no labels",
        )


def memory_size() -> int:
    """Return the physical memory of this machine in bytes."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return FALLBACK_MEMORY


def as_bytes(number: int) -> str:
    """Return a number of bytes in the unit a reader expects: ``3.2 GiB``."""
    power = min((max(number, 1).bit_length() - 1) // 10, len(_UNITS) - 1)
    # Integers beyond the range of floats occur: orders can be absurd.
    tenths = number * 10 // 1024**power
    if tenths >= 10**5:
        return f"{_rounded(tenths // 10)} {_UNITS[power]}"
    return f"{tenths / 10:g} {_UNITS[power]}"


def _rounded(number: int) -> str:
    digits = str(number)
    return f"{number:,}" if len(digits) <= 12 else f"{digits[0]}.{digits[1]}e{len(digits) - 1}"
