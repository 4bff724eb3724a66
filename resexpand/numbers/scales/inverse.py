"""The residual scale ``1/L``: the step of a differential equation."""

from __future__ import annotations

from resexpand.numbers.scales.candidate import Choice, Setting, candidate


@candidate(
    "inverse",
    "1/L",
    "weights vary smoothly over the layers; independent ones leave the identity as L grows",
    "marion2025",
)
def inverse(setting: Setting) -> Choice:
    """Return ``1/L``."""
    return Choice(1 / setting.depth, 1 / setting.depth)
