"""Depth-muP: the scale falls like ``1/sqrt(L)`` from a base depth at which training was tuned."""

from __future__ import annotations

import math

from resexpand.numbers.scales.candidate import Choice, Setting, candidate


@candidate(
    "depth_mup",
    "depth-muP",
    "hyperparameters tuned at the base depth; branches of one weight layer, learning rates that "
    "go with it",
    "yang2024",
)
def depth_mup(setting: Setting) -> Choice:
    """Return ``sqrt(L_base/L)``."""
    value = math.sqrt(setting.base_depth / setting.depth)
    return Choice(value, value, remark=f"base depth {setting.base_depth}")
