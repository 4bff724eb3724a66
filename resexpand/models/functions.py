"""What the functions of PyTorch do to a stream, by name: copies, contractions, sums."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Number
from typing import Any

SUMS = {"add": 1, "add_": 1, "sub": -1, "sub_": -1, "subtract": -1, "subtract_": -1}
"""Sums of two tensors, with the sign of the second."""

COPIES = frozenset(
    {"view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "squeeze", "unsqueeze"}
    | {"permute", "transpose", "movedim", "swapaxes", "t", "contiguous", "clone", "detach"}
    | {"expand", "roll", "to", "float", "half", "bfloat16", "double", "type", "type_as"}
    | {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"}
)
"""Functions whose result is their first argument up to its form, or its noise."""

PRODUCTS_OF_TWO = frozenset({"mul", "mul_", "multiply"})
QUOTIENTS = frozenset({"div", "div_", "divide"})
"""Functions whose result is a multiple of one argument, where the other is a number or a weight."""

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


def is_number(value: Any) -> bool:
    """Whether a value is a number of Python."""
    return isinstance(value, Number)


def copied(name: str, args: tuple[Any, ...], kind: Any, weight: Any) -> Any:
    """Return the argument that a function returns in another guise, or None.

    Parameters
    ----------
    name : str
        Of the function.
    args : tuple
        Its arguments.
    kind, weight : type
        Of tensors, and of trainable ones: a weight in front of a tensor (LayerScale, a trainable
        skip) makes a multiple of it.
    """
    if not args or not isinstance(args[0], kind):
        return None
    if name in COPIES:
        return args[0]
    # A stream to which a number is added, as by `sum` of a list, goes on.
    if name in SUMS and len(args) > 1 and is_number(args[1]):
        return args[0]
    if len(args) < 2 or name not in PRODUCTS_OF_TWO | QUOTIENTS:
        return None

    def scales(value: Any) -> bool:
        if isinstance(value, kind):
            return isinstance(value, weight) or value.numel() == 1
        return is_number(value)

    first, second = args[:2]
    if scales(second):
        return first
    return second if name in PRODUCTS_OF_TWO and scales(first) else None


def factor_of(name: str, args: tuple[Any, ...]) -> float | None:
    """Return the number by which a function multiplies its tensor, None if it does not."""
    if name == "neg":
        return -1.0
    numbers = [value for value in args[:2] if isinstance(value, Number)]
    if name in PRODUCTS_OF_TWO and numbers:
        return float(numbers[0])  # type: ignore[arg-type]
    if name in QUOTIENTS and len(args) > 1 and isinstance(args[1], Number):
        return 1 / float(args[1])  # type: ignore[arg-type]
    return None


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
