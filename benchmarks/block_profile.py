"""What a profile costs: time and memory of `profile` over a plain forward pass, in PyTorch.

    python benchmarks/block_profile.py [--out FILE] [--rounds R] [--quick]

Two randomly initialised models: of the size of GPT-2 (12 layers, width 768) on 2 x 256 tokens, and
of that of ViT-B/16 (12 layers, width 768) on 2 images of 197 tokens, both of modules of PyTorch.
The model is run with and without the profile, in turn round by round, on one thread; processor
time. Memory is the largest size of tensors that exist at once during a pass, by PyTorch's own
record of allocations; one activation is the stream of the batch.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from timing import interleaved, processed, spread
from torch import nn
from torch.profiler import ProfilerActivity
from torch.profiler import profile as recorded

from resexpand import profile
from resexpand.export.record import write_record

RESULTS = Path(__file__).with_name("results")


class Layer(nn.Module):
    """A pre-norm layer of a transformer."""

    def __init__(self, width: int, causal: bool) -> None:
        super().__init__()
        self.causal, self.heads = causal, max(width // 64, 1)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Any) -> Any:
        """Return the stream behind the layer."""
        parts = self.qkv(self.ln_1(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.proj(y.transpose(1, 2).flatten(2))
        return x + self.mlp(self.ln_2(x))


class Language(nn.Module):
    """Tokens in, logits of the next one out."""

    def __init__(self, width: int, depth: int, words: int, length: int) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(words, width), nn.Embedding(length, width)
        self.layers = nn.Sequential(
            *(Layer(width, True) for _ in range(depth)), nn.LayerNorm(width)
        )

    def forward(self, ids: Any) -> Any:
        """Return the logits of the last token."""
        x = self.layers(self.wte(ids) + self.wpe.weight[: ids.shape[1]])
        return x[:, -1] @ self.wte.weight.T


class Vision(nn.Module):
    """Images in, features of the class token out."""

    def __init__(self, width: int, depth: int, size: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(0.02 * torch.randn(1, (size // 16) ** 2 + 1, width))
        self.layers = nn.Sequential(
            *(Layer(width, False) for _ in range(depth)), nn.LayerNorm(width)
        )

    def forward(self, images: Any) -> Any:
        """Return the features."""
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.places
        return self.layers(x)[:, 0]


def models(quick: bool) -> dict[str, tuple[Any, Any, int]]:
    """Return models with their batch and the bytes of one activation."""
    width, depth, size = (64, 2, 64) if quick else (768, 12, 224)
    words, length = (100, 32) if quick else (50257, 256)
    torch.manual_seed(0)
    tokens = (size // 16) ** 2 + 1
    return {
        "GPT-2": (
            Language(width, depth, words, length).eval(),
            torch.randint(0, words, (2, length)),
            2 * length * width * 4,
        ),
        "ViT-B/16": (
            Vision(width, depth, size).eval(),
            torch.randn(2, 3, size, size),
            2 * tokens * width * 4,
        ),
    }


def peak(work: Any) -> int:
    """Return the largest number of bytes that tensors made in a piece of work take at once."""
    with recorded(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    level = highest = 0
    for event in found.profiler.kineto_results.events():
        if event.name() == "[memory]":
            level += event.nbytes()
            highest = max(highest, level)
    return highest


def compared(model: Any, batch: Any, activation: int, rounds: int) -> dict[str, Any]:
    """Return the ratios of time, round by round, and the additional memory in activations."""

    def plain() -> None:
        with torch.no_grad():
            model(batch)

    def profiled() -> None:
        profile(model, batch)

    times = interleaved(
        {"plain": processed(plain), "profiled": processed(profiled)}, rounds, uncounted=1
    )
    memory = peak(profiled) - peak(plain)
    return {
        "time_ratio": spread(times["profiled"] / times["plain"]),
        "plain_seconds": spread(times["plain"]),
        "additional_memory_in_activations": memory / activation,
        "blocks": len(profile(model, batch)),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "block_profile.json")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="small models, few rounds")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rounds = 2 if options.quick else options.rounds
    found = {}
    for name, (model, batch, activation) in models(options.quick).items():
        found[name] = compared(model, batch, activation, rounds)
        ratio = found[name]["time_ratio"]["median"]
        memory = found[name]["additional_memory_in_activations"]
        print(f"{name}: {ratio:.3f} of the time, {memory:+.2f} activations", flush=True)
    write_record(
        options.out,
        command="benchmarks/block_profile.py",
        settings={"rounds": rounds, "torch": torch.__version__, "threads": 1},
        results=found,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
