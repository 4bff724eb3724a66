"""What the functions of PyTorch do to a stream, by name: copies, contractions, sums."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Number
from typing import Any

SUMS = {"add": 1, "add_": 1, "sub": -1, "sub_": -1}
"""Sums of two tensors, with the sign of the second."""

COPIES = frozenset(
    {"view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "squeeze", "unsqueeze"}
    | {"permute", "transpose", "movedim", "swapaxes", "t", "contiguous", "clone", "detach"}
    | {"expand", "roll", "to", "float", "half", "bfloat16", "double", "type", "type_as"}
    | {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"}
)
"""Functions whose result is their first argument up to its form, or its noise."""

MULTIPLES = frozenset({"mul", "mul_", "div", "div_", "multiply", "divide"})
"""Functions whose result is a multiple of their first argument, where the other one is a number."""

CONVOLUTIONS = frozenset(f"conv{way}{d}d" for way in ("", "_transpose") for d in (1, 2, 3))
MAPS = CONVOLUTIONS | {
    *("linear", "bilinear", "mm", "mv", "bmm", "matmul", "addmm", "addbmm", "baddbmm", "einsum"),
    *("tensordot", "scaled_dot_product_attention", "multi_head_attention_forward", "lstm", "gru"),
    *("embedding_bag",),
}
"""Functions with a contraction in them."""

ATTENTIONS = frozenset({"scaled_dot_product_attention", "multi_head_attention_forward"})
PRODUCTS = frozenset({"bmm", "matmul", "einsum", "baddbmm"})
"""Attention, where both factors are activations."""


def tensors_in(value: Any, kind: Any, depth: int = 3) -> Iterator[Any]:
    """Yield the tensors of a value: itself, or those within lists and mappings."""
    if isinstance(value, kind):
        yield value
    elif depth and isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item, kind, depth - 1)
    elif depth and isinstance(value, tuple | list):
        for item in value:
            yield from tensors_in(item, kind, depth - 1)


def is_copy(name: str, args: tuple[Any, ...], kind: Any) -> bool:
    """Whether a function returns its first argument in another guise."""
    if not args or not isinstance(args[0], kind):
        return False
    if name in MULTIPLES:
        other = args[1] if len(args) > 1 else None
        return isinstance(other, Number) or (isinstance(other, kind) and other.numel() == 1)
    return name in COPIES


def terms_of(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], kind: Any) -> Any:
    """Return both terms of a sum of two tensors of one shape and the factor of the second."""
    if name not in SUMS:
        return None
    first = args[0] if args else kwargs.get("input")
    second = args[1] if len(args) > 1 else kwargs.get("other")
    if not (isinstance(first, kind) and isinstance(second, kind)):
        return None
    if first.shape != second.shape or first.ndim < 2:
        return None
    return first, second, SUMS[name] * kwargs.get("alpha", 1)
