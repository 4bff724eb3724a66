"""How fast the theory's routines are on the device, beside its own roofs and beside all cores.

The problem is that of `cases.py`: kernel and response of one input or a pair, hyperparameters of
their own at every point. Kernels are timed by events; a call, which reads the hyperparameters back,
checks them and leaves the results on the device, by the clock on the wall. With all layers kept,
storing is what a kernel cannot be faster than; with the last layer alone, its arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import Case, draw_case
from gpu_device import Launches, Scale, arithmetic, repeated
from gpu_operations import slots_per_layer
from numba import cuda
from timing import clocked, spread

from resexpand.codegen.cuda.driver import results, rows_of
from resexpand.codegen.cuda.target import SIMULATED
from resexpand.codegen.routine import Routine
from resexpand.codegen.store import load

OUTPUTS = {"all layers": ["K", "chi_0"], "last layer": ["eta"]}


def theory(scale: Scale) -> dict[str, Any]:
    """Return updates per second of every case."""
    roof = arithmetic(scale)
    rows = {}
    for activation, inputs in scale.cases:
        case = draw_case(activation, inputs, scale.points, scale.layers)
        row = {"cuda": on_device(case, scale, roof)}
        row["cpu"] = on_cpu(draw_case(activation, inputs, scale.cpu_points, scale.layers), scale)
        everything = row["cuda"]["all layers"]["by_the_wall"]["median"]
        row["times_cpu"] = everything / row["cpu"]["pair_layers_per_second"]["median"]
        rows[case.name] = row
    return {"roof": roof, "cases": rows}


def on_cpu(case: Case, scale: Scale) -> dict[str, Any]:
    """Return the rate of a routine on all cores, as a user calls it."""
    routine, given = case.routine(), case.hyperparameters()
    seconds = repeated(clocked(lambda: routine(**given)), scale.rounds)
    return {"pair_layers_per_second": spread(case.pair_layers / seconds)}


def on_device(case: Case, scale: Scale, roof: dict[str, Any]) -> dict[str, Any]:
    """Return the rates of a routine on the device."""
    given = {k: cuda.to_device(v) for k, v in case.hyperparameters().items()}
    found: dict[str, Any] = {}
    for what, outputs in OUTPUTS.items():
        routine = case.routine(outputs, target="cuda")
        seconds, wall = launched(routine, given, scale)
        if what == "all layers":
            stored = sum(rows_of(routine.plan, case.depth).values()) * case.points
            found["slots_per_layer"] = slots(routine)
        rates = {"pair_layers_per_second": seconds, "by_the_wall": wall}
        found[what] = {name: spread(case.pair_layers / s) for name, s in rates.items()}
    floor = stored * np.dtype(np.float64).itemsize / roof["stored_bytes_per_second"]["median"]
    rate = found["all layers"]["pair_layers_per_second"]["median"]
    found["all layers"]["time_over_storing"] = case.pair_layers / rate / floor
    if found["slots_per_layer"]:
        top = roof["multiply_adds_per_second"]["median"] / found["slots_per_layer"]
        rate = found["last layer"]["pair_layers_per_second"]["median"]
        found["last layer"]["time_over_arithmetic"] = top / rate
    return found


def launched(routine: Routine, given: dict[str, Any], scale: Scale) -> tuple[Any, Any]:
    """Return the seconds of the kernel, and of the call, as many as there are rounds."""
    wall = repeated(clocked(lambda: routine(**given)), scale.rounds)
    module = load(routine.source)
    kernel = module.run
    module.run = launches = Launches(kernel)

    def timed() -> float:
        routine(**given)
        return launches.seconds()

    try:
        return repeated(timed, scale.rounds), wall
    finally:
        module.run = kernel


def slots(routine: Routine) -> float | None:
    """Return the arithmetic of a layer as the compiler writes it, None in the simulator."""
    if SIMULATED:
        return None
    stored = [rows_of(routine.plan, depth) for depth in (0, 1)]
    stores = sum(stored[1][name] - stored[0][name] for name in results(routine.plan))
    (ptx,) = load(routine.source).run.inspect_asm().values()
    return slots_per_layer(ptx, stores)
