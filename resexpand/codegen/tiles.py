"""Loops of a tile that no expression enters: its parameters are read, its results written.

A routine calls them by address (`resexpand.codegen.outlined`), so that they are compiled once per
machine and not with every recursion: written out in each routine they would take longer to compile
than its own functions. They copy numbers and multiply them in pairs; nothing is summed, so that the
place of a loop cannot change a rounding. Builtin `min` and `max` are avoided: Numba compiles each
for every pair of types.

A tile has the points ``low .. low + count - 1`` of ``n``; a row has one number per lane, of which
those beyond ``count`` repeat the last point. A tile of pairs has the first inputs ``low1 ..
high1 - 1`` and the second inputs ``low .. low + count - 1`` of a point ``g``.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

from resexpand.codegen.store import foundation

PAGE = 8
"""Layers collected before they are written: eight doubles are a cache line."""


@cache
def _library() -> Any:
    from resexpand.codegen.library_cache import LibraryCache

    # The folder of a library is named after the foundation, which holds this file.
    return LibraryCache(lambda: "tiles")


def kept(function: Any, **options: Any) -> Any:
    """Compile a function of a library for those that call it; without Numba it stays as it is."""
    if find_spec("numba") is None:
        return function
    from resexpand.codegen.callee import OPTIONS, callee

    return _library().add(callee(function, **OPTIONS, **options))


def outline(function: Any) -> Any:
    """Return what stands for a function of a library in a routine."""
    from resexpand.codegen.outlined import outlined

    _library().open()
    return outlined(function, foundation())


def tile(name: str) -> Any:
    """Return what stands for a function of this module in a routine."""
    return outline(globals()[name])


@kept
def load(row: Any, values: Any, low: int, n: int) -> None:
    """Read a parameter: one value for all points, or one for each."""
    for i in range(row.size):
        at = low + i if low + i < n else n - 1
        row[i] = values[at if values.size > 1 else 0]


@kept
def load_layer(row: Any, values: Any, low: int, n: int, layer: int) -> None:
    """Read the value of a block: one for all points, or one for each."""
    for i in range(row.size):
        at = low + i if low + i < n else n - 1
        row[i] = values[at if values.shape[0] > 1 else 0, layer]


@kept
def store(out: Any, row: Any, low: int, count: int) -> None:
    """Write one number per point."""
    for i in range(count):
        out[low + i] = row[i]


@kept
def store_layer(out: Any, row: Any, low: int, count: int, layer: int) -> None:
    """Write the numbers of one layer."""
    for i in range(count):
        out[low + i, layer] = row[i]


@kept
def store_page(out: Any, page: Any, low: int, count: int, start: int, layers: int) -> None:
    """Write the layers that a page has collected, point by point."""
    # Neither is negative. Where the compiler knows, no index is checked for counting from the end.
    low, start = low if low > 0 else 0, start if start > 0 else 0
    for i in range(count):
        row = out[low + i]
        for s in range(layers):
            row[start + s] = page[s, i]


@kept
def start_propagator(out: Any, low: int, count: int) -> None:
    """Write the propagator from the input layer to itself."""
    for i in range(count):
        out[low + i, 0, 0] = 1.0


@kept
def propagate(out: Any, slopes: Any, low: int, count: int, layer: int) -> None:
    """Multiply the propagators to a layer by the slope of the next block."""
    for i in range(count):
        for m in range(layer + 1):
            out[low + i, layer + 1, m] = slopes[i] * out[low + i, layer, m]
        out[low + i, layer + 1, layer + 1] = 1.0


@kept
def value(values: Any, g: int) -> float:
    """Return a parameter: one value for all points, or one for each."""
    return values[g if values.size > 1 else 0]  # type: ignore[no-any-return]


@kept
def layer_value(values: Any, g: int, block: int) -> float:
    """Return the value of a block: one for all points, or one for each."""
    return values[g if values.shape[0] > 1 else 0, block]  # type: ignore[no-any-return]


@kept
def take(row: Any, values: Any, i: int, j: int, low: int, count: int) -> None:
    """Read a row of pairs, or of second inputs."""
    low = low if low > 0 else 0
    source = values[i, j]
    for k in range(count):
        row[k] = source[low + k]


@kept
def put(out: Any, row: Any, g: int, a: int, low: int, count: int) -> None:
    """Write the pairs of a first input."""
    low = low if low > 0 else 0
    target = out[g, a]
    for k in range(count):
        target[low + k] = row[k]


@kept
def put_layer(out: Any, row: Any, g: int, layer: int, a: int, low: int, count: int) -> None:
    """Write the pairs of a first input in one layer."""
    low = low if low > 0 else 0
    target = out[g, layer, a]
    for k in range(count):
        target[low + k] = row[k]


@kept
def mirror(out: Any, g: int, low1: int, high1: int, low: int, count: int) -> None:
    """Copy the pairs of a tile on or above the diagonal to the other side of it."""
    matrix = out[g]
    for b in range(low, low + count):
        for a in range(low1, min(high1, b)):
            matrix[b, a] = matrix[a, b]


@kept
def mirror_layer(out: Any, g: int, layer: int, low1: int, high1: int, low: int, count: int) -> None:
    """Copy the pairs of one layer to the other side of the diagonal."""
    matrix = out[g, layer]
    for b in range(low, low + count):
        for a in range(low1, min(high1, b)):
            matrix[b, a] = matrix[a, b]
