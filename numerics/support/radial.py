"""Routing tokens between layers at small scale, against other ways to spend less.

A radial network has M layers and a router. At each step the router looks at a token's stream and at
the layer it comes from, and sends it to one of the layers, which may be the same again, or halts
it. The paper leaves open, and here is chosen:

- the branch of the chosen layer is added as it is; the router learns by a straight-through
  gradient of the chosen probability, with Gumbel noise in training;
- keys and values of a layer are computed from the streams of all tokens at that step, halted ones
  included;
- a penalty on the expected number of evaluations beyond a target (a penalty on all of them lets
  the router halt everything before the layers have learned), no halting in the first third of the
  training, and from scratch a penalty on uneven use of the layers; the curve comes from a shift of
  the logit of halting after training;
- distillation begins with the layers of the sequential network in their order as the preference of
  the router, and minimises the Kullback-Leibler divergence to its predictions.

An evaluation is one layer (attention and perceptron) at one token; compute is their number over
that of the sequential network. The data are bytes of Python source.
"""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from resexpand import profile
from support.text import source

BYTES = 256
AGAIN = 1000
"""Added to the seed of the batches of a second training."""

NEVER = -20.0
"""Shift of the logit of halting with which no token halts."""


@dataclass(frozen=True)
class Sizes:
    """Of networks and of training."""

    width: int = 64
    heads: int = 4
    depth: int = 4
    context: int = 64
    batch: int = 16
    steps: int = 400
    text: int = 2_000_000
    held_out: int = 40
    seeds: int = 3
    rate: float = 2e-3
    penalty: float = 0.1
    target: float = 0.6
    balance: float = 0.02


class Layer(nn.Module):
    """A pre-norm layer of a transformer; attention and perceptron can be asked for apart."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.width
        self.heads = sizes.heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def attend(self, h: Any) -> Any:
        """Return the average of values, in front of the projection."""
        batch, length, width = h.shape
        parts = self.qkv(self.ln_1(h)).view(batch, length, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return y.transpose(1, 2).reshape(batch, length, width)

    def forward(self, h: Any) -> Any:
        """Return the stream behind the layer."""
        h = h + self.proj(self.attend(h))
        return h + self.mlp(self.ln_2(h))

    def on(self, h: Any, chosen: Any) -> Any:
        """Return the whole branch at the chosen tokens, shape (chosen, width)."""
        middle = h[chosen] + self.proj(self.attend(h)[chosen])
        return middle + self.mlp(self.ln_2(middle)) - h[chosen]


class Ends(nn.Module):
    """Embedding and read-out."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.wte, self.wpe = (nn.Embedding(n, sizes.width) for n in (BYTES, sizes.context))
        for table in (self.wte, self.wpe):
            nn.init.normal_(table.weight, std=0.5)
        self.norm = nn.LayerNorm(sizes.width)
        self.head = nn.Linear(sizes.width, BYTES)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.depth))

    def embed(self, ids: Any) -> Any:
        """Return the stream at layer 0."""
        return self.wte(ids) + self.wpe.weight[: ids.shape[1]]

    def read(self, h: Any) -> Any:
        """Return the logits."""
        return self.head(self.norm(h))


class Sequential(Ends):
    """All layers in their order."""

    def forward(self, ids: Any) -> Any:
        """Return the logits."""
        h = self.embed(ids)
        for layer in self.layers:
            h = layer(h)
        return self.read(h)

    def exits(self, ids: Any) -> list[Any]:
        """Return the logits behind every layer."""
        h, found = self.embed(ids), []
        for layer in self.layers:
            h = layer(h)
            found.append(self.read(h))
        return found

    def skipping(self, ids: Any, leaves: Callable[[int, Any, Any], Any]) -> tuple[Any, float]:
        """Return logits and the share of evaluations that were not skipped.

        `leaves` takes the number of a layer, and the streams before and behind it, and returns
        which tokens keep the first.
        """
        h, kept = self.embed(ids), []
        for number, layer in enumerate(self.layers):
            after = layer(h)
            out = leaves(number, h, after)
            kept.append(1 - float(out.float().mean()))
            h = torch.where(out[..., None], h, after)
        return self.read(h), float(np.mean(kept))


