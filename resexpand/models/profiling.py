"""`profile`: what each residual block of a PyTorch model contributes, token by token."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.measure.block_profile import BlockCounts, BlockProfile
from resexpand.models.batches import Batch, batches_of
from resexpand.models.blocks import named, none_found, watched
from resexpand.models.library import torch_for
from resexpand.models.norms import Norms, norms_before
from resexpand.models.prediction import predicted_ratios
from resexpand.models.state import looked_at, run, unwrapped
from resexpand.models.watching import Place, Sum
from resexpand.network.numbers import whole_number
from resexpand.network.requirements import require_network
from resexpand.progress import Progress, percent, reporting

PER = ("token", "sample")
PRECISIONS = ("bfloat16", "float16")


def profile(
    model: Any,
    batch: Any,
    *,
    blocks: Any = None,
    per: str = "token",
    net: Any = None,
    autocast: str | None = None,
    seed: int | None = 0,
    progress: Progress = None,
) -> BlockProfile:
    """Profile the residual blocks of a PyTorch model.

    Parameters
    ----------
    model : torch.nn.Module
        The model, in the mode (training or evaluation) in which it is to be profiled. It is left
        as it was: mode, gradients, running statistics, and the state of PyTorch's generator.
    batch : tensor, tuple, dict, or iterable of these
        Arguments of a call: a tensor or array alone, a tuple of arguments, a dict of keywords. An
        iterable, such as a generator, gives many batches, one after the other. An
        ``attention_mask`` among the keywords leaves out padding.
    blocks : sequence of str or torch.nn.Module, optional
        Modules that are taken as blocks. By default every sum of a stream and a function of it
        with weights is a block, attention and perceptron of a layer apart.
    per : {"token", "sample"}
        What one evaluation is. Norms are over the last axis of streams with two or three axes;
        over all axes but the first for ``"sample"``, for streams with more axes (images), and for
        sequences that are convolved.
    net : ResNet or ModelDescription, optional
        What `from_torch` returned, or a description of your own; its ratios at initialisation
        stand beside those measured. The tokens of a description of your own are uncorrelated.
    autocast : {"bfloat16", "float16"}, optional
        Precision of PyTorch's autocast; by default that of the context in which this is called.
    seed : int or None
        Of the model's own noise (dropout in training); None continues PyTorch's generator.
    progress : callable or bool, optional
        As for `sample`, counting batches.

    Returns
    -------
    BlockProfile
        Quantiles and means per block, with ``.plot()``, ``.save()`` and ``.to_dataframe()``.

    Raises
    ------
    UnsupportedError
        If PyTorch is not installed, no residual block is found, a batch of one meets batch
        normalisation in training, or the description has other blocks.
    HyperparameterError
        If a batch or an option is none, or a block returns what is not finite.

    Notes
    -----
    Norms are accumulated in single precision at least. Blocks are seen where their sum is computed,
    so parts of an activation are held one at a time, beside what the model holds itself.

    References
    ----------
    Dotzel et al. (2024), arXiv:2404.04900, for the ratio and for layer sparsity.

    Examples
    --------
    >>> from resexpand import profile
    >>> profile.__module__
    'resexpand.models.profiling'
    """
    torch = torch_for("the profile of a model")
    _check(per, autocast)
    seed = None if seed is None else whole_number(seed, "seed", least=0)
    described = getattr(net, "net", net)
    if described is not None:
        require_network(described, "the prediction of a profile")
    model, taken = unwrapped(torch, model, "the profile")
    gathered = Gathered(torch, per)
    notes = [f"{name} was taken off" for name in taken]
    with (
        looked_at(torch, model, seed),
        _autocast(torch, model, autocast),
        reporting(progress, percent) as report,
        watched(torch, model, gathered.measured, blocks) as counts,
    ):
        total = len(batch) if hasattr(batch, "__len__") and not _single(torch, batch) else 1
        for given in batches_of(torch, batch, model):
            run(torch, model, given)
            if not gathered.pending and not gathered.blocks:
                raise none_found(model, counts)
            gathered.settle(given)
            report(gathered.batches, max(total, gathered.batches))
        settings = _settings(torch, model, per) | {"batches": gathered.batches}
        if counts.scripted:
            notes.append(f"{counts.scripted} TorchScript modules cannot be looked into")
    measured = gathered.profile(settings, notes)
    if net is None:
        return measured
    return predicted_ratios(
        measured, described, getattr(net, "K0", None), getattr(net, "per_sum", ())
    )


def _check(per: str, autocast: str | None) -> None:
    for name, value, known in (("per", per, PER), ("autocast", autocast, (None, *PRECISIONS))):
        if value not in known:
            words = ", ".join(map(repr, filter(None, known)))
            raise HyperparameterError(f"{name}={value!r}", "there is none", f"use {words}")


def _single(torch: Any, batch: Any) -> bool:
    return isinstance(batch, torch.Tensor | np.ndarray | dict | tuple) or hasattr(batch, "keys")


def _autocast(torch: Any, model: Any, precision: str | None) -> Any:
    if precision is None:
        return nullcontext()
    device = next((p.device.type for p in model.parameters()), "cpu")
    return torch.autocast(device, getattr(torch, precision))


def _settings(torch: Any, model: Any, per: str) -> dict[str, Any]:
    """Return what the numbers depend on beside model and batch."""
    modes = {module.training for module in model.modules()}
    mode = "parts in training" if len(modes) > 1 else "training" if modes.pop() else "evaluation"
    kinds = Counter(str(p.dtype).removeprefix("torch.") for p in model.parameters())
    device = next((p.device.type for p in model.parameters()), "cpu")
    cast = ""
    if torch.is_autocast_enabled(device):
        cast = f"autocast {str(torch.get_autocast_dtype(device)).removeprefix('torch.')}"
    precision = " and ".join(kind for kind, _ in kinds.most_common(2))
    return {
        "mode": mode,
        "precision": precision,
        "autocast": cast,
        "device": device,
        "per": per,
    }


@dataclass
class Gathered:
    """Counts of all blocks while batches run.

    Attributes
    ----------
    pending : list
        Norms of the batch that runs, on the device.
    blocks : dict
        Counts of every place, in the order in which they were reached.
    """

    torch: Any
    per: str
    pending: list[tuple[Place, Norms]] = field(default_factory=list)
    blocks: dict[Place, BlockCounts] = field(default_factory=dict)
    kinds: dict[Place, str] = field(default_factory=dict)
    widths: dict[Place, int] = field(default_factory=dict)
    facts: Counter[str] = field(default_factory=Counter)
    batches: int = 0

    def measured(self, place: Place, sum_: Sum) -> Any:
        """Take the norms of a sum, before and after."""
        finish = norms_before(self.torch, sum_, self.per)
        self.kinds[place] = sum_.kind

        def done(output: Any) -> None:
            self.pending.append((place, finish(output)))

        return done

    def settle(self, batch: Batch) -> None:
        """Count what the last batch gave."""
        self.batches += 1
        self.facts["inputs were brought to the precision of the model"] += batch.cast
        for place, norms in self.pending:
            values = norms.values.cpu().double().numpy()
            if batch.mask is not None and tuple(batch.mask.shape) == values.shape[1:]:
                kept = batch.mask.cpu().numpy()
                self.facts["padding is left out"] += not kept.all()
                values = values[:, kept]
            self._require_finite(place, values)
            self.facts["norms are over all axes but the first, per sample"] += norms.per_sample
            counts = self.blocks.setdefault(place, BlockCounts())
            self.widths[place] = norms.width
            counts.add(values.reshape(4, -1), norms.width)
        self.pending.clear()

    def _require_finite(self, place: Place, values: Any) -> None:
        wrong = ~np.isfinite(values)
        if not wrong.any():
            return
        what = "its input" if wrong[0].any() else "its branch" if wrong[1].any() else "its output"
        name = place.child or place.module or "the model"
        count = int(wrong.any(axis=0).sum())
        raise HyperparameterError(
            f"the profile of block {name!r}",
            f"{what} is not finite at {count} of {values[0].size} {self.per}s",
            "look for what overflows, or profile in single precision",
        )

    def profile(self, settings: dict[str, Any], notes: list[str]) -> BlockProfile:
        """Return what was counted."""
        names = named(self.blocks)
        if self.facts["norms are over all axes but the first, per sample"] and self.per == "token":
            settings["per"] = "sample"
        if any(place.turn for place in names):
            notes.append("blocks with a number are called several times per pass")
        empty = sum(int(block.tokens[1]) for block in self.blocks.values())
        if empty:
            notes.append(f"{empty} evaluations with a stream and a branch of zero are left out")
        notes += [fact for fact, times in self.facts.items() if times]
        if not all(block.tokens[0] for block in self.blocks.values()):
            raise UnsupportedError(
                "a profile of padding alone", "the mask leaves no token", "give tokens"
            )
        first = next(iter(self.blocks))
        return BlockProfile(
            tuple(names[place] for place in self.blocks),
            tuple(self.kinds[place] for place in self.blocks),
            tuple(self.blocks.values()),
            self.widths[first],
            settings=settings,
            notes=tuple(notes),
        )
