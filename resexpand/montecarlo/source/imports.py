"""Imports in the text of a sampler that its operations need."""

from __future__ import annotations

from resexpand.montecarlo.source.attention import ATTENTION, attends
from resexpand.montecarlo.source.blocks import Blocks
from resexpand.montecarlo.source.wide import WIDE, is_wide

AVERAGES = "from resexpand.montecarlo.lanes import over_lanes"
"""Import for maps with averages."""

MULTIPLE = "from resexpand.montecarlo.loops.columns import write_multiple"
"""Import for networks whose stream has a factor."""

KEEP = "from resexpand.montecarlo.loops.backward import keep"
"""Import for a map of the stream behind every block."""

UNIFORM = "from resexpand.montecarlo.random.noise import write_uniform, write_uniforms"
"""Import for maps with noise."""


def imports_of(blocks: Blocks) -> list[str]:
    """Return the import lines that the operations of a network need."""
    maps = [step.op for step in blocks.steps if not step.contracts]
    needed = {
        AVERAGES: any(op.averages for op in maps),
        MULTIPLE: not blocks.skips,
        KEEP: bool(blocks.post),
        UNIFORM: any(op.noise for op in maps),
        ATTENTION: any(attends(step) for step in blocks.steps),
        WIDE: any(is_wide(step) for step in blocks.steps),
    }
    return [line for line, is_needed in needed.items() if is_needed]
