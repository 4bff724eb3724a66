"""Values that are certain: a stream without weights is one number, which no norm divides by.

Zero weights, scales or skips leave nothing random of a signal. A normalisation with eps = 0 of such
a signal is 0/0 at every width; it is found from the description, for theories and samplers alike.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from resexpand.errors import UnsupportedError
from resexpand.network.operation import Map, Operation


def check_variances(net: Any) -> None:
    """Raise if a normalisation divides by a variance that numbers in the description make zero.

    Symbols may take any value and are taken as not zero; so are blocks of a symbolic depth.

    Raises
    ------
    UnsupportedError
        If it does; the message names the block.
    """
    ops = [op for branch in net.kinds for op in branch.ops]
    ends = [*(net.head_ops or ()), *([net.post_norm] if net.post_norm is not None else [])]
    norms = [op for op in (*ops, *ends) if isinstance(op, Map) and op.averages]
    given = [value for op in ops for entry in op.values for value in _each(entry)]
    if not norms or not (net.skip == 0 or any(value == 0 for value in given)):
        return
    depth = int(net.depth) if net.depth.is_Integer else len(net.kinds)
    stream: Any = None
    for number, scale in enumerate(net.scales(depth), start=1):
        image = stream
        for op in net.block(number).ops:
            image = _behind(op, image, f"block {number}")
        parts = [sp.S.Zero if f == 0 else x for f, x in ((net.skip, stream), (scale, image))]
        stream = None if None in parts else net.skip * parts[0] + scale * parts[1]
        if net.post_norm is not None:
            stream = _behind(net.post_norm, stream, f"the stream behind block {number}")
    for op in net.head_ops or ():
        stream = _behind(op, stream, "the last layer")


def _each(entry: Any) -> tuple[Any, ...]:
    return entry if isinstance(entry, tuple) else (entry,)


def _behind(op: Operation, value: Any, where: str) -> Any:
    """Return the number that an operation makes of a number; None: it is random."""
    if not isinstance(op, Map):
        weight, bias = (op.by_symbol[p.symbol] for p in op.parameters[:2])
        return sp.S.Zero if bias == 0 and (weight == 0 or value == 0) else None
    if value is None or op.attends or op.gates is not None or op.over == "positions":
        return value if value == 0 else None
    known = {**op.by_symbol, op.variable: value}
    for symbol, average in op.averages:
        known[symbol] = average.subs(known)
    found = op.expression.subs(known)
    if found.has(sp.nan, sp.zoo):
        raise UnsupportedError(
            f"{op!r} of {where}",
            "zero weights, scales or skips leave it a signal without variance, by which it divides",
            "give eps > 0, or variances and factors that are not zero",
        )
    return None if found.free_symbols else found
