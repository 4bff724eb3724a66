"""The kernel of a sampler as the assembler sees it, on machines with and without a GPU."""

from __future__ import annotations

from typing import Any

from numba.cuda import types

from resexpand.codegen.cuda.offline import CAPABILITY, Usage, assemble, ptx_of
from resexpand.montecarlo.engine import Sampler
from resexpand.montecarlo.groups.layout import Layout


def signature(layout: Layout) -> Any:
    """Return the types of the arguments with which networks of this layout are drawn."""

    def floats(dimensions: int) -> Any:
        return types.Array(types.float64, dimensions, "C")

    whole, word = types.int64, types.uint64
    columns = [floats(2), *(types.Array(whole, k, "C") for k in (1, 2, 1)), whole]
    numbers = [floats(1), floats(2), floats(1), floats(4)]
    grams = [floats(4), floats(4), floats(4), floats(2)]
    sites = [floats(2 + len(shape)) for shape in layout.sites.values()]
    return types.void(
        whole, whole, word, word, *columns, *numbers, floats(2), whole, *grams, *sites
    )


def sampler_ptx(sampler: Sampler, cc: tuple[int, int] = CAPABILITY) -> str:
    """Return the PTX of the kernel of a sampler that was made for ``target="cuda"``."""
    return ptx_of(sampler.text.draw_networks, signature(sampler.layout), cc)


def sampler_usage(sampler: Sampler, cc: tuple[int, int] = CAPABILITY) -> Usage:
    """Compile and assemble the kernel of a sampler, and return what it takes.

    Raises
    ------
    DeviceError
        If there is no assembler, or it rejects the text.
    """
    return assemble(sampler_ptx(sampler, cc), cc)
