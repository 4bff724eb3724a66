"""What a look at a model must leave as it was: mode, running statistics, randomness, gradients."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from resexpand.errors import HyperparameterError, UnsupportedError


def unwrapped(torch: Any, model: Any, asked: str) -> tuple[Any, tuple[str, ...]]:
    """Return the model within wrappers for compilation and parallel work, and what was taken off.

    Raises
    ------
    HyperparameterError
        If it is no `torch.nn.Module`.
    UnsupportedError
        If it was scripted or traced.
    """
    taken: list[str] = []
    while isinstance(model, torch.nn.Module):
        inner = getattr(model, "_orig_mod", None)
        parallel = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
        if inner is None and isinstance(model, parallel):
            inner = model.module
        if isinstance(model, torch.jit.ScriptModule):
            raise UnsupportedError(
                f"{asked} of a TorchScript module",
                "its functions cannot be seen",
                "give the model that was scripted or traced",
            )
        if inner is None:
            return model, tuple(taken)
        taken.append(type(model).__name__)
        model = inner
    raise HyperparameterError(
        f"{asked} of {type(model).__name__}", "it is no torch.nn.Module", "give a model"
    )


@contextmanager
def looked_at(torch: Any, model: Any, seed: int | None) -> Iterator[None]:
    """Run a model without gradients, and leave it as it was.

    Parameters
    ----------
    torch : module
        PyTorch.
    model : torch.nn.Module
        The model; its mode (training or evaluation) is not changed.
    seed : int or None
        Seed of its noise within the context; None continues the generator of PyTorch, which is put
        back either way.
    """
    kept = [own for m in model.modules() if m.training for own in _buffers(m)]
    modes = [(m, m.training) for m in model.modules()]
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    try:
        with torch.random.fork_rng(devices), torch.no_grad(), _eager(torch):
            if seed is not None:
                torch.manual_seed(seed)
            yield
    finally:
        with torch.no_grad():
            for module, name, buffer, before in kept:
                module._buffers[name] = buffer.copy_(before)
        for module, mode in modes:
            module.training = mode


def draws_unseen(torch: Any, model: Any, batch: Any) -> bool:
    """Whether a pass in training draws random numbers on the CPU that no dropout module draws.

    Call it within `looked_at`, which puts the modes and PyTorch's generator back.
    """
    if not any(module.training for module in model.modules()):
        return False
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.training = False
    numbers, coins = torch.get_rng_state(), random.getstate()
    try:
        run(torch, model, batch)
        return not torch.equal(numbers, torch.get_rng_state()) or coins != random.getstate()
    finally:
        random.setstate(coins)


def _buffers(module: Any) -> list[tuple[Any, str, Any, Any]]:
    """Return the buffers of a module with copies of them."""
    own = module.named_buffers(recurse=False)
    return [(module, name, buffer, buffer.clone()) for name, buffer in own]


def _eager(torch: Any) -> Any:
    """Return a context in which compiled code runs as it was written: functions can be seen."""
    stance = getattr(torch.compiler, "set_stance", None)
    # Nothing can be compiled before this is loaded, which takes seconds.
    if stance is None or "torch._dynamo" not in sys.modules:
        return nullcontext()
    return stance("force_eager")


def run(torch: Any, model: Any, batch: Any) -> Any:
    """Run a model on a batch; what PyTorch complains about becomes an error that says what to do.

    Raises
    ------
    UnsupportedError
        If batch normalisation is in training and has one value per channel.
    """
    try:
        return batch.run(model)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UnsupportedError(
            "a batch of one input in training",
            "batch normalisation has no variance over one value",
            "give more inputs, or model.eval()",
        ) from error
