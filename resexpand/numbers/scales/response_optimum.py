"""The residual scale at which the response of the output is largest, ``rho*(L)``."""

from __future__ import annotations

import math

from resexpand.errors import UnsupportedError
from resexpand.numbers.evaluation import evaluate
from resexpand.numbers.scales.candidate import Choice, Setting, candidate
from resexpand.theory.optimal_scale import optimal_scale


@candidate(
    "response_optimum",
    "response optimum",
    "a network that reacts most to its input trains best; independent weights, infinite width",
    "fischer2023",
)
def response_optimum(setting: Setting) -> Choice:
    """Return the optimum at this depth; an optimum at zero says that branches only harm it."""
    theory = optimal_scale(setting.given.with_scale(1, setting.depth), setting.kind)
    if theory.reason:
        raise UnsupportedError("an optimal residual scale", theory.reason)
    optimum = evaluate(theory, **setting.values)
    value = float(optimum["rho"])
    if not math.isfinite(value):
        raise UnsupportedError("an optimal residual scale", optimum.status)
    why = "the response falls with the scale: K0 lies beyond K*" if value == 0 else ""
    return Choice(value, value, remark=why)
