"""The complete source text of a routine: scalar functions, quadratures and the driving loop.

Three scalar functions carry the recursion. ``initial`` gives the state at layer 0 and what is
constant over the layers; ``advance`` reads what is wanted off the state before a block and returns
it with the next state, so that what they share is computed once; ``finish`` reads the last state.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from resexpand.codegen.cuda.driver import kernels_source
from resexpand.codegen.driver import driver_source
from resexpand.codegen.literals import comment
from resexpand.codegen.quadrature import quadrature_functions
from resexpand.codegen.schedule import Schedule
from resexpand.codegen.source import module_source, operation_count, scalar_function
from resexpand.theory.recursion import Recursion


def routine_source(recursion: Recursion, plan: Schedule, target: str) -> tuple[str, int]:
    """Return the text of the module of a routine and the operations per point and layer.

    Parameters
    ----------
    recursion : Recursion
        Named in the header of the text.
    plan : Schedule
        The plan of the routine.
    target : str
        Compilation target; it decides on the header and the driving loop, and on nothing else.
    """
    helpers = {q.name: q.name for q in plan.quadratures}
    rules = plan.rules
    on_device = target.startswith("cuda")
    functions = quadrature_functions(plan.quadratures, shared=on_device)

    def add(name: str, inputs: Sequence[sp.Symbol], outputs: Sequence[sp.Expr]) -> None:
        if outputs:
            text = scalar_function(
                name, (*inputs, *rules), outputs, helpers=helpers, definitions=plan.definitions
            )
            functions.append(text)

    advanced = (*plan.read, *plan.layer, *plan.step)
    everything = (*plan.parameters, *plan.layer_parameters)
    carried = (*plan.state, *plan.constants)
    add("initial", plan.parameters, (*plan.initial, *plan.once))
    add("advance", (*carried, *everything), advanced)
    add("finish", (*carried, *plan.parameters), (*plan.read, *plan.last))
    loop = kernels_source(plan) if on_device else "@driver\n" + driver_source(plan)
    title = comment(f"{recursion.title}: {', '.join(o.name for o in plan.outputs)}")
    return f"{title}\n" + module_source([*functions, loop], target), operation_count(
        advanced, plan.definitions
    )
