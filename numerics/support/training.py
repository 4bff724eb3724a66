"""Residual networks trained on scikit-learn's digits: mini-batches, seeds, resumable runs.

    h^0 = V x,    h^l = h^{l-1} + lambda g_l f_l(h^{l-1}),    logits = U h^L,

where f_l is a chain of ``norm``, ``relu``, ``linear`` and ``dropout``, and g_l is 1, a scalar or a
vector, trained or not. Networks of one shape but different seeds and learning rates are trained
side by side, as one more axis of all arrays; they share nothing but the calls. A seed alone says
what the weights, mini-batches and masks are, so that a run that was interrupted goes on to the
same numbers.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

torch.set_num_threads(1)

CLASSES = 10
MOMENTUM = 0.9
EVERY = 20
"""Steps between checkpoints."""

LATER = ("factor", "faster")
"""Fields of a setup that enter the names of its files by themselves."""

FORGET = 0.1
"""Weight of a new batch in running averages of a norm."""


@dataclass(frozen=True)
class Digits:
    """Images of unit second moment, and classes: training, choice of settings, test."""

    train: torch.Tensor
    train_labels: torch.Tensor
    held: torch.Tensor
    held_labels: torch.Tensor
    test: torch.Tensor
    test_labels: torch.Tensor


@cache
def digits(train: int = 1000, held: int = 297) -> Digits:
    """Return 1,797 digits in an order of their own: to train, to choose by, and 500 to test."""
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]
    except ImportError:
        sys.exit("the digits are those of scikit-learn: pip install 'resexpand[data]'")
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    inputs = (data.data[order] - data.data.mean()) / data.data.std()
    parts = []
    for part in (slice(train), slice(train, train + held), slice(train + held, None)):
        parts += [
            torch.tensor(inputs[part], dtype=torch.float32),
            torch.tensor(data.target[order][part]),
        ]
    return Digits(*parts)


@dataclass(frozen=True)
class Setup:
    """One way to build and train a network.

    Attributes
    ----------
    depth, width : int
    block : tuple of str
        Chain of a branch, of ``norm``, ``relu``, ``linear``, ``dropout``.
    scale : float
        ``lambda``.
    gain : float or None
        First value of ``g_l``; None is 1 and never trained.
    vector : bool
        Whether ``g_l`` has an entry per neuron.
    trained_gain : bool
        Whether ``g_l`` is trained.
    keep : float
        Of dropout.
    faster : float
        Factor of the learning rate of the weights of branches.
    factor : tuple of tuple of float, or None
        Matrix E that correlates weights between blocks, ``W^l = sum_k E_lk M_k``.
    """

    depth: int
    width: int
    block: tuple[str, ...] = ("relu", "linear")
    scale: float = 1.0
    gain: float | None = None
    vector: bool = False
    trained_gain: bool = True
    keep: float = 1.0
    faster: float = 1.0
    factor: Any = field(default=None, hash=False, compare=False)

    @property
    def linears(self) -> int:
        """Weight matrices of a branch."""
        return self.block.count("linear")


@dataclass(frozen=True)
class Plan:
    """How long, and with which seeds and learning rates, networks are trained."""

    steps: int
    seeds: int = 3
    rates: tuple[float, ...] = (0.01, 0.03, 0.1)
    batch: int = 100

    @property
    def runs(self) -> list[tuple[float, int]]:
        """Learning rate and seed of every network."""
        return [(rate, seed) for rate in self.rates for seed in range(self.seeds)]


Weights = dict[str, torch.Tensor]


def drawn(setup: Setup, seed: int) -> dict[str, np.ndarray]:
    """Return the weights of one seed: He's variance, that of the read-out ``1/N``."""
    rng = np.random.default_rng([7, seed])
    n, depth = setup.width, setup.depth
    weights = rng.normal(size=(depth, setup.linears, n, n)) * np.sqrt(2 / n)
    if setup.factor is not None:
        factor = np.asarray(setup.factor)
        fresh = rng.normal(size=(factor.shape[1], weights[0].size)) * np.sqrt(2 / n)
        weights = (factor @ fresh).reshape(weights.shape)
    found = {
        "read_in": rng.normal(size=(64, n)) / 8,
        "weights": weights,
        "read_out": rng.normal(size=(n, CLASSES)) / np.sqrt(n),
    }
    if setup.gain is not None:
        found["gain"] = np.full((depth, n if setup.vector else 1), setup.gain)
    return found


