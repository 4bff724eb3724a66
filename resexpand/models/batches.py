"""Batches as models take them: a tensor, arguments, or keywords; one or many of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from resexpand.errors import HyperparameterError

MASKS = ("attention_mask", "input_mask")
"""Keywords of a mask of tokens, shape (batch, tokens), zero where a token is padding."""

GIVE = "give a tensor, a tuple of arguments, a dict of keywords, or an iterable of these"


@dataclass(frozen=True)
class Batch:
    """Arguments of one call of a model.

    Attributes
    ----------
    args, kwargs : tuple, dict
        Of the call.
    mask : torch.Tensor, shape (batch, tokens), or None
        True at tokens that are no padding.
    cast : bool
        Whether numbers were brought to the precision of the model.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    mask: Any
    cast: bool

    def run(self, model: Any) -> Any:
        """Call the model."""
        return model(*self.args, **self.kwargs)


def batches_of(torch: Any, given: Any, model: Any) -> Iterator[Batch]:
    """Yield the batches that were given, on the device and in the precision of the model.

    Raises
    ------
    HyperparameterError
        If there is none, or one is of another kind.
    """
    many = isinstance(given, Iterable) and not isinstance(
        given, torch.Tensor | np.ndarray | Mapping | tuple | str | bytes
    )
    count = 0
    for each in given if many else (given,):
        count += 1
        yield _batch(torch, each, model)
    if not count:
        raise HyperparameterError("a profile of no batch", "the iterable is empty", GIVE)


def _batch(torch: Any, given: Any, model: Any) -> Batch:
    place = next((t for t in (*model.parameters(), *model.buffers())), None)
    cast = False

    def moved(value: Any) -> Any:
        nonlocal cast
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(value)
        if isinstance(value, tuple | list):
            return type(value)(moved(item) for item in value)
        if not isinstance(value, torch.Tensor) or place is None:
            return value
        own = value.to(place.device)
        # Under autocast, or in embeddings, precision is what the model makes of it.
        if own.is_floating_point() and place.is_floating_point() and own.dtype != place.dtype:
            cast = True
            own = own.to(place.dtype)
        return own

    if isinstance(given, Mapping):
        args: tuple[Any, ...] = ()
        kwargs = {str(name): moved(value) for name, value in given.items()}
    elif isinstance(given, torch.Tensor | np.ndarray):
        args, kwargs = (moved(given),), {}
    elif isinstance(given, tuple):
        args, kwargs = tuple(map(moved, given)), {}
    elif isinstance(given, list):
        # A loader of (inputs, targets) yields lists; tuples and tensors say what they are.
        raise HyperparameterError("a batch that is a list", "it may be several batches", GIVE)
    else:
        raise HyperparameterError(f"a batch of type {type(given).__name__}", "unknown", GIVE)
    mask = next((kwargs[n].bool() for n in MASKS if _is_mask(torch, kwargs.get(n))), None)
    return Batch(args, kwargs, mask, cast)


def _is_mask(torch: Any, value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim == 2
