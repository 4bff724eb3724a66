"""Residual scales in a PyTorch model: a scalar or a vector behind the branch of every block.

The parameter is called `NAME` and belongs to the module that writes the branch, so that
``state_dict``, ``parameters``, ``to`` and ``deepcopy`` treat it as any other; a forward hook of
that module multiplies its output by it. Without the parameter the hook does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.expressions.shown import Card, Tabled, numbers
from resexpand.models.batches import batches_of
from resexpand.models.blocks import find_blocks
from resexpand.models.library import torch_for
from resexpand.models.state import looked_at, run, unwrapped

NAME = "residual_scale"
"""Name of the parameter."""

Kind = Literal["scalar", "layerscale"]
ASKED = "scales in a model"


@dataclass(frozen=True, repr=False)
class Scales(Tabled):
    """Scales that were written into a model; `remove` takes them out.

    Attributes
    ----------
    model : torch.nn.Module
        The model, within wrappers for compilation and parallel work.
    writers : tuple of str
        Modules whose output is scaled, one per block, in the order of the forward pass.
    values : tuple of float
        First value per block.
    kind : str
        ``"scalar"`` or ``"layerscale"``.
    trainable : bool
        Whether the parameters take gradients.
    """

    model: Any
    writers: tuple[str, ...]
    values: tuple[float, ...]
    kind: Kind
    trainable: bool
    handles: tuple[Any, ...] = field(default=(), compare=False)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """The parameters, one per block; for a group of the optimiser, say."""
        return tuple(getattr(self.model.get_submodule(path), NAME) for path in self.writers)

    def remove(self) -> None:
        """Take parameters and hooks out of the model."""
        for handle in self.handles:
            handle.remove()
        remove_scales(self.model)

    def __enter__(self) -> Scales:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def card(self) -> Card:
        """Return what it says about itself."""
        how = "trained" if self.trainable else "fixed"
        facts = (("blocks", ", ".join(self.writers)), ("first value", numbers(self.values)))
        return Card(f"Scales: {self.kind}, {how}, {len(self.writers)} blocks", facts)


def set_scales(
    model: Any,
    scale: float | Sequence[float],
    batch: Any = None,
    *,
    kind: Kind = "scalar",
    trainable: bool = True,
    writers: Iterable[str] | None = None,
) -> Scales:
    """Write a residual scale behind the branch of every block of a PyTorch model.

    Parameters
    ----------
    model : torch.nn.Module
        The model. Its weights and buffers stay as they are.
    scale : float or sequence of float
        First value of the scale: one for all blocks, or one per block in the order of the forward
        pass, such as ``compare_scales(...).at("inverse_root").scale``.
    batch : tensor, tuple or dict, optional
        Arguments of one call of the model, on which blocks are found; not needed with `writers`.
    kind : {"scalar", "layerscale"}
        One number per block (SkipInit), or a vector with an entry per neuron or channel
        (LayerScale).
    trainable : bool
        Whether the parameters take gradients.
    writers : iterable of str, optional
        Modules whose output is the branch of a block, instead of those that are found.

    Returns
    -------
    Scales
        With ``remove()``; as a context manager it removes them at the end. In a deep copy,
        ``remove_scales`` does.

    Raises
    ------
    UnsupportedError
        If PyTorch is not installed, there is no residual block, or a branch has no module that
        writes it.
    HyperparameterError
        If the numbers do not fit the blocks, or the model has scales already.

    References
    ----------
    De & Smith (2020), for scalars; Touvron et al. (2021), for vectors.

    Examples
    --------
    >>> from resexpand import set_scales
    >>> scales = set_scales(model, 0.1, batch)  # doctest: +SKIP
    >>> scales.writers  # doctest: +SKIP
    ('blocks.0.f.2', 'blocks.1.f.2')
    """
    torch = torch_for(ASKED)
    model, _ = unwrapped(torch, model, ASKED)
    if kind not in get_args(Kind):
        raise HyperparameterError(
            f"scales of the kind {kind!r}", "it is unknown", f"use one of {get_args(Kind)}"
        )
    if any(NAME in module._parameters for module in model.modules()):
        raise HyperparameterError(ASKED, "it has some already", "call remove_scales(model) first")
    paths = _writers(torch, model, batch, writers)
    values = _values(scale, len(paths))
    for path, value in zip(paths, values, strict=True):
        module = model.get_submodule(path)
        weight = next(module.parameters(), next(model.parameters()))
        size = _size(torch, module, path) if kind == "layerscale" else (1,)
        start = torch.full(size, value, dtype=weight.dtype, device=weight.device)
        module.register_parameter(NAME, torch.nn.Parameter(start, requires_grad=trainable))
    handles = [model.get_submodule(path).register_forward_hook(_scaled) for path in paths]
    scales = Scales(model, tuple(paths), values, kind, trainable, tuple(handles))
    if batch is not None:
        _require_calls(torch, scales, batch)
    return scales


def remove_scales(model: Any) -> None:
    """Take scales out of a model, or out of a copy of one.

    Parameters
    ----------
    model : torch.nn.Module
        The model; one without scales stays as it is.

    Raises
    ------
    UnsupportedError
        If PyTorch is not installed.
    HyperparameterError
        If it is no model.
    """
    torch = torch_for(ASKED)
    model, _ = unwrapped(torch, model, ASKED)
    for module in model.modules():
        if NAME in module._parameters:
            delattr(module, NAME)


def _scaled(module: Any, args: Any, output: Any) -> Any:
    """Multiply the output of a module by its scale; of several outputs the first."""
    scale = module._parameters.get(NAME)
    if scale is None:
        return None
    if isinstance(output, tuple):
        return (output[0] * _shaped(scale, output[0], module), *output[1:])
    return output * _shaped(scale, output, module)


def _shaped(scale: Any, output: Any, module: Any) -> Any:
    """Return a scale along the channels: behind a convolution or its norm the second axis."""
    if scale.numel() == 1 or not _has_channels(module):
        return scale
    return scale.reshape(-1, *[1] * (output.ndim - 2))


def _has_channels(module: Any) -> bool:
    return any(hasattr(module, name) for name in ("out_channels", "num_features", "num_channels"))


def _size(torch: Any, module: Any, path: str) -> tuple[int]:
    """Return the number of neurons or channels that a module writes."""
    names = ("out_features", "out_channels", "num_features", "num_channels", "embed_dim", "nf")
    for name in names:
        if isinstance(size := getattr(module, name, None), int):
            return (size,)
    shape = getattr(module, "normalized_shape", None)
    if isinstance(shape, tuple) and len(shape) == 1:
        return (int(shape[0]),)
    raise UnsupportedError(
        f"a vector behind {path!r}",
        f"how many neurons a {type(module).__name__} writes is not known",
        'use kind="scalar", or name other modules with writers=[...]',
    )


def _writers(torch: Any, model: Any, batch: Any, writers: Iterable[str] | None) -> list[str]:
    if writers is not None:
        paths = [writers] if isinstance(writers, str) else list(writers)
        known = dict(model.named_modules())
        for path in paths:
            if not path or path not in known:
                raise HyperparameterError(
                    f"the writer {path!r}",
                    "the model has no such module",
                    "see model.named_modules()",
                )
        _require_apart(paths, paths)
        return paths
    if batch is None:
        raise HyperparameterError(
            ASKED, "its blocks are found on a batch", "give batch=..., or writers=[...]"
        )
    blocks = find_blocks(model, batch)
    for block in blocks:
        if not block.writer:
            raise UnsupportedError(
                f"a scale of the block {block.name!r}",
                "no single module with weights writes its branch",
                "name the modules with writers=[...]",
            )
    _require_apart([b.writer for b in blocks], [b.name for b in blocks])
    return [block.writer for block in blocks]


def _require_apart(paths: Sequence[str], names: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for path, name in zip(paths, names, strict=True):
        if path in first:
            raise HyperparameterError(
                f"scales of {first[path]!r} and {name!r}",
                f"one module, {path!r}, writes both",
                "name other modules with writers=[...]",
            )
        first[path] = name
    if not first:
        raise HyperparameterError(ASKED, "no module is named", "name one, or leave it out")


def _values(scale: Any, blocks: int) -> tuple[float, ...]:
    try:
        array = np.asarray(scale, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.asarray(np.nan)
    if not np.isfinite(array).all() or array.ndim > 1:
        raise HyperparameterError(
            f"a residual scale of {scale!r}", "it is no finite number", "give one, or one per block"
        )
    if array.ndim and len(array) != blocks:
        raise HyperparameterError(
            f"{len(array)} residual scales", f"there are {blocks} blocks", "give one per block"
        )
    return tuple(float(value) for value in np.broadcast_to(array, (blocks,)))


def _require_calls(torch: Any, scales: Scales, batch: Any) -> None:
    """Run the model once; where a module computes without being called, a hook does nothing."""
    called: set[str] = set()
    handles = [
        scales.model.get_submodule(path).register_forward_hook(
            lambda *_, path=path: called.add(path)
        )
        for path in scales.writers
    ]
    try:
        with looked_at(torch, scales.model, 0):
            run(torch, scales.model, next(batches_of(torch, batch, scales.model)))
    except BaseException:
        scales.remove()
        raise
    finally:
        for handle in handles:
            handle.remove()
    silent = [path for path in scales.writers if path not in called]
    if silent:
        scales.remove()
        raise UnsupportedError(
            f"a scale behind {silent[0]!r}",
            "the model uses its weights without calling it",
            "name the module around it with writers=[...]",
        )