class Radial(Ends):
    """Layers and a router."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.steps, count = sizes.depth, sizes.depth
        self.look = nn.LayerNorm(sizes.width)
        self.router = nn.Linear(sizes.width, count + 1)
        self.after = nn.Embedding(count + 1, count + 1)
        nn.init.zeros_(self.after.weight)
        nn.init.normal_(self.router.weight, std=0.02)

    def follow(self, sequential: Sequential, preference: float = 4.0) -> None:
        """Take over the layers of a sequential network, and prefer their order."""
        own = {k: v for k, v in sequential.state_dict().items()}  # noqa: C416
        self.load_state_dict(own, strict=False)
        count = len(self.layers)
        with torch.no_grad():
            self.router.weight.mul_(0)
            self.after.weight[count, 0] = preference
            for number in range(count):
                self.after.weight[number, number + 1] = preference

    def forward(self, ids: Any, halting: float = 0.0) -> tuple[Any, Any, Any, Any]:
        """Return logits, expected and actual evaluations per token, and unevenness of use."""
        h, count = self.embed(ids), len(self.layers)
        alive = torch.ones(ids.shape, dtype=torch.bool)
        before = torch.full(ids.shape, count)
        expected, actual, uses, chances = 0.0, 0.0, [], []
        for _ in range(self.steps):
            scores = self.router(self.look(h)) + self.after(before)
            shift = torch.zeros(count + 1)
            shift[count] = halting
            chance = (scores + shift).softmax(-1)
            noise = -torch.empty_like(scores).exponential_().log() if self.training else 0
            choice = (scores + shift + noise).argmax(-1)
            choice = choice.where(alive, torch.full_like(choice, count))
            own = chance.gather(-1, choice[..., None])
            straight = 1 + own - own.detach()
            expected = expected + (alive * (1 - chance[..., count])).mean()
            alive = alive & (choice != count)
            actual += float(alive.float().mean())
            moved = h
            for number, layer in enumerate(self.layers):
                chosen = choice == number
                if chosen.any():
                    branch = torch.zeros_like(h)
                    branch[chosen] = layer.on(h, chosen)
                    moved = moved + straight * branch
            uses.append(F.one_hot(choice, count + 1)[..., :count].float().mean((0, 1)))
            chances.append(chance[..., :count].mean((0, 1)))
            h, before = moved, choice
        use, likely = torch.stack(uses).mean(0), torch.stack(chances).mean(0)
        uneven = count * (use / use.sum().clamp_min(1e-6) * likely).sum()
        return self.read(h), expected, actual / self.steps, uneven


@dataclass
class Text:
    """Windows of bytes: for training, and some that are held out."""

    train: Any
    held: Any
    sizes: Sizes

    @classmethod
    def of(cls, sizes: Sizes) -> Text:
        """Take source text; the last tenth is held out."""
        data = torch.frombuffer(bytearray(source(sizes.text)), dtype=torch.uint8).long()
        cut = len(data) * 9 // 10
        step = sizes.context + 1
        rows = data[cut:][: (len(data) - cut) // step * step].reshape(-1, step)
        held = rows[torch.linspace(0, len(rows) - 1, sizes.held_out).long()]
        return cls(data[:cut], held, sizes)

    def batches(self, seed: int) -> Iterator[Any]:
        """Yield batches for training."""
        generator, sizes = torch.Generator().manual_seed(seed), self.sizes
        for _ in range(sizes.steps):
            starts = torch.randint(
                0, len(self.train) - sizes.context - 1, (sizes.batch, 1), generator=generator
            )
            yield self.train[starts + torch.arange(sizes.context + 1)]


def surprise(logits: Any, rows: Any) -> Any:
    """Return the loss in nats per byte."""
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())


def train(model: nn.Module, text: Text, seed: int, loss: Callable[[Any], Any]) -> None:
    """Train with Adam, a short warm-up, and a rate that falls to a tenth."""
    sizes = text.sizes
    optimiser = torch.optim.AdamW(model.parameters(), lr=sizes.rate, weight_decay=0.01)
    warm = max(sizes.steps // 20, 1)

    def rate(step: int) -> float:
        return min((step + 1) / warm, 0.1 + 0.9 * (1 - step / sizes.steps))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    model.train()
    for rows in text.batches(seed):
        optimiser.zero_grad(set_to_none=True)
        loss(rows).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    model.eval()


Curve = list[tuple[float, float]]
"""Compute, as a share of that of the sequential network, and loss."""


@dataclass(frozen=True)
class Training:
    """Trains the networks of one seed; those that are done are kept in the store, if there is one.

    Every network draws its weights and its noise from the seed alone, so that a run that goes on
    from the store makes the same networks as one that was never interrupted.
    """

    sizes: Sizes
    text: Text
    seed: int
    store: Path | None = None

    def __call__(
        self, name: str, model: Any, loss: Callable[[Any, int], Any], batches: int = 0
    ) -> None:
        """Train a model by the loss of a batch and the number of its step."""
        settings = json.dumps(asdict(self.sizes), sort_keys=True).encode()
        key = f"routing_{self.seed}_{name}_{zlib.crc32(settings):08x}.npz"
        path = None if self.store is None else self.store / key.replace(" ", "_")
        if path is not None and path.is_file():
            with np.load(path) as arrays:
                model.load_state_dict({n: torch.from_numpy(arrays[n]) for n in arrays.files})
            model.eval()
            return
        torch.manual_seed(self.seed)
        steps = itertools.count()
        train(model, self.text, self.seed + batches, lambda rows: loss(rows, next(steps)))
        if path is not None:
            np.savez(path, **{n: value.numpy() for n, value in model.state_dict().items()})
        print(f"routing, seed {self.seed}: {name} is trained", flush=True)


def one_seed(sizes: Sizes, text: Text, seed: int, store: Path | None = None) -> dict[str, Curve]:
    """Train the networks of one seed and return the curve of every method."""
    torch.manual_seed(seed)
    plain, exits, scratch, student = (
        Sequential(sizes), Sequential(sizes), Radial(sizes), Radial(sizes)
    )  # fmt: skip
    trained = Training(sizes, text, seed, store)

    def sequential(rows: Any, step: int) -> Any:
        return surprise(plain(rows[:, :-1]), rows)

    def at_all_exits(rows: Any, step: int) -> Any:
        return sum(surprise(x, rows) for x in exits.exits(rows[:, :-1])) / sizes.depth

    def spent(expected: Any) -> Any:
        return sizes.penalty * F.relu(expected - sizes.target * sizes.depth)

    def halting(step: int) -> float:
        return NEVER if 3 * step < sizes.steps else 0.0

    def from_scratch(rows: Any, step: int) -> Any:
        logits, expected, _, uneven = scratch(rows[:, :-1], halting(step))
        return surprise(logits, rows) + spent(expected) + sizes.balance * uneven

    def distilled(rows: Any, step: int) -> Any:
        with torch.no_grad():
            target = plain(rows[:, :-1]).log_softmax(-1)
        logits, expected, _, _ = student(rows[:, :-1], halting(step))
        found = F.kl_div(logits.log_softmax(-1), target, log_target=True, reduction="none")
        return found.sum(-1).mean() + spent(expected)

    trained("sequential", plain, sequential)
    student.follow(plain)
    trained("distilled", student, distilled)
    trained("from scratch", scratch, from_scratch)
    trained("early exit", exits, at_all_exits)
    with torch.no_grad():
        found = {
            "ratio of tokens": by_ratio(plain, text.held),
            "static layers": by_layers(plain, text.held),
            "early exit": by_exit(exits, text.held),
            "radial, from scratch": by_router(scratch, text.held),
            "radial, distilled": by_router(student, text.held),
        }
    # As long as a student is trained behind its teacher.
    trained("sequential twice", plain, sequential, batches=AGAIN)
    with torch.no_grad():
        return found | {"ratio of tokens, trained twice": by_ratio(plain, text.held)}


def by_ratio(model: Sequential, rows: Any) -> Curve:
    """Skip a layer where a token's ratio is small."""
    found = profile(model, rows[:, :-1], blocks=list(model.layers))
    shares = np.linspace(0, 0.9, 10)
    every = np.sort(np.concatenate([found.quantile(q) for q in np.linspace(0.005, 0.995, 100)]))
    curve = []
    for threshold in (0.0, *np.quantile(every, shares[1:])):

        def leaves(number: int, before: Any, after: Any, t: float = float(threshold)) -> Any:
            return (after - before).norm(dim=-1) < t * after.norm(dim=-1)

        logits, kept = model.skipping(rows[:, :-1], leaves)
        curve.append((kept, float(surprise(logits, rows))))
    return curve


