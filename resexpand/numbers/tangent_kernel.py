"""Numbers of a tangent kernel: what is read off its recursion, and the shares of the layers.

What a layer adds reaches the output through the factors of all layers behind it,

    NTK = sum_l added^l gain^{l+1} ... gain^{L+1},   l = 0 ... L + 1,

products that are taken from the read-out back, so that no factor is ever divided by.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.binding import Point, bind
from resexpand.codegen.routine import compile_routine
from resexpand.codegen.schedule import chosen_names
from resexpand.codegen.values import Values
from resexpand.conventions import is_on_device
from resexpand.network.inputs import rows_of
from resexpand.network.values import value_of
from resexpand.numbers.request import Request
from resexpand.theory.tangent_kernel import D_IN, MEANINGS, TangentKernel

Array = NDArray[np.float64]

SHARES = {
    "NTK_layers": ("added_weights", "added_biases"),
    "NTK_weights": ("added_weights",),
    "NTK_biases": ("added_biases",),
}
"""Shares of the layers in the tangent kernel, and of what they are put together."""

LIMIT = 1 << 26
"""Bytes of an output with a layer axis above which it is left out if no outputs are named."""


def evaluate_tangent_kernel(theory: TangentKernel, asked: Request) -> Values:
    """Evaluate a tangent kernel; see `resexpand.evaluate`.

    Parameters
    ----------
    theory : TangentKernel
        From `tangent_kernel`.
    asked : Request
        The shares of the layers are put together on the host. Outputs are by default all but `gain`
        and what layers add, without those that have a layer axis where one of them would take more
        than 64 MiB.

    Returns
    -------
    Values
        ``NTK`` and ``NNGP`` of shape ``grid`` or ``grid + (D, D)``; shares have the layers ``0 ..
        L + 1`` in front of the inputs.
    """
    read = [output.name for output in theory.outputs]
    names = chosen_names(asked.outputs, [*read, *SHARES], f"the {theory.title}")
    given = with_fan_in(theory, asked.given)
    notes: tuple[str, ...] = ()
    if asked.outputs is None:
        names = tuple(name for name in names if name not in MEANINGS)
        layered = [name for name in names if name not in ("NTK", "NNGP")]
        if any(map(is_on_device, given.values())):
            names = tuple(name for name in names if name not in SHARES)
        elif _size(_point(theory, given), matrix=theory.inputs == 2) > LIMIT:
            names = tuple(name for name in names if name not in layered)
            notes = (f"left out for their size: {', '.join(layered)}; name them in outputs=",)
    shares = [name for name in names if name in SHARES]
    needed = {name for name in names if name in read}
    needed |= {part for name in shares for part in SHARES[name]}
    needed |= {"gain", "Theta"} if shares else set()
    own = [name for name in read if name in needed]
    values = compile_routine(theory, asked.target, own)(**given)
    values.notes = (*values.notes, *notes)
    if shares:
        _with_shares(theory, values, shares, _point(theory, given))
    for name in needed.difference(names):
        del values[name]
        values.quadrature_error.pop(name, None)
    return values


def with_fan_in(theory: TangentKernel, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyperparameters with the numbers per input, where they count and data is given."""
    known = dict(given)
    if any(symbol == D_IN for symbol, _ in theory.bindings) and "inputs" in known:
        known.setdefault(D_IN.name, rows_of(known["inputs"], "inputs").shape[1])
    return known


def _point(theory: TangentKernel, given: Mapping[str, Any]) -> Point:
    bindings = dict(theory.bindings), dict(theory.layer_bindings)
    return bind(theory.net, *bindings, given, matrix=theory.inputs == 2)


def _size(point: Point, *, matrix: bool) -> int:
    """Return the bytes of a quantity of every layer and pair of inputs."""
    pairs = point.kernel.shape[-2:] if matrix else ()
    return 8 * (point.depth + 2) * math.prod((*point.grid, *pairs))


def _with_shares(
    theory: TangentKernel, values: Values, shares: Iterable[str], point: Point
) -> None:
    """Add the shares of all layers."""
    axis = -3 if theory.inputs == 2 else -1
    gain, theta = (np.moveaxis(np.asarray(values[name]), axis, 0) for name in ("gain", "Theta"))
    biases = value_of(theory.read_in_biases, point.symbols)
    start = np.broadcast_to(biases[(..., *(None,) * (-axis - 1))], theta[0].shape)
    first = {"added_weights": theta[0] - start, "added_biases": start}
    for name in shares:
        parts = SHARES[name]
        added = np.sum([np.moveaxis(np.asarray(values[part]), axis, 0) for part in parts], axis=0)
        found = np.empty((len(gain) + 1, *gain.shape[1:]))
        passed = np.ones(gain.shape[1:])
        for layer in range(len(gain), 0, -1):
            found[layer] = added[layer - 1] * passed
            passed = passed * gain[layer - 1]
        found[0] = sum(first[part] for part in parts) * passed
        values[name] = np.moveaxis(found, 0, axis)
        errors = [values.quadrature_error.get(part, 0.0) for part in (*parts, "gain")]
        if any(errors):
            values.quadrature_error[name] = errors[-1] * len(gain) + sum(errors[:-1])
