"""SkipInit: a trainable scalar at the end of every branch, zero at first."""

from __future__ import annotations

from resexpand.numbers.scales.candidate import Choice, Setting, candidate


@candidate(
    "skip_init",
    "SkipInit",
    "the scalars are trained and leave zero by themselves; the authors allow up to 1/sqrt(L)",
    "de2020",
)
def skip_init(setting: Setting) -> Choice:
    """Return zero: the network is the identity at initialisation."""
    setting.require_no_norm("SkipInit")
    return Choice(0.0, 0.0, remark="the identity at initialisation; what follows is training")
