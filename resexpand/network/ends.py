"""What stands behind the blocks of a network: read-out and normalisation, read and checked."""

from __future__ import annotations

from collections.abc import Sequence

from resexpand.errors import DescriptionError, UnsupportedError
from resexpand.network.branch import is_many
from resexpand.network.operation import Map, Operation, X


def split_read_out(read_out: object) -> tuple[tuple[Operation, ...] | None, object]:
    """Return the maps in front of a read-out, and its linear map."""
    if read_out is None or not isinstance(read_out, Sequence) or not read_out:
        return (None if read_out is None else ()), read_out
    *head, last = read_out
    for op in head:
        if not isinstance(op, Map):
            raise DescriptionError(
                f"{op!r} in front of the read-out", "it is no map", "give [Activation, Linear]"
            )
    for op in filter(lambda op: any(map(is_many, getattr(op, "values", ()))), read_out):
        raise DescriptionError(
            f"{op!r} in a read-out", "it has one value per block", "give one: it is no block"
        )
    return tuple(head), last


def check_post_norm(op: object) -> None:
    """Raise if the map behind every block is not linear given its averages."""
    asked, remedy = f"post_norm={op!r}", "give LayerNorm() or RMSNorm()"
    if op is None:
        return
    if not isinstance(op, Map):
        raise DescriptionError(asked, "it is no map of the neurons", remedy)
    if op.expression.diff(X).has(X):
        why = "the stream of the next block would not be Gaussian at infinite width"
        raise UnsupportedError(asked, why, remedy)
    if op.noise or op.over == "batch":
        why = "it draws noise of its own" if op.noise else "it couples the inputs of a batch"
        raise UnsupportedError(asked, why, remedy)
    if any(map(is_many, op.values)):
        raise UnsupportedError(asked, "it has one value per block", "give one for all blocks")
