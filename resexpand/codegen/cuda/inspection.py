"""The kernels of a routine as the assembler sees them, on machines with and without a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resexpand.codegen.assembly import routine_source
from resexpand.codegen.cuda.driver import results
from resexpand.codegen.cuda.offline import CAPABILITY, Usage, usage_of
from resexpand.codegen.schedule import schedule
from resexpand.codegen.store import load
from resexpand.theory.recursion import Recursion


def kernels_of(recursion: Recursion, precision: str = "double") -> dict[str, tuple[Any, Any]]:
    """Return the kernels of a recursion by name, each with the signature it is launched with.

    Parameters
    ----------
    recursion : Recursion
        What they compute.
    precision : {"double", "single"}
        What they compute in.
    """
    from numba.cuda import types

    number = types.float64 if precision == "double" else types.float32
    vector = types.Array(number, 1, "C")
    whole = types.int64
    flag = types.Array(whole, 1, "C")
    plan = schedule(recursion)
    name = "cuda" if precision == "double" else "cuda_single"
    module = load(routine_source(recursion, plan, name)[0])
    given = [
        *[vector] * len(plan.rules),
        types.Array(whole, 2, "C"),
        flag,
        *[vector] * (len(plan.parameters) + len(plan.layer_parameters) + len(results(plan))),
    ]
    found = {"run": (module.run, types.void(whole, whole, whole, *given))}
    symmetric = {output.name for output in plan.outputs if output.diagonal is not None}
    for p in plan.propagations:
        arrays = [vector] * (3 if p.name in symmetric else 2)
        kernel = getattr(module, f"propagate_{p.name}")
        found[f"propagate_{p.name}"] = (kernel, types.void(whole, whole, whole, flag, *arrays))
    return found


def usage(
    recursion: Recursion, precision: str = "double", cc: tuple[int, int] = CAPABILITY
) -> dict[str, Usage]:
    """Compile and assemble the kernels of a recursion, and return what each of them takes.

    Needs numba-cuda and ``ptxas``, but neither a driver nor a device.

    Parameters
    ----------
    recursion : Recursion
        What they compute.
    precision : {"double", "single"}
        What they compute in.
    cc : (int, int)
        Compute capability.
    """
    kernels = kernels_of(recursion, precision)
    return {name: usage_of(kernel, given, cc) for name, (kernel, given) in kernels.items()}


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
