"""Memory that results take, compared with what the machine has, before anything is filled."""

from __future__ import annotations

import os
from pathlib import Path

from resexpand.errors import HostMemoryError

CONTROL_GROUP = Path("/sys/fs/cgroup")
MEMORY_INFO = Path("/proc/meminfo")

ALWAYS_GRANTED = 1 << 28
"""Bytes below which the machine is not asked: the question costs more than it saves."""


def require_memory(asked: str, size: float, remedy: str) -> None:
    """Refuse what would not fit into the memory that is free.

    Parameters
    ----------
    asked : str
        Name of the arrays to be filled.
    size : float
        Bytes at the peak.
    remedy : str
        A request that takes less.

    Raises
    ------
    HostMemoryError
        If more is needed than is available.
    """
    if size <= ALWAYS_GRANTED:
        return
    free = available_bytes()
    if size > free:
        raise HostMemoryError(
            asked,
            f"they need {size / 1e9:.3g} GB of memory and {free / 1e9:.3g} GB are free",
            remedy,
        )


def available_bytes() -> float:
    """Return the bytes this process may still take; infinite where the system does not say."""
    return min(_of_the_machine(), _of_the_control_group())


def _of_the_machine() -> float:
    for line in _text(MEMORY_INFO).splitlines():
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return float("inf")


def _of_the_control_group() -> float:
    """Return what the limit of a container leaves. Files it has in its cache can be dropped."""
    limit, used = (_text(CONTROL_GROUP / f"memory.{name}").strip() for name in ("max", "current"))
    if not (limit.isdigit() and used.isdigit()):
        return float("inf")
    statistics = (line.split() for line in _text(CONTROL_GROUP / "memory.stat").splitlines())
    cached = next((int(value) for name, value in statistics if name == "inactive_file"), 0)
    return float(int(limit) - int(used) + cached)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
