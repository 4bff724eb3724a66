"""Residual scales and depth of a network, read from arguments of a user."""

from __future__ import annotations

import sympy as sp

from resexpand.conventions import DEPTH
from resexpand.errors import DescriptionError
from resexpand.network.numbers import listed
from resexpand.network.operation import hyperparameter


def scales_of(scale: object) -> sp.Expr | tuple[sp.Expr, ...]:
    """Return the residual scale as one expression, or one per block or kind of block."""
    values = listed(scale, "scale")
    if values is None:
        return hyperparameter(scale, "scale")
    return tuple(hyperparameter(value, "scale") for value in values)


def scales_per_block(
    scales: sp.Expr | tuple[sp.Expr, ...], depth: sp.Expr
) -> sp.Expr | tuple[sp.Expr, ...]:
    """Return one scale per block; those of the kinds of blocks repeat in their cycle.

    The symbol of the depth, as which a text has its ``L``, becomes the depth of this network.
    """
    if not isinstance(scales, tuple):
        return scales.subs(DEPTH, depth)
    scales = tuple(scale.subs(DEPTH, depth) for scale in scales)
    if depth == len(scales):
        return scales
    return tuple(scales[block % len(scales)] for block in range(int(depth)))


def depth_from(depth: object, scales: sp.Expr | tuple[sp.Expr, ...], kinds: int) -> sp.Expr:
    """Return the number of blocks, given or counted from the scales; `kinds` repeat in a cycle.

    Raises
    ------
    DescriptionError
        If it is no positive integer, or not the number of scales.
    """
    if depth is None:
        if not isinstance(scales, tuple):
            raise DescriptionError("a network without depth", "", "give depth=")
        depth = len(scales)
    value = hyperparameter(depth, "depth", minimum=1)
    if value.is_number and not value.is_Integer:
        raise DescriptionError(f"depth = {depth}", "it is not an integer", "give a whole number")
    per_kind = isinstance(scales, tuple) and len(scales) == kinds > 1 and value.is_Integer
    if isinstance(scales, tuple) and value != len(scales) and not per_kind:
        raise DescriptionError(
            f"{len(scales)} scales for depth {value}",
            "there must be one scale per block",
            f"give {value} scales, or one for all",
        )
    return value
