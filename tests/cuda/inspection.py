"""Kernels of routines and of samplers as the assembler sees them, without a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from offline import CAPABILITY, Usage, ptx_of

from resexpand.codegen.assembly import routine_text
from resexpand.codegen.cuda.driver import results
from resexpand.codegen.schedule import schedule
from resexpand.codegen.store import load
from resexpand.montecarlo.engine import Sampler
from resexpand.montecarlo.groups.layout import Layout
from resexpand.theory.recursion import Recursion


def kernels_of(recursion: Recursion) -> dict[str, tuple[Any, Any]]:
    """Return the kernels of a recursion by name, each with the signature it is launched with."""
    from numba.cuda import types

    vector, whole = types.Array(types.float64, 1, "C"), types.int64
    rows, flag = types.Array(types.float64, 2, "C"), types.Array(whole, 1, "C")
    plan = schedule(recursion)
    module = load(routine_text(recursion, plan, "cuda").source)
    given = [*[vector] * len(plan.rules), flag, *[vector] * len(plan.parameters)]
    given += [*[rows] * len(plan.layer_parameters), *[vector] * len(results(plan))]
    found = {"run": (module.run, types.void(whole, whole, whole, *given))}
    symmetric = {output.name for output in plan.outputs if output.diagonal is not None}
    for p in plan.propagations:
        arrays = [vector] * (3 if p.name in symmetric else 2)
        kernel = getattr(module, f"propagate_{p.name}")
        found[f"propagate_{p.name}"] = (kernel, types.void(whole, whole, whole, flag, *arrays))
    return found


def texts_of(recursion: Recursion) -> dict[str, str]:
    """Return the PTX of the kernels of a recursion by name."""
    return {name: ptx_of(*given) for name, given in kernels_of(recursion).items()}


def signature(layout: Layout) -> Any:
    """Return the types of the arguments with which networks of this layout are drawn."""
    from numba.cuda import types

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


def table(rows: Mapping[str, Usage]) -> str:
    """Return registers, stack, spills and shared memory of some kernels, one line each."""
    width = max(map(len, rows), default=0)
    head = f"{'kernel':<{width}}  registers  stack  spill stores  spill loads  shared"
    lines = [
        f"{name:<{width}}  {u.registers:9}  {u.stack:5}  {u.spill_stores:12}  {u.spill_loads:11}"
        f"  {u.shared:6}"
        for name, u in rows.items()
    ]
    return "\n".join([head, *lines])
