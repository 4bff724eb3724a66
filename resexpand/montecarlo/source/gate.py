"""The copy that a gate multiplies with: the `Linear` in front of it, drawn once more."""

from __future__ import annotations

from collections.abc import Sequence

from resexpand.network.steps import Step

# The number of the gate itself makes other random words than that of the Linear.
COPY = """\
            law = (laws[{row}, 0], {shrink}laws[{row}, 1])
            linear({source}, copy, biased, width, law, place, np.int64({j}), scratch)"""


def gates(step: Step) -> bool:
    """Whether a step multiplies by a copy."""
    return not step.contracts and step.op.gates is not None


def copied(step: Step, source: str, shrink: str) -> list[str]:
    """Return the lines that draw the copy, `source` being what the Linear acted on."""
    if not gates(step):
        return []
    j = step.position
    return [COPY.format(source=source, j=j, row=j - 1, shrink=shrink)]


def copy_buffer(steps: Sequence[Step]) -> dict[str, str]:
    """Return the array of the copy, if a step needs one."""
    return {"copy": "(carried, length)"} if any(map(gates, steps)) else {}
