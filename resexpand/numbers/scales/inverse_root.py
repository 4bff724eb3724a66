"""The residual scale ``1/sqrt(L)``: independent blocks add up to a change of order one."""

from __future__ import annotations

import math

from resexpand.numbers.scales.candidate import Choice, Setting, candidate


@candidate(
    "inverse_root",
    "1/sqrt(L)",
    "weights of different blocks are independent, so that the stream has a limit as L grows",
    "marion2025",
)
def inverse_root(setting: Setting) -> Choice:
    """Return ``1/sqrt(L)``."""
    value = 1 / math.sqrt(setting.depth)
    return Choice(value, value)
