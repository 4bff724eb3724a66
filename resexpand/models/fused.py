"""Functions of PyTorch that add and do something else: as a branch and a sum of two tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resexpand.models.functions import is_number

PRODUCTS = {
    "addcmul": "mul",
    "addcdiv": "div",
    "addmm": "mm",
    "addbmm": "bmm",
    "baddbmm": "bmm",
    "addmv": "mv",
}
"""Functions ``beta input + alpha (one ? other)``, and what stands for the question mark."""

FUSED = frozenset({*PRODUCTS, "lerp"})


@dataclass(frozen=True)
class Fused:
    """A sum ``a first + b second`` where one function does all of it.

    Attributes
    ----------
    first : torch.Tensor
        A term that is given.
    second : tuple
        Name and arguments of the function that makes the other term, or that term alone.
    weights : tuple
        Factors of both, numbers or tensors.
    """

    first: Any
    second: tuple[Any, ...]
    weights: tuple[Any, Any]

    @property
    def sources(self) -> tuple[Any, ...]:
        """Tensors that the other term is made of."""
        return self.second if len(self.second) == 1 else self.second[1:]


def fused(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], kind: Any) -> Fused | None:
    """Return the parts of a function that adds; None if it adds no two tensors.

    Parameters
    ----------
    name : str
        Of the function, with an underscore behind it if it works in place.
    args, kwargs : tuple, mapping
        Its arguments.
    kind : type
        Of tensors.
    """
    plain = name.removesuffix("_")
    if plain == "lerp":
        given = [*args, *(kwargs[k] for k in ("end", "weight")[max(len(args) - 1, 0) :])]
        start, end, weight = given[:3]
        if not isinstance(end, kind) or start.shape != end.shape:
            return None
        return Fused(start, (end,), (1 - weight, weight))
    if plain not in PRODUCTS or len(args) < 3:
        return None
    beta = kwargs.get("beta", 1)
    alpha = kwargs.get("value" if plain.startswith("addc") else "alpha", 1)
    if not all(isinstance(each, kind) for each in args[:3]) or not is_number(beta):
        return None
    return Fused(args[0], (PRODUCTS[plain], *args[1:3]), (beta, alpha))
