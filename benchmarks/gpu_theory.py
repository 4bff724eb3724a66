"""How fast the theory's routines are on the device, beside its own roofs and beside all cores.

The problem is that of `cases.py`: kernel and response of one input or a pair, hyperparameters of
their own at every point. Arrays stay on the device, as they do in a longer computation there. With
all layers kept, storing is what a routine cannot be faster than; with the last layer alone, its
arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import Case, draw_case
from gpu_device import Scale, arithmetic, by_events, repeated
from gpu_operations import slots_per_layer
from numba import cuda
from timing import clocked, spread

from resexpand.codegen.cuda.driver import results, rows_of
from resexpand.codegen.cuda.inspection import kernels_of
from resexpand.codegen.cuda.offline import ptx_of
from resexpand.codegen.cuda.target import SIMULATED
from resexpand.codegen.routine import Precision, Routine
from resexpand.codegen.schedule import schedule
from resexpand.theory.recursion import Recursion

NUMBERS: dict[Precision, Any] = {"double": np.float64, "single": np.float32}
FLOATS = {"double": "f64", "single": "f32"}
OUTPUTS = {"all layers": ["K", "chi_0"], "last layer": ["eta"]}


def theory(scale: Scale) -> dict[str, Any]:
    """Return updates per second of every case in both precisions."""
    roofs = {name: arithmetic(scale, number) for name, number in NUMBERS.items()}
    rows = {}
    for activation, inputs in scale.cases:
        case = draw_case(activation, inputs, scale.points, scale.layers)
        row = {name: on_device(case, name, scale, roof) for name, roof in roofs.items()}
        row["cpu"] = on_cpu(draw_case(activation, inputs, scale.cpu_points, scale.layers), scale)
        everything = row["double"]["all layers"]["pair_layers_per_second"]["median"]
        row["times_cpu"] = everything / row["cpu"]["pair_layers_per_second"]["median"]
        rows[case.name] = row
    return {"roofs": roofs, "cases": rows}


def on_cpu(case: Case, scale: Scale) -> dict[str, Any]:
    """Return the rate of a routine on all cores, as a user calls it."""
    routine, given = case.routine(), case.hyperparameters()
    seconds = repeated(clocked(lambda: routine(**given)), scale.rounds)
    return {"pair_layers_per_second": spread(case.pair_layers / seconds)}


def on_device(
    case: Case, precision: Precision, scale: Scale, roof: dict[str, Any]
) -> dict[str, Any]:
    """Return the rates of a routine of the device in one precision."""
    number = NUMBERS[precision]
    given = {k: cuda.to_device(v.astype(number)) for k, v in case.hyperparameters().items()}
    found: dict[str, Any] = {}
    for what, outputs in OUTPUTS.items():
        routine = case.routine(outputs, target="cuda", precision=precision)
        rate = launched(routine, given, scale)
        if what == "all layers":
            stored = sum(rows_of(routine.plan, case.depth).values()) * case.points
            found["slots_per_layer"] = slots(routine.recursion, precision)
        found[what] = {"pair_layers_per_second": spread(case.pair_layers * rate)}
    floor = stored * np.dtype(number).itemsize / roof["stored_bytes_per_second"]["median"]
    rate = found["all layers"]["pair_layers_per_second"]["median"]
    found["all layers"]["time_over_storing"] = case.pair_layers / rate / floor
    if found["slots_per_layer"]:
        top = roof["multiply_adds_per_second"]["median"] / found["slots_per_layer"]
        rate = found["last layer"]["pair_layers_per_second"]["median"]
        found["last layer"]["time_over_arithmetic"] = top / rate
    return found


def launched(routine: Routine, given: dict[str, Any], scale: Scale) -> Any:
    """Return calls per second by events, as many as there are rounds."""
    return 1.0 / repeated(lambda: by_events(lambda: routine(**given)), scale.rounds)


def slots(recursion: Recursion, precision: Precision) -> float | None:
    """Return the arithmetic of a layer as the compiler writes it, None in the simulator."""
    if SIMULATED:
        return None
    plan = schedule(recursion)
    stored = [rows_of(plan, depth) for depth in (0, 1)]
    stores = sum(stored[1][name] - stored[0][name] for name in results(plan))
    ptx = ptx_of(*kernels_of(recursion, precision)["run"])
    return slots_per_layer(ptx, FLOATS[precision], stores)
