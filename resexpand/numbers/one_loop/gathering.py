"""From the routine of the layers to the tables of the one-loop algorithm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import combinations, combinations_with_replacement, product
from math import prod

import numpy as np
from numpy.typing import NDArray

from resexpand.numbers.one_loop.tables import (
    Masks,
    Site,
    Tables,
    entry_index,
    entry_pairs,
    input_pairs,
)
from resexpand.theory.one_loop.affine import shapes
from resexpand.theory.one_loop.layers import (
    SCALE,
    affine_name,
    bias_name,
    curvature_name,
    drift_name,
    drift_response_name,
    mask_name,
    reads_name,
    response_name,
    weight_name,
)
from resexpand.theory.one_loop.masks import MOST, together
from resexpand.theory.one_loop.process import LinearLayer, Process

Array = NDArray[np.float64]

PARALLEL = 1e-5
"""Square of the sine of the angle at which the curvature of a kinked function is left out. What it
adds to the mean goes like the third power of the angle; what rounding makes of it, like the inverse
of that. Both are below 1e-8 here."""


def gather(values: Mapping[str, Array], process: Process, inputs: int) -> Tables:
    """Put the results of the routine together.

    Parameters
    ----------
    values : mapping
        Of the routine: arrays ``(G, pairs, B)``, in the order of `input_pairs`; what the last draws
        of all blocks give as ``reads`` of place 0.
    process : Process
        The draws.
    inputs : int
        Number of inputs.
    """
    scales = values[SCALE][:, 0]
    stands = _standing(process, scales.shape[1])
    sites = [_site(values, *pair, inputs) for pair in zip(process.draws, stands, strict=True)]
    gram = _square(_table(values, inputs, partial(reads_name, 0), "e"), inputs)
    probe = 0 if process.probe is None else len(sites) - 1
    blocks = stands[: probe or None]
    last = len(blocks) - 1 - np.argmax(blocks[::-1], axis=0)
    if probe and process.read_out is not None:
        last[-1] = probe
    return Tables(tuple(sites), gram, scales, last, process.post is not None, probe)


def _standing(process: Process, blocks: int) -> NDArray[np.bool_]:
    """Return which draw stands in which block, ``(draws, B)``."""
    shapes = np.array(process.shapes or (0,) * blocks)
    stands = np.array([(shapes == draw.shape) | (draw.position == 0) for draw in process.draws])
    if process.read_out is not None:
        only = 0 if process.probe else 1
        stands[:, -1] = [draw.position == only for draw in process.draws]
    return stands


def _site(
    values: Mapping[str, Array], draw: LinearLayer, exists: NDArray[np.bool_], inputs: int
) -> Site:
    """Return one linear operation; `exists` says in which blocks it does."""
    position = draw.number

    def table(name: Callable[..., str], axes: str) -> Array:
        return _table(values, inputs, partial(name, position), axes)

    weights, biases = (values[name(position)][:, 0] * exists for name in (weight_name, bias_name))
    raw, maps = _square(table(reads_name, "e"), inputs), _maps(values, draw, inputs)
    response, curvature = table(response_name, "ee"), table(curvature_name, "eee")
    slope = maps["slope"]
    reads = raw * slope[..., :, None] * slope[..., None, :]
    _regular(response, curvature, reads, draw.law is None or draw.law.is_smooth)
    if draw.reads_stream and not draw.averages:
        # The kernel of the input is given: nothing moves there.
        curvature[:, 0] = 0.0
        response[:, 0] = np.where(np.isfinite(response[:, 0]), response[:, 0], 0.0)
    own = (response, curvature, table(drift_name, "eq"), table(drift_response_name, "eqe"))
    for array in own:
        array[:, ~exists] = 0.0
    masks = _masks(values, draw, inputs)
    given = (draw.law, draw.averages, raw, reads, weights, biases, *own, maps)
    return Site(*given, None, masks, draw.reads_stream, tuple(map(bool, exists)))


def _masks(values: Mapping[str, Array], draw: LinearLayer, inputs: int) -> Masks | None:
    """Return the averages of the masks in front of a draw."""
    if draw.mask is None:
        return None
    powers = [values[mask_name(draw.number, k)][:, 0] for k in range(1, MOST + 1)]
    shared, pairs = draw.mask.op.noise[0].shared, entry_pairs(inputs)

    def of(*entries: tuple[int, int]) -> Array:
        return np.asarray(together([i for e in entries for i in e], powers, shared=shared))

    mean = np.stack([of(a) for a in pairs], axis=-1)
    square = np.stack([np.stack([of(a, b) for b in pairs], axis=-1) for a in pairs], axis=-2)
    return Masks(mean, square)


def _table(values: Mapping[str, Array], inputs: int, name: Callable[..., str], axes: str) -> Array:
    """Return an array ``(G, B, ...)`` with axes of entries (``e``) and of inputs (``q``).

    `name` gives the name of an element within a pair; what the routine lacks is zero.
    """
    index = entry_index(inputs)
    first = values[SCALE]
    sizes = {"e": len(entry_pairs(inputs)), "q": inputs}
    found = np.zeros((first.shape[0], first.shape[2], *(sizes[axis] for axis in axes)))
    for number, pair in enumerate(input_pairs(inputs)):
        entries = [index[two] for two in combinations_with_replacement(pair, 2)]
        places = {"e": entries, "q": list(pair)}
        for at in product(*(enumerate(places[axis]) for axis in axes)):
            local, place = zip(*at, strict=True)
            if (key := name(*local)) in values:
                found[:, :, *place] = values[key][:, number]
    return found


def _square(entries: Array, inputs: int) -> Array:
    """Return symmetric matrices from their entries."""
    index = entry_index(inputs)
    return entries[..., [[index[i, j] for j in range(inputs)] for i in range(inputs)]]


def _maps(values: Mapping[str, Array], draw: LinearLayer, inputs: int) -> dict[str, Array]:
    """Return the entries of the maps in front of a draw, ``(G, B, D, ...)``."""
    wanted = shapes(draw.averages)
    sizes = [prod(shape) for shape in wanted.values()]
    flat = np.stack(
        [
            _table(values, inputs, lambda q, k=k: affine_name(draw.number, q, k), "q")
            for k in range(sum(sizes))
        ],
        axis=-1,
    )
    if not draw.maps:
        flat[..., 0] = 1.0
    parts = np.split(flat, np.cumsum(sizes)[:-1], axis=-1)
    named = zip(wanted.items(), parts, strict=True)
    return {name: part.reshape((*part.shape[:3], *shape)) for (name, shape), part in named}


def _regular(response: Array, curvature: Array, reads: Array, smooth: bool) -> None:
    """Put zeros where derivatives do not exist, but nothing moves in their direction either.

    An input of length zero stays what it is, and what rounding leaves of its products is cleared;
    inputs that are multiples of each other stay so, and along that ray a function without
    derivative at zero has no curvature.
    """
    inputs = reads.shape[-1]
    index = entry_index(inputs)
    for i, j in combinations(range(inputs), 2):
        row = index[i, j]
        first, second = reads[..., i, i], reads[..., j, j]
        empty = first * second == 0
        response[empty, row] = 0.0
        reads[empty, i, j] = reads[empty, j, i] = 0.0
        left = first * second - reads[..., i, j] ** 2
        parallel = (left <= PARALLEL * first * second) & (not smooth)
        curvature[empty | parallel, row] = 0.0
        kept = response[parallel, row]
        response[parallel, row] = np.where(np.isfinite(kept), kept, 0.0)
