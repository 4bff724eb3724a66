"""Arrays of depths: a network per depth, the results side by side in the grid.

The depth broadcasts against the other hyperparameters like any of them. Every depth is evaluated
once, with the part of the grid where it stands; layers that a shallower network has not are NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.axes import grid_axes
from resexpand.codegen.binding import common_shape
from resexpand.codegen.memory import require_memory
from resexpand.codegen.track import stages
from resexpand.codegen.values import Values
from resexpand.conventions import is_on_device
from resexpand.errors import HyperparameterError
from resexpand.network.numbers import real_array

Compute = Callable[[dict[str, Any]], Values]
Index = NDArray[np.intp]
Shape = tuple[int, ...]


def over_depths(theory: object, given: dict[str, Any], compute: Compute) -> Values:
    """Evaluate once per depth and put the results side by side.

    Parameters
    ----------
    theory : object
        What is evaluated.
    given : dict
        Hyperparameters by name.
    compute : callable
        Evaluates hyperparameters that name one depth.

    Returns
    -------
    Values
        Arrays of shape ``grid + (...)`` whose layer axes are as long as the deepest network needs;
        a result of one depth as it is.

    Raises
    ------
    HyperparameterError
        If the arrays do not broadcast, or some of them lie on a device.
    """
    counts = _counts(theory, given)
    if not counts:
        return compute(given)
    axes = {name: n for name, n in grid_axes(theory, given).items() if n > 0}
    shape = _common(given, axes)
    others = {name: n for name, n in axes.items() if name not in counts}
    parts = list(_parts(given, counts, shape))
    done = []
    for k in stages(len(parts)):
        at, where = parts[k]
        done.append(compute(given | _taken(given, others, shape, where) | at))
    return _joined(done, [where for _, where in parts], shape, bool(others))


def _counts(theory: object, given: Mapping[str, Any]) -> list[str]:
    """Return the arrays among the hyperparameters that give the number of blocks."""
    net = getattr(getattr(theory, "tangent", theory), "net", None)
    if net is None or net.depth.is_number:
        return []
    names = {"depth", *(s.name for s in net.depth.free_symbols)}
    return [name for name in given if name in names and np.ndim(given[name])]


def _common(given: Mapping[str, Any], axes: Mapping[str, int]) -> Shape:
    away = [name for name in axes if is_on_device(given[name])]
    if away:
        raise HyperparameterError(
            f"several depths with {', '.join(away)} on the device",
            "they are put together on the host",
            "give one depth per call, or arrays on the host",
        )
    shapes = {name: np.shape(given[name])[:n] for name, n in axes.items()}
    return common_shape(shapes.values(), shapes.items())


def _parts(
    given: Mapping[str, Any], counts: list[str], shape: Shape
) -> Iterator[tuple[dict[str, float], Index]]:
    """Yield every depth with its places in the flat grid."""
    columns = [np.broadcast_to(real_array(given[n], n), shape).ravel() for n in counts]
    rows, which = np.unique(np.stack(columns, axis=-1), axis=0, return_inverse=True)
    for k, row in enumerate(rows):
        yield dict(zip(counts, map(float, row), strict=True)), np.flatnonzero(which.ravel() == k)


def _taken(
    given: Mapping[str, Any], axes: Mapping[str, int], shape: Shape, where: Index
) -> dict[str, Any]:
    """Return the other arrays at some places of the flat grid."""
    taken = {}
    for name, n in axes.items():
        array = np.asarray(given[name])
        rest = array.shape[n:]
        taken[name] = np.broadcast_to(array, shape + rest).reshape(-1, *rest)[where]
    return taken


def _joined(done: list[Values], places: list[Index], shape: Shape, varied: bool) -> Values:
    """Put results side by side; `varied` says whether they have an axis of places themselves."""
    if not done:
        raise HyperparameterError("no depth", "the array is empty", "give depth=[5, 10]")
    arrays = {}
    for name in done[0]:
        own = [np.asarray(values[name]) for values in done]
        inner = [array.shape[varied:] for array in own]
        longest = tuple(map(max, zip(*inner, strict=True)))
        size = 8.0 * np.prod(shape) * np.prod(longest)
        require_memory(f"{name} at {len(done)} depths", size, "name the outputs you need")
        full = np.full((int(np.prod(shape)), *longest), np.nan)
        for array, where, sizes in zip(own, places, inner, strict=True):
            inside: Any = (where, *(slice(n) for n in sizes))
            full[inside] = array
        arrays[name] = full.reshape(shape + longest)
    keys = dict.fromkeys(key for values in done for key in values.quadrature_error)
    joined = Values(
        arrays,
        max(values.depth for values in done),
        tuple(f"depth {v.depth}: {problem}" for v in done for problem in v.problems),
        {key: max(v.quadrature_error.get(key, 0.0) for v in done) for key in keys},
        tuple(dict.fromkeys(c for values in done for c in values.citations)),
        "; ".join(dict.fromkeys(values.target for values in done)),
        tuple(dict.fromkeys(note for values in done for note in values.notes)),
    )
    joined.width = done[0].width
    return joined
