"""Source text of the loop that drives the generated scalar functions on the CPU.

Points of the hyperparameter grid are taken in tiles of `LANES`; within a tile the loop over layers
is outside and the loop over points inside, so that LLVM compiles the inlined scalar functions to
packed instructions. All lane variables are rows of one small array: with a single base address the
compiler can prove that they do not overlap. The layer axis of results is last, so the rows of a
tile are far apart in memory. A page of a few layers is therefore collected in the cache and written
row by row, which is faster than a visit to every row in every layer.

With quadratures nothing is packed, and the loop calls the scalar functions by address
(`resexpand.codegen.slots`): it is then compiled once for all activations, of which its text says
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resexpand.codegen.schedule import Propagation, Schedule
from resexpand.codegen.tiles import PAGE

LANES = 32


def points_per_tile(plan: Schedule) -> int:
    """Return the points of a tile: one with quadratures, which fill the vector units themselves."""
    return 1 if plan.quadratures else LANES


@dataclass(frozen=True)
class Rows:
    """Rows of the lane array, in the order of the attributes."""

    parameters: range
    layer_parameters: range
    state: range
    constants: range
    results: range
    """Results of one call: trajectory outputs, layer outputs, propagator matrices."""
    lanes: int
    """Points per tile."""

    @classmethod
    def of(cls, plan: Schedule) -> Rows:
        """Lay out the rows for a schedule."""
        widest = max(len(plan.read) + len(plan.layer), len(plan.read) + len(plan.last))
        held = (plan.parameters, plan.layer_parameters, plan.state, plan.constants)
        sizes = [*(len(symbols) for symbols in held), widest]
        starts = [sum(sizes[:k]) for k in range(len(sizes) + 1)]
        rows = [range(starts[k], starts[k + 1]) for k in range(len(sizes))]
        return cls(rows[0], rows[1], rows[2], rows[3], rows[4], points_per_tile(plan))

    @property
    def carried(self) -> range:
        """State and constants, which the scalar functions take first."""
        return range(self.state.start, self.constants.stop)

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.results.stop


def driver_source(plan: Schedule) -> str:
    """Return the text of the function ``run`` for a schedule.

    Its arguments are the addresses of the scalar functions if there are quadratures, the first tile
    and the one after the last, the number of points, the depth, the rule arrays, one array per
    parameter (one value, or one per point), one per layer parameter (a row of one value per block,
    for all points or for each), and the output arrays in the order
    of `output_slots`.
    """
    rows = Rows.of(plan)
    body = [
        "for tile in range(first_tile, last_tile):",
        *indent(_tile(plan, rows), 1),
    ]
    signature = ", ".join(driver_arguments(plan))
    return "\n".join(["@driver", f"def run({signature}):", *indent(body, 1), ""])


def slots_source(results: Mapping[str, int]) -> str:
    """Return the lines that name the functions called by address, given how much each returns."""
    lines = [f'{name} = slots.add("{name}", {count})' for name, count in results.items()]
    return "\n".join(["from resexpand.codegen.slots import Slots", "", "slots = Slots()", *lines])


def output_slots(plan: Schedule) -> tuple[str, ...]:
    """Return the names of the output arrays, in the order of the arguments."""
    layered = plan.layer_slots
    finals = tuple(slot for slot in plan.last_slots if slot not in layered)
    return (*plan.trajectory_slots, *layered, *finals, *(p.name for p in plan.propagations))


def driver_arguments(plan: Schedule) -> list[str]:
    """Return the argument names of ``run``."""
    return [
        *_maps(plan),
        *("first_tile", "last_tile", "n", "depth"),
        *(rule.name for rule in plan.rules),
        *(f"p{i}" for i in range(len(plan.parameters))),
        *(f"q{i}" for i in range(len(plan.layer_parameters))),
        *(f"out_{slot}" for slot in output_slots(plan)),
    ]


def _maps(plan: Schedule) -> tuple[str, ...]:
    """Return the argument that holds the addresses of the scalar functions, if there is one."""
    return ("maps",) if plan.quadratures else ()


def _tile(plan: Schedule, rows: Rows) -> list[str]:
    return [
        f"low = tile * {rows.lanes}",
        f"count = min({rows.lanes}, n - low)",
        f"lane = np.empty(({rows.count}, {rows.lanes}))",
        *(f"tile_load(lane[{row}], p{k}, low, n)" for k, row in enumerate(rows.parameters)),
        *_call("initial", plan, rows, arguments=rows.parameters, results=rows.carried),
        *_start_propagators(plan.propagations),
        *_layers(plan, rows),
        *_finish(plan, rows),
    ]


def _layers(plan: Schedule, rows: Rows) -> list[str]:
    """Return the loop over layers, in pages if every layer has results."""
    slots = (*plan.trajectory_slots, *plan.layer_slots)
    if not slots:
        return ["for layer in range(depth):", *indent(_block(plan, rows), 1)]
    collected = [f"page[{k}, s, i] = lane[{rows.results[k]}, i]" for k in range(len(slots))]
    page = [
        f"layers = min({PAGE}, depth - start)",
        "for s in range(layers):",
        "    layer = start + s",
        *indent(_block(plan, rows), 1),
        f"    for i in range({rows.lanes}):",
        *indent(collected, 2),
        *(
            f"tile_store_page(out_{slot}, page[{k}], low, count, start, layers)"
            for k, slot in enumerate(slots)
        ),
    ]
    return [
        f"page = np.empty(({len(slots)}, {PAGE}, {rows.lanes}))",
        f"for start in range(0, depth, {PAGE}):",
        *indent(page, 1),
    ]


def _block(plan: Schedule, rows: Rows) -> list[str]:
    arguments = [*rows.carried, *rows.parameters, *rows.layer_parameters]
    count = len(plan.read) + len(plan.layer)
    results = [*rows.results[:count], *rows.state]
    matrices = rows.results[len(plan.read) + len(plan.layer_slots) :]
    return [
        *(
            f"tile_load_layer(lane[{row}], q{k}, low, n, layer)"
            for k, row in enumerate(rows.layer_parameters)
        ),
        *_call("advance", plan, rows, arguments=arguments, results=results),
        *_propagate(plan.propagations, list(matrices)),
    ]


def _finish(plan: Schedule, rows: Rows) -> list[str]:
    if not (plan.read or plan.last):
        return []
    arguments = [*rows.carried, *rows.parameters]
    results = rows.results[: len(plan.read) + len(plan.last)]
    layered = len(plan.layer_slots)
    last = rows.results[len(plan.read) :]
    return [
        *_call("finish", plan, rows, arguments=arguments, results=results),
        *_stores(plan.trajectory_slots, rows.results, "depth"),
        *_stores(plan.layer_slots, last, "depth"),
        *_stores(plan.last_slots[layered:], last[layered:], None),
    ]


def _call(
    name: str, plan: Schedule, rows: Rows, *, arguments: Sequence[int], results: Sequence[int]
) -> list[str]:
    given = [*_maps(plan), *(f"lane[{row}, i]" for row in arguments)]
    given += [rule.name for rule in plan.rules]
    names = [f"r{k}" for k in range(len(results))]
    if not names:
        return []
    return [
        f"for i in range({rows.lanes}):",
        f"    {', '.join(names)} = {name}({', '.join(given)})",
        *(f"    lane[{row}, i] = {result}" for row, result in zip(results, names, strict=True)),
    ]


def _stores(names: Sequence[str], rows: Sequence[int], layer: str | None) -> list[str]:
    function, place = ("store", "") if layer is None else ("store_layer", f", {layer}")
    return [
        f"tile_{function}(out_{slot}, lane[{row}], low, count{place})"
        for slot, row in zip(names, rows, strict=False)
    ]


def _start_propagators(propagations: Sequence[Propagation]) -> list[str]:
    lines: list[str] = []
    for k, p in enumerate(propagations):
        lines.append(f"tile_start_propagator(out_{p.name}, low, count)")
        if p.size > 1:
            lines += [
                f"product{k} = np.zeros((count, depth + 1, {p.size}, {p.size}))",
                "for i in range(count):",
                f"    for a in range({p.size}):",
                f"        product{k}[i, 0, a, a] = 1.0",
            ]
    return lines


def _propagate(propagations: Sequence[Propagation], rows: list[int]) -> list[str]:
    lines: list[str] = []
    for k, p in enumerate(propagations):
        own, rows = rows[: p.size**2], rows[p.size**2 :]
        if p.size == 1:
            lines.append(f"tile_propagate(out_{p.name}, lane[{own[0]}], low, count, layer)")
        else:
            lines += ["for i in range(count):", *indent(_propagate_matrix(p, k, own), 1)]
    return lines


def _propagate_matrix(p: Propagation, k: int, rows: Sequence[int]) -> list[str]:
    size, product = p.size, f"product{k}"
    lines = ["for m in range(layer + 1):", f"    for b in range({size}):"]
    for a in range(size):
        terms = [f"lane[{rows[a * size + c]}, i] * {product}[i, m, {c}, b]" for c in range(size)]
        lines.append(f"        v{a} = {' + '.join(terms)}")
    lines += [f"        {product}[i, m, {a}, b] = v{a}" for a in range(size)]
    kept = f"{product}[i, m, {p.row}, {p.column}]"
    lines += [
        f"    out_{p.name}[low + i, layer + 1, m] = {kept}",
        f"for a in range({size}):",
        f"    {product}[i, layer + 1, a, a] = 1.0",
        f"out_{p.name}[low + i, layer + 1, layer + 1] = {1.0 if p.row == p.column else 0.0}",
    ]
    return lines


def indent(lines: Sequence[str], depth: int = 1) -> list[str]:
    """Return lines of a text further to the right."""
    return ["    " * depth + line for line in lines]
