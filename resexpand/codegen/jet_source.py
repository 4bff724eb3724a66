"""The text of a function that computes a jet: Taylor coefficients of phi(h) from those of h.

The program of `resexpand.series.jets` becomes one scalar function; its intermediate values stay
assignments, so the length of the text grows like the square of the order.
"""

from __future__ import annotations

import sympy as sp

from resexpand.codegen.source import scalar_function
from resexpand.series.jets import jet_assignments


def jet_function(name: str, expression: sp.Expr, variable: sp.Symbol, order: int) -> str:
    """Return the text of ``name(h_0, ..., h_k)``, which returns ``(c_0, ..., c_k)``.

    Parameters
    ----------
    name : str
        Name of the function.
    expression : sympy.Expr
        The function phi, in one symbol.
    variable : sympy.Symbol
        That symbol.
    order : int
        Highest coefficient k, ``>= 0``; a jet of order zero returns a plain number.

    Raises
    ------
    UnsupportedError
        If a function in the expression has no recurrence or no numerical function.

    Examples
    --------
    >>> import sympy as sp
    >>> x = sp.Symbol("x", real=True)
    >>> print(jet_function("square", x**2, x, 1))
    @scalar
    def square(h_0, h_1):
        t0 = h_0 * h_0
        t1 = h_0 * h_1
        t2 = 2.0 * t1
        return (t0, t2)
    <BLANKLINE>
    """
    jet = jet_assignments(expression, variable, order)
    return scalar_function(name, jet.inputs, jet.outputs, definitions=jet.assignments)
