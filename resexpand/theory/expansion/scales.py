"""Scales of the blocks: one symbol or number per block, or one for all of them."""

from __future__ import annotations

from typing import Any, TypeAlias

import sympy as sp

from resexpand.combinatorics.arguments import check_memory
from resexpand.conventions import exact
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.network.numbers import listed

Scales: TypeAlias = tuple[sp.Expr, ...] | sp.Expr | sp.IndexedBase
"""One scale per block; at symbolic depth a common scale, or the base of indexed ones."""

LAMBDA = "lambda"
BYTES_PER_SCALE = 400


def read_scales(scales: Any, depth: int | sp.Expr) -> Scales:
    """Return the scales of a network in the form that `Expansion` holds.

    Parameters
    ----------
    scales : None, number, sympy.Expr, sympy.IndexedBase or sequence
        None for symbols ``lambda_1 .. lambda_n`` (``lambda[i]`` at symbolic depth).
    depth : int or sympy.Expr
        Number of blocks.

    Raises
    ------
    HyperparameterError
        If there are not as many scales as blocks, or one is neither a number nor an expression.
    UnsupportedError
        If so many blocks would not fit into memory.
    """
    if not isinstance(depth, int):
        return _read_for_symbolic_depth(scales, depth)
    check_memory(f"the scales of {depth} blocks", depth, BYTES_PER_SCALE)
    if scales is None:
        return default_scales(depth)
    if isinstance(scales, sp.IndexedBase):
        return tuple(scales[i] for i in range(1, depth + 1))
    given = listed(scales, "scales")
    if given is not None:
        values = tuple(_scale(value) for value in given)
        if len(values) != depth:
            raise HyperparameterError(
                f"{len(values)} scales for {depth} blocks",
                "every block has one scale",
                f"give {depth} scales, or one number or symbol for all blocks",
            )
        return values
    return (_scale(scales),) * depth


def is_list(scales: Any) -> bool:
    """Whether scales are given one by one."""
    return listed(scales, "scales") is not None


def default_scales(depth: int) -> tuple[sp.Symbol, ...]:
    """Return the symbols ``lambda_1 .. lambda_depth``."""
    return tuple(sp.Symbol(f"{LAMBDA}_{i}") for i in range(1, depth + 1))


def _read_for_symbolic_depth(scales: Any, depth: sp.Expr) -> Scales:
    if scales is None:
        return sp.IndexedBase(LAMBDA)
    if isinstance(scales, sp.IndexedBase):
        return scales
    if is_list(scales):
        raise HyperparameterError(
            f"a list of scales for {depth} blocks",
            "at symbolic depth their number is not known",
            "give one number or symbol, a sympy.IndexedBase, or the number of blocks",
        )
    return with_depth(_scale(scales), depth)


def with_depth(scale: sp.Expr, depth: sp.Expr) -> sp.Expr:
    """Return a scale in which a symbol that is written like the depth is the depth."""
    same = {symbol: depth for symbol in scale.free_symbols if str(symbol) == str(depth)}
    return scale.xreplace(same)


def _scale(value: Any) -> sp.Expr:
    try:
        found = exact(value, indexed=True)
    except (TypeError, ValueError) as error:
        raise HyperparameterError(
            f"scale {value!r}", str(error), "give a number or a SymPy symbol"
        ) from None
    if found.has(sp.nan, sp.zoo, sp.oo, -sp.oo):
        raise HyperparameterError(f"scale {value!r}", "it is not finite", "give a finite number")
    return found


def find_scale(scales: Scales, wanted: sp.Symbol | str) -> sp.Symbol:
    """Return the symbol of a scale, given itself or by name.

    Raises
    ------
    HyperparameterError
        If no scale holds it.
    UnsupportedError
        If scales are indexed by a layer that is not a number.
    """
    if isinstance(scales, sp.IndexedBase):
        raise UnsupportedError(
            f"the derivative in {wanted} at symbolic depth",
            f"every layer i has a scale {scales}[i] of its own",
            "give one scale for all blocks, or the number of blocks",
        )
    listed = scales if isinstance(scales, tuple) else (scales,)
    symbols = sorted(sp.Tuple(*listed).free_symbols, key=sp.default_sort_key)
    name = wanted.name if isinstance(wanted, sp.Symbol) else wanted
    for symbol in symbols:
        if symbol.name == name:
            return symbol
    raise HyperparameterError(
        f"the derivative in {wanted}",
        "it is no scale of this network",
        f"use one of {', '.join(map(str, symbols))}" if symbols else "make the scales symbols",
    )
