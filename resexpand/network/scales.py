"""Residual scales and the depth of a network: one for all blocks, one per block, or per kind."""

from __future__ import annotations

from typing import TypeAlias

import sympy as sp

from resexpand.errors import DescriptionError
from resexpand.network.numbers import listed
from resexpand.network.operation import hyperparameter

Scales: TypeAlias = sp.Expr | tuple[sp.Expr, ...]


def scales_of(scale: object) -> Scales:
    """Return one scale, or a tuple of several."""
    values = listed(scale, "scale")
    if values is None:
        return hyperparameter(scale, "scale")
    return tuple(hyperparameter(value, "scale") for value in values)


def per_block(scales: Scales, depth: sp.Expr) -> Scales:
    """Return one scale per block; those of the kinds of blocks repeat in their cycle."""
    if not isinstance(scales, tuple) or depth == len(scales):
        return scales
    return tuple(scales[block % len(scales)] for block in range(int(depth)))


def depth_of(depth: object, scales: Scales, kinds: int) -> sp.Expr:
    """Return the number of blocks, which fits the scales and the kinds of blocks.

    Raises
    ------
    DescriptionError
        If it is no positive integer, or there is not one scale per block or kind.
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
