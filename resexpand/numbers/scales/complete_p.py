"""CompleteP: the scale falls like ``1/L`` from a base depth at which training was tuned."""

from __future__ import annotations

from resexpand.numbers.scales.candidate import Choice, Setting, candidate


@candidate(
    "complete_p",
    "CompleteP",
    "hyperparameters tuned at the base depth; every block is to learn features of its own",
    "dey2025",
)
def complete_p(setting: Setting) -> Choice:
    """Return ``L_base/L``."""
    value = setting.base_depth / setting.depth
    return Choice(value, value, remark=f"base depth {setting.base_depth}")
