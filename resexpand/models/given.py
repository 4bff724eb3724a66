"""Blocks that are named: modules whose output is their input plus something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.models.functions import tensors_in
from resexpand.models.watching import Counts, Measured, Place, Sum


def chosen_modules(model: Any, blocks: Any) -> dict[str, Any]:
    """Return the modules of a model that are named, or given themselves, by path.

    Raises
    ------
    HyperparameterError
        If one is not in the model, is named twice, or none is named.
    """
    known = dict(model.named_modules())
    paths = {id(module): path for path, module in known.items()}
    given = [blocks] if isinstance(blocks, str) or not isinstance(blocks, Iterable) else [*blocks]
    chosen: dict[str, Any] = {}
    for block in given:
        path = block if isinstance(block, str) else paths.get(id(block), "")
        if path not in known or (known[path] is model and block is not model):
            said = block if isinstance(block, str) else type(block).__name__
            raise HyperparameterError(
                f"the block {said!r}", "the model has no such module", "see model.named_modules()"
            )
        if path in chosen:
            raise HyperparameterError(f"the block {path!r}", "it is given twice", "give it once")
        chosen[path] = known[path]
    if not chosen:
        raise HyperparameterError("blocks=[]", "no block is named", "name one, or leave it out")
    return chosen


@contextmanager
def following(
    torch: Any, model: Any, modules: dict[str, Any], measured: Measured
) -> Iterator[Counts]:
    """Measure ``output - input`` of modules within the context.

    The input is copied when a module begins, since it may be changed in place.

    Parameters
    ----------
    torch : module
        PyTorch.
    model : torch.nn.Module
        The model, whose passes are counted.
    modules : mapping of str to torch.nn.Module
        The blocks, by path.
    measured : callable
        As for `watching`; the branch is the difference, in the precision of the model.
    """
    inputs: dict[str, list[Any]] = {path: [] for path in modules}
    turns: Counter[str] = Counter()
    counts = Counts()

    def entered(path: str) -> Any:
        def hook(module: Any, args: Any, kwargs: Any) -> None:
            first = next(tensors_in((args, kwargs), torch.Tensor), None)
            if first is None:
                raise UnsupportedError(
                    f"the block {path!r}", "its input holds no tensor", "name another module"
                )
            inputs[path].append(first.clone())

        return hook

    def left(path: str) -> Any:
        def hook(module: Any, args: Any, output: Any) -> None:
            before = inputs[path].pop()
            after = next(tensors_in(output, torch.Tensor), None)
            if after is None or after.shape != before.shape:
                shape = "no tensor" if after is None else f"of shape {tuple(after.shape)}"
                raise UnsupportedError(
                    f"the block {path!r} as residual",
                    f"its input is of shape {tuple(before.shape)}, its output {shape}",
                    "name a module that adds to its input",
                )
            turn = turns[path]
            turns[path] += 1
            sum_ = Sum(before, after - before, 1, "given", path)
            finish = measured(Place(path, "", turn), sum_)
            if finish is not None:
                finish(after)

        return hook

    def begun(module: Any, args: Any) -> None:
        turns.clear()

    with ExitStack() as stack:
        stack.callback(model.register_forward_pre_hook(begun, prepend=True).remove)
        for path, module in modules.items():
            handle = module.register_forward_pre_hook(entered(path), with_kwargs=True)
            stack.callback(handle.remove)
            stack.callback(module.register_forward_hook(left(path)).remove)
        yield counts
