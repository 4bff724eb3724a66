"""Fixup: the last weights of a branch are zero, the others ``L^(-1/(2m - 2))`` times He's.

L counts residual blocks: the authors' networks of two layers per block have ``L**-0.5``.
"""

from __future__ import annotations

from resexpand.errors import UnsupportedError
from resexpand.numbers.scales.candidate import Choice, Setting, candidate


@candidate(
    "fixup",
    "Fixup",
    "plain gradient descent: one step changes the output by the order of the learning rate",
    "zhang2019b",
    "section 3",
)
def fixup(setting: Setting) -> Choice:
    """Return the factor of all weights but the last, with m weight layers in a branch."""
    setting.require_no_norm("Fixup")
    counts = sorted({len(branch.linears) for branch in setting.given.kinds})
    if len(counts) > 1 or counts[0] < 2:
        said = " and ".join(map(str, counts))
        raise UnsupportedError(
            "Fixup of this branch", f"it is a rule for m >= 2 weight layers, here m = {said}"
        )
    value = setting.depth ** (-1 / (2 * counts[0] - 2))
    last = "the factor of all weights but the last, which are zero: the identity at initialisation"
    return Choice(value, 0.0, remark=last)