class Networks:
    """Networks of one setup, side by side.

    Parameters
    ----------
    setup : Setup
    weights : dict of tensors
        With the axis of networks first.
    """

    def __init__(self, setup: Setup, weights: Weights) -> None:
        self.setup, self.weights = setup, weights
        self.averages: Weights = {}
        if "norm" in setup.block:
            runs = len(weights["read_in"])
            shape = (setup.depth, setup.block.count("norm"), runs, 1, setup.width)
            self.averages = {"mean": torch.zeros(shape), "variance": torch.ones(shape)}

    @classmethod
    def fresh(cls, setup: Setup, seeds: list[int]) -> Networks:
        """Return untrained networks."""
        each = [drawn(setup, seed) for seed in seeds]
        stacked = {k: np.stack([one[k] for one in each]) for k in each[0]}
        return cls(setup, {k: torch.tensor(v, dtype=torch.float32) for k, v in stacked.items()})

    def states(
        self,
        x: torch.Tensor,
        *,
        training: bool = False,
        masks: torch.Generator | None = None,
        seen: Callable[[int, int, torch.Tensor], None] | None = None,
    ) -> torch.Tensor:
        """Return ``h^L``, shape (networks, inputs, N); `seen` is shown what norms meet."""
        setup, own = self.setup, self.weights
        h = x @ own["read_in"]
        matrices = own["weights"].unbind(1)
        gains = own["gain"].unbind(1) if "gain" in own else None
        for block in range(setup.depth):
            z, linear, norm = h, iter(matrices[block].unbind(1)), 0
            for op in setup.block:
                if op == "relu":
                    z = torch.relu(z)
                elif op == "linear":
                    z = torch.bmm(z, next(linear))
                elif op == "dropout":
                    z = self._masked(z, masks) if training else z
                else:
                    if seen is not None:
                        seen(block, norm, z)
                    z = self._normalised(z, block, norm, training)
                    norm += 1
            factor = setup.scale if gains is None else setup.scale * gains[block][:, None]
            h = h + factor * z
        return h

    def logits(self, x: torch.Tensor, **options: Any) -> torch.Tensor:
        """Return the outputs, shape (networks, inputs, classes)."""
        return torch.bmm(self.states(x, **options), self.weights["read_out"])

    def _masked(self, z: torch.Tensor, masks: torch.Generator | None) -> torch.Tensor:
        # The same masks for all networks: those of one seed are then those of any other call.
        draw = torch.rand(z.shape[1:], generator=masks) < self.setup.keep
        return z * draw / self.setup.keep

    def _normalised(self, z: torch.Tensor, block: int, norm: int, training: bool) -> torch.Tensor:
        if training:
            mean, variance = z.mean(1, keepdim=True), z.var(1, keepdim=True, unbiased=False)
            for name, value in (("mean", mean), ("variance", variance)):
                self.averages[name][block, norm].lerp_(value.detach(), FORGET)
        else:
            mean, variance = (self.averages[k][block, norm] for k in ("mean", "variance"))
        return (z - mean) * torch.rsqrt(variance + 1e-5)

    def accuracy(self, x: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
        """Return the accuracy of every network; outputs that are not finite guess class 0."""
        with torch.no_grad():
            found = torch.nan_to_num(self.logits(x), nan=0.0, posinf=0.0, neginf=0.0)
        return np.asarray((found.argmax(-1) == labels).double().mean(-1))

    def complexity(self, x: torch.Tensor) -> np.ndarray:
        """Return the geometric complexity, the mean over inputs of ``|d logits / d x|^2``."""
        inputs = x.expand(len(self.weights["read_in"]), *x.shape).clone().requires_grad_(True)
        found = self.logits(inputs)
        total = 0.0
        for k in range(CLASSES):
            (slope,) = torch.autograd.grad(found[..., k].sum(), inputs, retain_graph=True)
            total = total + (slope.double() ** 2).sum(-1).mean(-1)
        return np.asarray(total)

    def chosen(self, which: list[int]) -> Networks:
        """Return some of the networks."""
        other = Networks(self.setup, {k: v[which] for k, v in self.weights.items()})
        other.averages = {k: v[:, :, which] for k, v in self.averages.items()}
        return other

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything as arrays."""
        both = {**self.weights, **{f"average_{k}": v for k, v in self.averages.items()}}
        return {k: v.detach().numpy() for k, v in both.items()}

    @classmethod
    def of_arrays(cls, setup: Setup, arrays: Mapping[str, np.ndarray]) -> Networks:
        """Return the networks that `arrays` described."""
        tensors = {k: torch.tensor(v) for k, v in arrays.items()}
        kept = {
            k.removeprefix("average_"): v for k, v in tensors.items() if k.startswith("average_")
        }
        nets = cls(setup, {k: v for k, v in tensors.items() if not k.startswith("average_")})
        nets.averages = kept
        return nets


def trained(setup: Setup, plan: Plan, *, part: Path | None = None) -> Networks:
    """Train the networks of a plan by gradient descent with momentum, all in the order of its runs.

    Parameters
    ----------
    setup : Setup
    plan : Plan
    part : Path, optional
        Checkpoint, from which training goes on if it is there.
    """
    data = digits()
    rates = torch.tensor([rate for rate, _ in plan.runs])
    nets = Networks.fresh(setup, [seed for _, seed in plan.runs])
    frozen = set() if setup.trained_gain else {"gain"}
    speed = {k: torch.zeros_like(v) for k, v in nets.weights.items() if k not in frozen}
    first = 0
    if part is not None and part.exists():
        saved = _read(part)
        first = int(saved.pop("step"))
        speed = {k: torch.tensor(saved.pop(f"speed_{k}")) for k in speed}
        nets = Networks.of_arrays(setup, saved)
    for step in range(first, plan.steps):
        picked = _batches(plan, len(data.train), step)
        x, labels = data.train[picked], data.train_labels[picked]
        if not _step(nets, speed, x, labels, rates, step):
            break  # all have diverged, and nothing will change that
        if part is not None and step % EVERY == EVERY - 1:
            kept = {f"speed_{k}": v.numpy() for k, v in speed.items()}
            _write(part, {**nets.arrays(), **kept, "step": np.array(step + 1)})
    return nets


def _batches(plan: Plan, count: int, step: int) -> torch.Tensor:
    """Return the inputs of a step for every network, shape (networks, batch)."""
    each = count // plan.batch
    epoch, place = divmod(step, each)
    rows = {}
    for _, seed in plan.runs:
        if seed not in rows:
            order = np.random.default_rng([11, seed, epoch]).permutation(count)
            rows[seed] = order[place * plan.batch : (place + 1) * plan.batch]
    return torch.tensor(np.stack([rows[seed] for _, seed in plan.runs]))


def _step(
    nets: Networks,
    speed: Weights,
    x: torch.Tensor,
    labels: torch.Tensor,
    rates: torch.Tensor,
    step: int,
) -> bool:
    """Move all networks by one step; return whether the loss of any of them is finite."""
    moved = {k: nets.weights[k].requires_grad_(True) for k in speed}
    masks = torch.Generator().manual_seed(step)
    found = nets.logits(x, training=True, masks=masks)
    losses = torch.nn.functional.cross_entropy(
        found.reshape(-1, CLASSES), labels.reshape(-1), reduction="none"
    )
    losses = losses.reshape(labels.shape).mean(1)
    slopes = torch.autograd.grad(losses.sum(), list(moved.values()))
    with torch.no_grad():
        for (name, weight), slope in zip(moved.items(), slopes, strict=True):
            speed[name].mul_(MOMENTUM).add_(slope)
            shape = (-1,) + (1,) * (weight.ndim - 1)
            rate = rates.reshape(shape) * (nets.setup.faster if name == "weights" else 1.0)
            nets.weights[name] = (weight - rate * speed[name]).detach()
    return bool(torch.isfinite(losses).any())


@dataclass(frozen=True)
class Trained:
    """Networks of the best learning rate, one per seed.

    Attributes
    ----------
    before, after : Networks
    rate : float
        Learning rate with the largest mean accuracy on the images held out for choices.
    held, test : ndarray, shape (seeds,)
        Accuracies after training.
    plan : Plan
    everything : Networks
        Those of all learning rates.
    """

    before: Networks
    after: Networks
    rate: float
    held: np.ndarray
    test: np.ndarray
    plan: Plan
    everything: Networks

    def at(self, rate: float) -> Networks:
        """Return the networks of one learning rate, for comparisons at equal rates."""
        first = self.plan.rates.index(rate) * self.plan.seeds
        return self.everything.chosen(list(range(first, first + self.plan.seeds)))

    def to_dict(self) -> dict[str, Any]:
        """Return rate, mean accuracy on test images, its standard error, and every seed."""
        n = len(self.test)
        return {
            "rate": self.rate,
            "accuracy": float(self.test.mean()),
            "error": float(self.test.std(ddof=1) / np.sqrt(n)),
            "seeds": self.test.tolist(),
        }


class Runs:
    """Training runs by name, each kept as a file as soon as it is done.

    Parameters
    ----------
    store : Path or None
        Folder of the files; without it nothing is kept.
    count : int
        How many there will be, for the progress on the standard error stream.
    """

    def __init__(self, store: Path | None, count: int) -> None:
        self.store, self.count, self.done = store, count, 0
        if store is not None:
            store.mkdir(parents=True, exist_ok=True)

    def of(self, name: str, setup: Setup, plan: Plan) -> Trained:
        """Train a setup, or read what an earlier call trained."""
        key = f"{name}_{_digest(setup, plan)}"
        file = None if self.store is None else self.store / f"{key}.npz"
        if file is not None and file.exists():
            nets = Networks.of_arrays(setup, _read(file))
        else:
            part = None if file is None else file.with_suffix(".part.npz")
            nets = trained(setup, plan, part=part)
            if file is not None and part is not None:
                _write(file, nets.arrays())
                part.unlink(missing_ok=True)
        found = _best(setup, plan, nets)
        self.done += 1
        text = f"[{self.done}/{self.count}] {name}: {found.test.mean():.3f} at rate {found.rate:g}"
        print(text, file=sys.stderr, flush=True)
        return found


def _best(setup: Setup, plan: Plan, nets: Networks) -> Trained:
    """Choose the learning rate on the images held out for it."""
    data, seeds = digits(), plan.seeds
    held = nets.accuracy(data.held, data.held_labels).reshape(-1, seeds)
    test = nets.accuracy(data.test, data.test_labels).reshape(-1, seeds)
    best = int(held.mean(axis=1).argmax())
    after = nets.chosen([best * seeds + k for k in range(seeds)])
    before = Networks.fresh(setup, list(range(seeds)))
    return Trained(before, after, plan.rates[best], held[best], test[best], plan, nets)


def _digest(setup: Setup, plan: Plan) -> str:
    from hashlib import sha256

    parts = [(f.name, getattr(setup, f.name)) for f in fields(setup) if f.name not in LATER]
    parts += [(name, getattr(setup, name)) for name in ("faster",) if setup.faster != 1]
    factor = b"" if setup.factor is None else np.asarray(setup.factor).round(12).tobytes()
    return sha256(repr((parts, plan)).encode() + factor).hexdigest()[:12]


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _write(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write a file that is there completely or not at all."""
    new = path.with_name(path.name + ".new")
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(open(new, "wb"))
        np.savez(stream, **arrays)
    os.replace(new, path)
