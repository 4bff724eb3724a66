"""The primitives that each compilation target replaces by one machine instruction.

These bodies define the meaning and serve when the functions run as plain Python; a target (see
`resexpand.codegen.targets`) puts its own in their place when it compiles the functions above.
"""

from __future__ import annotations

import math
import struct

_WORD = (1 << 64) - 1


def as_int(x: float) -> int:
    """Return the 64 bits of a double, read as a signed integer."""
    return int(struct.unpack("<q", struct.pack("<d", x))[0])


def as_float(bits: int) -> float:
    """Return the double with these 64 bits; excess high bits drop out as in machine arithmetic."""
    return float(struct.unpack("<d", struct.pack("<Q", bits & _WORD))[0])


def sqrt(x: float) -> float:
    """Return the correctly rounded square root; NaN for negative numbers and NaN."""
    return math.sqrt(x) if x >= 0.0 else math.nan
