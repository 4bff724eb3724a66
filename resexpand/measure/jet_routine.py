"""The compiled routine that maps the Taylor coefficients of neurons through an activation."""

from __future__ import annotations

from functools import cache
from typing import Any

import sympy as sp

from resexpand.codegen import store
from resexpand.codegen.jet_source import jet_function
from resexpand.codegen.source import module_source
from resexpand.network.ops import Activation

LOOP = '''
@driver
def jets(source, target):
    """Row 0 is a value, rows 1 to {order} are Taylor coefficients; neurons are columns."""
    for i in range(source.shape[1]):
        target[0, i] = phi(source[0, i])
    for i in range(source.shape[1]):
        {new} = phi_jet({old})
'''


@cache
def jet_source(expression: sp.Expr, variable: sp.Symbol, order: int) -> str:
    """Return the text of the module with the routine ``jets``, for `order` coefficients."""
    # A jet of order zero: the same forms that neither overflow nor cancel as in the other rows.
    phi = jet_function("phi", expression, variable, 0)
    jet = jet_function("phi_jet", expression, variable, order - 1)
    new, old = (
        ", ".join(f"{name}[{j}, i]" for j in range(1, order + 1)) for name in ("target", "source")
    )
    return module_source([phi, jet, LOOP.format(order=order, new=new, old=old)])


def jet_routine(op: Activation, order: int) -> Any:
    """Return the routine ``jets(source, target)`` on arrays of shape (order + 1, neurons)."""
    return store.load(jet_source(op.expression, op.variable, order)).jets