def by_layers(model: Sequential, rows: Any) -> Curve:
    """Leave out whole layers, those of the least median ratio first."""
    order = np.argsort(profile(model, rows[:, :-1], blocks=list(model.layers)).median())
    curve = []
    for count in range(len(order)):
        gone = set(map(int, order[:count]))

        def leaves(number: int, before: Any, after: Any, gone: set[int] = gone) -> Any:
            return torch.full(before.shape[:-1], number in gone)

        logits, kept = model.skipping(rows[:, :-1], leaves)
        curve.append((kept, float(surprise(logits, rows))))
    return curve


def by_exit(model: Sequential, rows: Any) -> Curve:
    """Stop at the first layer whose prediction is certain enough."""
    curve = []
    for level in (2.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.0):
        h, done = model.embed(rows[:, :-1]), None
        kept = []
        for layer in model.layers:
            done = torch.zeros(h.shape[:-1], dtype=torch.bool) if done is None else done
            kept.append(1 - float(done.float().mean()))
            h = torch.where(done[..., None], h, layer(h))
            done = done | (model.read(h).softmax(-1).amax(-1) >= level)
        curve.append((float(np.mean(kept)), float(surprise(model.read(h), rows))))
    return curve


def by_router(model: Radial, rows: Any) -> Curve:
    """Shift the logit of halting."""
    curve = []
    for shift in (NEVER, *np.linspace(-4, 4, 17), 8.0):
        logits, _, actual, _ = model(rows[:, :-1], float(shift))
        curve.append((actual, float(surprise(logits, rows))))
    return curve


def at_compute(curve: Curve, share: float) -> float:
    """Return the loss at a share of compute: the least that is reached without spending more.

    Linear between neighbouring points of the lower envelope; NaN below the cheapest one.
    """
    points = sorted(curve)
    best = np.minimum.accumulate([loss for _, loss in points])
    cost = [c for c, _ in points]
    if share < cost[0]:
        return float("nan")
    return float(np.interp(share, cost, best))
