"""Norms of a residual sum: of the stream, the branch and the result, and their product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from resexpand.models.watching import Sum

PARTS = 4
"""Parts of a product of two activations that are formed one after the other."""


@dataclass(frozen=True)
class Norms:
    """Norms at every token.

    Attributes
    ----------
    values : torch.Tensor, shape (4, ...)
        ``|x|``, ``|f|``, ``x.f`` and ``|x + f|``.
    width : int
        Entries under a norm.
    per_sample : bool
        Whether a sample is one evaluation although tokens were asked for.
    """

    values: Any
    width: int
    per_sample: bool


def norms_before(torch: Any, sum_: Sum, per: str) -> Callable[[Any], Norms]:
    """Take the norms of both terms; the function that is returned takes that of the result.

    Sums in place destroy the stream, so its norm is taken before.

    Parameters
    ----------
    torch : module
        PyTorch.
    sum_ : Sum
        The terms.
    per : str
        ``"token"`` or ``"sample"``.
    """
    stream, branch, factor = sum_.stream, sum_.branch, float(sum_.factor)
    channels_first = stream.ndim > 3 or (stream.ndim == 3 and sum_.kind == "convolution")
    per_sample = per == "sample" or channels_first
    axes = tuple(range(1, stream.ndim)) if per_sample else (stream.ndim - 1,)
    single = torch.float64 if stream.dtype == torch.float64 else torch.float32

    def norm(tensor: Any) -> Any:
        return torch.linalg.vector_norm(tensor, dim=axes, dtype=single)

    before = [norm(stream), abs(factor) * norm(branch)]
    before.append(factor * _product(torch, stream, branch, axes, single))
    width = 1
    for axis in axes:
        width *= stream.shape[axis]

    def after(output: Any) -> Norms:
        return Norms(torch.stack([*before, norm(output)]), width, per_sample and per == "token")

    return after


def _product(torch: Any, one: Any, two: Any, axes: tuple[int, ...], single: Any) -> Any:
    """Return the inner product, formed in parts along the first axis to save memory."""
    parts = zip(one.chunk(PARTS), two.chunk(PARTS), strict=True)
    return torch.cat([(a.to(single) * b.to(single)).sum(dim=axes) for a, b in parts])
