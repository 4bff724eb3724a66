"""`remainder_bound`: from what a user gives to a `RemainderBound`."""

from __future__ import annotations

from typing import Any

import sympy as sp

from resexpand.combinatorics.arguments import check_order
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.theory.expansion import Expansion
from resexpand.theory.expansion.build import read_depth
from resexpand.theory.expansion.scales import is_list, with_depth
from resexpand.theory.remainder.bound import RemainderBound
from resexpand.theory.remainder.majorant import Majorant, real

SCALE = sp.Symbol("lambda", positive=True)
"""Absolute value of the common scale where none is given."""


def remainder_bound(
    order: int | Expansion, depth: Any = None, scale: Any = None, majorant: Majorant | None = None
) -> RemainderBound:
    """Bound what an expansion neglects after an order.

    Parameters
    ----------
    order : int or Expansion
        Last order kept. An expansion also gives its depth and scales.
    depth : int or sympy.Symbol, optional
        Number of blocks; the symbol ``n`` by default.
    scale : number, sympy.Expr, sequence or sympy.IndexedBase, optional
        Common scale, or one per block; the positive symbol ``lambda`` by default.
    majorant : Majorant, optional
        Bounds on the derivatives of the blocks at the input; `Majorant.analytic` in the symbols
        ``M`` and ``R`` by default.

    Returns
    -------
    RemainderBound

    Raises
    ------
    HyperparameterError
        If order, depth or scales make no sense.
    UnsupportedError
        If the expansion is a derivative in a scale.

    Examples
    --------
    >>> print(remainder_bound(3, majorant=Majorant.entire()).closed)
    rhat_3 = M**4*lambda**4*n**4/(4*R**3*(-M*lambda*n/R + 1))
    >>> print(remainder_bound(2, depth=50, scale=0.01, majorant=Majorant.entire(1, 1)))
    after order 2: at most 0.0638395
    """
    chosen = Majorant.analytic() if majorant is None else majorant
    if not isinstance(chosen, Majorant):
        raise HyperparameterError(
            f"majorant = {majorant!r}",
            f"it is of type {type(majorant).__name__}",
            "give Majorant.analytic(M, R), Majorant.entire(M, R), or majorant_of(...)",
        )
    if isinstance(order, Expansion):
        if order.identity != 1:
            raise UnsupportedError(
                "the remainder of a differentiated expansion",
                "the majorant bounds the network, not its derivative in a scale",
                "give the expansion of the network itself",
            )
        depth = order.depth if depth is None else depth
        scale = order.scales if scale is None else scale
        order = order.order
    blocks = read_depth(depth, scale)
    return RemainderBound(check_order(order), blocks, _scales(scale, blocks), chosen)


def _scales(scale: Any, depth: Any) -> Any:
    if scale is None:
        return SCALE
    if isinstance(scale, sp.IndexedBase):
        if not isinstance(depth, int):
            return scale
        return tuple(scale[i] for i in range(1, depth + 1))
    if is_list(scale):
        found = tuple(_size(value) for value in scale)
        if len(found) != depth:
            raise HyperparameterError(
                f"{len(found)} scales for {depth} blocks",
                "every block has one scale",
                "give as many scales as blocks, or a common one",
            )
        return found[0] if len(set(found)) == 1 else found
    found = _size(scale)
    return found if isinstance(depth, int) else with_depth(found, depth)


def _size(scale: Any) -> sp.Expr:
    """Return a scale, of a complex one its absolute value: no more of it enters."""
    is_complex = isinstance(scale, sp.Expr) and scale.is_number and scale.is_real is False
    return real(sp.Abs(scale) if is_complex else scale, "scale")
