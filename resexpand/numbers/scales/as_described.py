"""The scale that the network was described with."""

from __future__ import annotations

from resexpand.errors import UnsupportedError
from resexpand.numbers.scales.candidate import Choice, Setting, candidate


@candidate("as_described", "as described", "none: the scale that the description holds")
def as_described(setting: Setting) -> Choice:
    """Return the scales of the description, of each block if they differ."""
    given = setting.given.scale
    if isinstance(given, tuple) and len(given) != setting.depth:
        raise UnsupportedError(
            "the scales of the description at another depth",
            f"it holds {len(given)} scales, one per block of its own depth",
        )
    listed = setting.given.scales(setting.depth)
    if any(scale.free_symbols for scale in listed):
        raise UnsupportedError("the scale of the description", f"it is the symbol {listed[0]}")
    scales = tuple(map(float, listed))
    return Choice(scales[0], scales if len(set(scales)) > 1 else scales[0])
