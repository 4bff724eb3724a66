"""The compiled routine that maps the Taylor coefficients of neurons through an activation.

Up to `DIRECT` coefficients the loop over neurons reads and writes the rows themselves. Beyond, the
compiler can no longer prove that so many rows do not overlap and would fall back to one neuron at a
time; then `LANES` neurons are copied into a small array of fixed shape, where it can.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import sympy as sp

from resexpand.codegen import store
from resexpand.codegen.jet_source import jet_function
from resexpand.codegen.source import module_source
from resexpand.network.operation import Map

DIRECT = 9
LANES = 32

HEAD = '''
@driver
def jets(source, target):
    """Row 0 is a value, rows 1 to {order} are Taylor coefficients; neurons are columns."""
    size = source.shape[1]
    for i in range(size):
        target[0, i] = phi(source[0, i])
'''

ROWS = """\
    for i in range(size):
        {target} = phi_jet({source})
"""

TILES = """\
    lanes = np.zeros(({order}, {count}))
    for begin in range(0, size, {count}):
        width = min({count}, size - begin)
        for j in range({order}):
            for i in range(width):
                lanes[j, i] = source[j + 1, begin + i]
        for i in range({count}):
            {lanes} = phi_jet({lanes})
        for j in range({order}):
            for i in range(width):
                target[j + 1, begin + i] = lanes[j, i]
"""


@cache
def jet_source(expression: sp.Expr, variable: sp.Symbol, order: int) -> str:
    """Return the text of the module with the routine ``jets``, for `order` coefficients."""
    # A jet of order zero: the same forms that neither overflow nor cancel as in the other rows.
    phi = jet_function("phi", expression, variable, 0)
    jet = jet_function("phi_jet", expression, variable, order - 1)

    def listed(name: str, first: int) -> str:
        return ", ".join(f"{name}[{j + first}, i]" for j in range(order))

    body = ROWS if order <= DIRECT else TILES
    text = (HEAD + body).format(
        order=order,
        count=LANES,
        source=listed("source", 1),
        target=listed("target", 1),
        lanes=listed("lanes", 0),
    )
    return module_source([phi, jet, text])


def jet_routine(op: Map, order: int) -> Any:
    """Return the routine ``jets(source, target)`` on arrays of shape (order + 1, neurons)."""
    return store.load(jet_source(op.expression, op.variable, order)).jets
