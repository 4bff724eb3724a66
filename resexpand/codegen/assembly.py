"""The complete source text of a routine: scalar functions, quadratures and the driving loop.

Three scalar functions carry the recursion. ``initial`` gives the state at layer 0 and what is
constant over the layers; ``advance`` reads what is wanted off the state before a block and returns
it with the next state, so that what they share is computed once; ``finish`` reads the last state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp

from resexpand.codegen.cuda.driver import kernels_source
from resexpand.codegen.driver import driver_source, slots_source
from resexpand.codegen.literals import comment
from resexpand.codegen.quadrature import quadrature_functions
from resexpand.codegen.schedule import Schedule
from resexpand.codegen.source import module_source, operation_count, scalar_function
from resexpand.theory.recursion import Recursion


@dataclass(frozen=True)
class RoutineText:
    """The text of a routine.

    Attributes
    ----------
    source : str
        The module with the functions of the recursion, and with the loop unless that stands apart.
    loop : str
        The module with a loop that calls the functions by address; empty if there is none.
    operations : int
        Arithmetic operations and function calls per point and layer.
    """

    source: str
    loop: str
    operations: int


def routine_text(recursion: Recursion, plan: Schedule, target: str) -> RoutineText:
    """Return the text of a routine.

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
    by_address = bool(plan.quadratures) and not on_device and target != "numpy"
    role = "chunk" if by_address else "scalar"
    results: dict[str, int] = {}

    def add(name: str, inputs: Sequence[sp.Symbol], outputs: Sequence[sp.Expr]) -> None:
        if outputs:
            text = scalar_function(
                name,
                (*inputs, *rules),
                outputs,
                helpers=helpers,
                definitions=plan.definitions,
                role=role,
            )
            functions.append(text)
            results[name] = len(outputs)

    advanced = (*plan.read, *plan.layer, *plan.step)
    everything = (*plan.parameters, *plan.layer_parameters)
    carried = (*plan.state, *plan.constants)
    add("initial", plan.parameters, (*plan.initial, *plan.once))
    add("advance", (*carried, *everything), advanced)
    add("finish", (*carried, *plan.parameters), (*plan.read, *plan.last))
    loop = ""
    if on_device:
        functions.append(kernels_source(plan))
    elif by_address:
        loop = module_source([slots_source(results), driver_source(plan)])
        functions += [f"{name} = _t.kept({name})" for name in results]
    else:
        # What is not compiled is called by name.
        functions.append(driver_source(plan).replace("(maps, ", "("))
    title = comment(f"{recursion.title}: {', '.join(o.name for o in plan.outputs)}")
    source = f"{title}\n" + module_source(functions, target)
    return RoutineText(source, loop, operation_count(advanced, plan.definitions))
