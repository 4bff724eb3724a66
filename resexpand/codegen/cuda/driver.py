"""Source text of the kernels that drive the generated scalar functions on a GPU.

One thread takes one point of the grid through all layers, with state, constants and parameters in
registers. Results go to arrays of shape ``(rows, width)``, one column per point: neighbouring
threads write neighbouring numbers, whatever the layout the caller wants. A row is a layer, or a
layer and an entry.

Quadratures take thousands of evaluations per layer, and grids on which they are wanted are often
small: there several threads share a point (`resexpand.codegen.cuda.shares`).

A propagator has of the order of ``L^2`` numbers per point. The thread of a point only writes the
matrix of every layer; a second kernel, with one thread per point and column ``m``, multiplies them:
a vector in registers instead of a matrix of products, and L times as many threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from resexpand.codegen.driver import indent
from resexpand.codegen.schedule import (
    Propagation,
    Schedule,
    diagonal_slot,
    places,
    slots,
)


def kernels_source(plan: Schedule) -> str:
    """Return the text of ``run`` and of one ``propagate_<name>`` per propagator.

    The arguments of ``run`` are those of `run_arguments`; of a propagating kernel the number of
    points, the width, the depth, the flag, the matrices, the diagonal if there is one, the output.
    """
    texts = [_run(plan)]
    diagonals = {o.name for o in plan.outputs if o.diagonal is not None}
    texts += [_propagate(p, symmetric=p.name in diagonals) for p in plan.propagations]
    return "\n\n".join(f"@driver\n{text}" for text in texts)


def run_arguments(plan: Schedule) -> list[str]:
    """Return the argument names of ``run``.

    ``n`` points, ``width`` of a row of the results in memory, ``depth``, the quadrature rules,
    ``flag`` (one whole number, set where a result is not finite), the parameters (one value, or one
    per point), the layer parameters (a row of these per layer) and the results in the order of
    `results`, which are flat.
    """
    return [
        "n",
        "width",
        "depth",
        *(rule.name for rule in plan.rules),
        "flag",
        *(f"p{i}" for i in range(len(plan.parameters))),
        *(f"q{i}" for i in range(len(plan.layer_parameters))),
        *(f"out_{name}" for name in results(plan)),
    ]


def results(plan: Schedule) -> tuple[str, ...]:
    """Return what ``run`` writes: outputs by name, diagonals, and matrices of propagators."""
    written = [output.name for output in plan.outputs if output.kind != "propagator"]
    diagonals = [diagonal_slot(o.name) for o in plan.outputs if o.diagonal is not None]
    return (*written, *diagonals, *(matrices_of(p.name) for p in plan.propagations))


def matrices_of(name: str) -> str:
    """Return the name of the array that holds the matrices of a propagator, row by row."""
    return f"{name}_matrices"


def rows_of(plan: Schedule, depth: int) -> dict[str, int]:
    """Return how many rows every array of `results`, and every propagator, has."""
    rows = {}
    for output in plan.outputs:
        rows[output.name] = math.prod((*output.layers(depth), *output.shape))
        if output.diagonal is not None:
            rows[diagonal_slot(output.name)] = depth + 1
    for p in plan.propagations:
        rows[matrices_of(p.name)] = depth * p.size**2
    return rows


def _run(plan: Schedule) -> str:
    parameters = [f"a{k}" for k in range(len(plan.parameters))]
    layered = [f"b{k}" for k in range(len(plan.layer_parameters))]
    state = [f"s{k}" for k in range(len(plan.state))]
    carried = [*state, *(f"c{k}" for k in range(len(plan.constants)))]
    rules = [rule.name for rule in plan.rules]
    values = [f"r{k}" for k in range(len(plan.read) + len(plan.layer))]
    loads = [f"{a} = p{k}[min(i, p{k}.size - 1)]" for k, a in enumerate(parameters)]
    columns = [f"min(i, q{k}.shape[1] - 1)" for k in range(len(layered))]
    loads += [f"column{k} = np.uint64({column})" for k, column in enumerate(columns)]
    block = [f"{b} = q{k}[layer, column{k}]" for k, b in enumerate(layered)]
    block = ["layer = np.uint64(turn)", *block] if layered else block
    block += _call("advance", [*values, *state], [*carried, *parameters, *layered, *rules])
    block += [*_kept(plan, _stores(plan, values)), *_watched(values), *_steps(plan)]
    body = [
        *loads,
        *_places(plan),
        *_call("initial", carried, [*parameters, *rules]),
        "flaw = 0.0",
        "for turn in range(depth):",
        *indent(block or ["pass"]),
        *_finish(plan, [*carried, *parameters, *rules]),
        *_REPORT,
    ]
    lines = ["i = cuda.grid(1)", "if i < n:", *indent(body)]
    if plan.quadratures:
        lines = ["if cuda.blockIdx.x * cuda.blockDim.x < n:", *indent([*_CLAMPED, *body])]
    return "\n".join([f"def run({', '.join(run_arguments(plan))}):", *indent(lines), ""])


# Threads that share quadratures wait for each other: those beyond the last point repeat it, in a
# block that has points at all.
_CLAMPED = [
    "own = cuda.grid(1)",
    "i = min(own, n - 1)",
    "keeps = own < n and cuda.threadIdx.y == 0",
]


def _kept(plan: Schedule, stores: list[str]) -> list[str]:
    """Return stores, which only one of the threads that share a point makes."""
    return ["if keeps:", *indent(stores)] if plan.quadratures and stores else stores


# The difference of a number and itself is zero, or NaN if the number is not finite.
_REPORT = ["if flaw != 0.0:", "    flag[0] = 1"]


def _watched(values: Sequence[str]) -> list[str]:
    """Return the line that notices when a value is not finite."""
    return [f"flaw += {' + '.join(f'({value} - {value})' for value in values)}"] if values else []


# A place in an array is an unsigned number that grows by one step per layer: a signed one would be
# compared with zero at every access, and one made of layer and point multiplied anew.


def _per_layer(plan: Schedule) -> list[int]:
    """Return the different numbers of rows that arrays have per layer."""
    counts = {count for _, count, _ in _slot_rows(plan).values()}
    return sorted(counts | {p.size**2 for p in plan.propagations})


def _places(plan: Schedule) -> list[str]:
    """Return the places of a point in its arrays, their steps, and the rows of a layer."""
    counts = _per_layer(plan)
    lines = ["first = np.uint64(i)"]
    lines += [f"at{count} = first" for count in counts]
    lines += [f"step{count} = np.uint64({count} * width)" for count in counts]
    return lines + [f"row{k} = np.uint64({k} * width)" for k in range(1, max(counts, default=1))]


def _steps(plan: Schedule) -> list[str]:
    return [f"at{count} += step{count}" for count in _per_layer(plan)]


def _call(function: str, values: Sequence[str], arguments: Sequence[str]) -> list[str]:
    return [f"{', '.join(values)} = {function}({', '.join(arguments)})"] if values else []


def _finish(plan: Schedule, arguments: Sequence[str]) -> list[str]:
    values = [f"r{k}" for k in range(len(plan.read) + len(plan.last))]
    stores = _kept(plan, _last_stores(plan, values))
    return [*_call("finish", values, arguments), *stores, *_watched(values)]


def _stores(plan: Schedule, values: Sequence[str]) -> list[str]:
    """Return the stores of a layer: of a state, of a block, and the matrices of propagators."""
    names = [*plan.trajectory_slots, *plan.layer_slots]
    at = _slot_rows(plan)
    lines = [line for n, v in zip(names, values, strict=False) for line in _store(at, n, v)]
    rest = list(values[len(names) :])
    for p in plan.propagations:
        own, rest = rest[: p.size**2], rest[p.size**2 :]
        target = f"out_{matrices_of(p.name)}"
        place = f"at{p.size**2}"
        lines += [f"{target}[{_plus(place, k)}] = {value}" for k, value in enumerate(own)]
    return lines


def _last_stores(plan: Schedule, values: Sequence[str]) -> list[str]:
    at = _slot_rows(plan)
    count = len(plan.trajectory_slots)
    lines = []
    for name, value in zip(plan.trajectory_slots, values, strict=False):
        lines += _store(at, name, value)
    for name, value in zip(plan.last_slots, values[count:], strict=True):
        lines += _store(at, name, value, final=name not in plan.layer_slots)
    return lines


def _slot_rows(plan: Schedule) -> dict[str, tuple[str, int, tuple[int, ...]]]:
    """Return for every slot its array, the rows of a layer, and the rows it fills within them."""
    rows: dict[str, tuple[str, int, tuple[int, ...]]] = {}
    for output in plan.outputs:
        if output.diagonal is not None:
            rows[diagonal_slot(output.name)] = (diagonal_slot(output.name), 1, (0,))
        if output.kind == "propagator":
            continue
        names = slots(output)
        for name, place in zip(names, places(output) or [()], strict=True):
            rows[name] = (output.name, math.prod(output.shape), _filled(output.shape, place))
    return rows


def _filled(shape: tuple[int, ...], place: tuple[int, ...]) -> tuple[int, ...]:
    """Return the rows of an entry: of a symmetric matrix both places."""
    if not shape:
        return (0,)
    if len(shape) == 1:
        return (place[0],)
    i, j = place
    return tuple(sorted({i * shape[1] + j, j * shape[1] + i}))


def _store(
    at: dict[str, tuple[str, int, tuple[int, ...]]], slot: str, value: str, *, final: bool = False
) -> list[str]:
    array, count, filled = at[slot]
    place = "first" if final else f"at{count}"
    return [f"out_{array}[{_plus(place, k)}] = {value}" for k in filled]


def _plus(place: str, k: int) -> str:
    return f"{place} + row{k}" if k else place


def _propagate(p: Propagation, *, symmetric: bool) -> str:
    """Return the kernel of a propagator: a thread takes one point through the layers behind m."""
    size, count = p.size, p.size**2
    vector = [f"v{a}" for a in range(size)]
    start = ["1.0" if a == p.column else "0.0" for a in range(size)]
    scaled = [f"{number} * scale" for number in start] if symmetric else start
    kept = f"v{p.row}"
    products = [
        " + ".join(f"matrices[{_plus('at', a * size + c)}] * v{c}" for c in range(size))
        for a in range(size)
    ]
    # With a diagonal the matrix is symmetric, without it is zero above.
    zeros = ["for _ in range(m):", "    out[above] = 0.0", "    above += down"]
    mirrored = ["above += across", f"out[above] = {kept}"]
    body = [
        *(["scale = diagonal[np.uint64(m * width + i)]"] if symmetric else []),
        f"{', '.join(vector)} = {', '.join(scaled)}",
        "flaw = 0.0",
        *(f"row{k} = np.uint64({k} * width)" for k in range(1, count)),
        f"at, step = np.uint64({count} * m * width + i), np.uint64({count} * width)",
        "across, down = np.uint64(width), np.uint64((depth + 1) * width)",
        "below = np.uint64((m * (depth + 1) + m) * width + i)",
        f"out[below] = {kept}",
        *(["above = below"] if symmetric else ["above = np.uint64(m * width + i)", *zeros]),
        "for _ in range(m, depth):",
        f"    {', '.join(vector)} = {', '.join(products)}",
        "    at += step",
        "    below += down",
        f"    out[below] = {kept}",
        *indent([*(mirrored if symmetric else []), *_watched([kept])]),
        *_REPORT,
    ]
    taken = ["matrices", *(["diagonal"] if symmetric else []), "out"]
    arguments = ["n", "width", "depth", "flag", *taken]
    lines = ["i, m = cuda.grid(2)", "if i < n and m <= depth:", *indent(body)]
    return "\n".join([f"def propagate_{p.name}({', '.join(arguments)}):", *indent(lines), ""])
