"""Lines of a sampler whose linear operations are correlated between layers."""

from __future__ import annotations

import re

from resexpand.montecarlo.source.blocks import Blocks


def with_mixing(driver: str) -> str:
    """Let every linear operation know the covariance between layers, and what it met before."""
    driver = driver.replace("twin_roots, memory,", "twin_roots, mixing, memory,")
    driver = driver.replace("laws, twin_roots):", "laws, twin_roots, mixing):")
    return re.sub(
        r"np\.int64\((\d+)\), (scratch|back)\)", r"np.int64(\1), \2, mixing, met_\1)", driver
    )


def memories_of(blocks: Blocks, backward: bool) -> dict[str, str]:
    """Return what the linear operations of correlated layers remember of a network."""
    shape = (
        "memory_shape(depth + 1, carried, "
        f"{'inputs' if backward else 'np.int64(0)'}, width, length, mixing.shape[1])"
    )
    return {f"met_{step.position}": shape for step in blocks.steps if step.contracts}
