"""Batch normalisation makes deep residual blocks small: growth, gradients and the implied scale.

De & Smith (2020) argue that a normalised branch adds the same variance in every block, so that
block l of ``h + W phi(BN(h))`` contributes a share of about 1/l, as if its residual scale were
``1/sqrt(l)``. Two quantities must be kept apart: the second moment of the stream, and its variance
over the batch at fixed weights. Five claims, all but one at B = 8 and 32 inputs, which is exact for
finite batches:

- normalised: both quantities in linear and relu networks. Second moments grow by one per block;
  batch variances by ``1 - 1/B`` (linear) and ``(1 - 1/B)(1 - 2 J)`` (relu), J an arc cosine that
  tends to 1/(2 pi). Control: the second moment is taken for the batch variance.
- convolution: the same of convolutions over the positions of 8 inputs, whose neighbours resemble
  each other; statistics run over inputs and positions. Control: as before.
- plain: without normalisation the second moment doubles. Control: they grow as with normalisation.
- gradients: with normalisation they grow, from the last block to the first, like a power of the
  depth. Control: the factor of an infinite batch.
- explosion: without skip connections they grow by a factor per block. Control: as before.

The record holds the scale that the last normalisation amounts to beside SkipInit's ``1/sqrt(d)``.

Usage: ``python numerics/desmith_2020.py [--scale smoke|full] [--out FOLDER]``. Exit code 0 if all
claims agree, 1 if one disagrees (or a control slips through), 2 if undecided.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Conv,
    Linear,
    Observable,
    ResNet,
    compare,
    evaluate,
    gradient_moments,
    kernel,
    sample,
)
from resexpand.agreement.comparison import combine
from resexpand.montecarlo.groups.gradients import Gradients
from support.claims import Claim, run_script

MODELS = {"linear": ("identity", 1), "relu": ("relu", 2)}
WORDS = {
    "normalised": ("blocks add the same in every layer", "second moment for batch variance"),
    "convolution": ("convolutions, too, add one per layer", "second moment for batch variance"),
    "plain": ("without norms the second moment doubles", "they grow by one per block"),
    "gradients": ("gradients grow like a power", "the factors of an infinite batch"),
    "explosion": ("without skips they grow by a factor", "the factors of an infinite batch"),
}
"""Statement of every claim, and what is wrong in its control."""

IMAGES, POSITIONS = 8, 4
"""Inputs of the convolutional model, and the positions of each."""

INFINITE = 1024
"""A batch that stands for an infinite one in controls."""


@dataclass(frozen=True)
class Scale:
    """How much is sampled."""

    depth: int
    widths: tuple[int, ...]
    draws: int
    batches: tuple[int, ...]


SETTINGS = {
    "smoke": Scale(depth=6, widths=(96, 192), draws=1000, batches=(8,)),
    "full": Scale(depth=16, widths=(500, 1000), draws=240, batches=(8, 32)),
}


def trace(matrices: np.ndarray) -> np.ndarray:
    """Return the mean of the diagonal of matrices over inputs, layers last."""
    return np.trace(matrices, axis1=-2, axis2=-1) / matrices.shape[-1]


def variance(matrices: np.ndarray) -> np.ndarray:
    """Return the biased variance over the batch."""
    return trace(matrices) - matrices.mean(axis=(-2, -1))


OBSERVABLES = (
    Observable("second_moment", lambda r: trace(r.of_inputs(r.sites["states"])), ("states",)),
    Observable("batch_variance", lambda r: variance(r.of_inputs(r.sites["states"])), ("states",)),
)
BACK = (
    Observable(
        "gradient_moment", lambda r: trace(r.sites["gradients"]), ("gradients",), (Gradients(),)
    ),
)


def network(model: str, depth: int, *, normalised: bool = True, skip: int = 1) -> ResNet:
    """Return a network of He's weights; the read-out acts on the activated stream."""
    name, weight = MODELS[model]
    norm = (BatchNorm(),) if normalised else ()
    branch = Branch(*norm, Activation(name), Linear(weight, 0))
    read_out = (Activation("identity" if model == "linear" else "erf"), Linear(1, 0))
    return ResNet(branch, scale=1, depth=depth, skip=skip, read_out=read_out)


def convolutional(depth: int) -> ResNet:
    """Return a network of convolutions with He's weights; positions go round."""
    branch = Branch(BatchNorm(), Activation("relu"), Conv((-1, 0, 1), 2, 0))
    return ResNet(branch, scale=1, depth=depth, positions=POSITIONS)


def batch(size: int) -> np.ndarray:
    """Return the kernel of inputs of unit second moment and correlation 0.2."""
    return np.full((size, size), 0.2) + 0.8 * np.eye(size)


def start(net: ResNet, size: int) -> np.ndarray:
    """Return the kernel of a batch at layer 0; neighbouring positions have the correlation 0.6."""
    if not net.positions:
        return batch(size)
    steps = np.abs(np.arange(POSITIONS)[:, None] - np.arange(POSITIONS))
    return np.kron(batch(size), 0.6 ** np.minimum(steps, POSITIONS - steps))


def growth(net: ResNet, size: int) -> dict[str, np.ndarray]:
    """Return both quantities at infinite width."""
    normalised = any(op.over == "batch" for op in net.branch.maps)
    inputs = "positions" if net.positions else "batch" if normalised else 2
    values = evaluate(kernel(net, inputs), K0=start(net, size), outputs="K")["K"]
    return {"second_moment": trace(values), "batch_variance": variance(values)}


def gradients(net: ResNet, size: int, shown: int | None = None) -> dict[str, np.ndarray]:
    """Return the second moments of gradients; in controls those of another batch, rescaled."""
    theory = gradient_moments(net)
    found, own = (
        trace(evaluate(theory, K0=batch(b), outputs="gradient")["gradient"])
        for b in (shown or size, size)
    )
    return {"gradient_moment": found * (own[-1] / found[-1])}


def claim(
    scale: Scale,
    name: str,
    nets: Mapping[str, ResNet],
    theories: tuple[Callable[[ResNet, int], Any], Callable[[ResNet, int], Any]],
    observables: tuple[Observable, ...],
) -> Claim:
    """Sample every network at every batch; judge the theory and the wrong theory."""
    right, wrong = {}, {}
    cases = product(nets.items(), (IMAGES,) if name == "convolution" else scale.batches)
    for (label, net), size in cases:
        K0 = start(net, size)
        runs = [
            sample(net, observables, width, scale.draws, K0=K0, seed=width + size)
            for width in scale.widths
        ]
        names, at = {o.name: o.name for o in observables}, f"{label}, B = {size}"
        right[at], wrong[at] = (
            compare(theory(net, size), runs, names=names, resolve=0.2) for theory in theories
        )
    return Claim(name, WORDS[name][0], combine(right), combine(wrong), WORDS[name][1])


def mixed_up(net: ResNet, size: int) -> dict[str, np.ndarray]:
    """Return the second moment in place of the batch variance."""
    found = growth(net, size)
    return {**found, "batch_variance": found["second_moment"]}


def as_normalised(net: ResNet, size: int) -> dict[str, np.ndarray]:
    """Return the growth by one per block."""
    layers = np.arange(int(net.depth) + 1)
    return {name: values[0] + layers for name, values in growth(net, size).items()}


def implied(scale: Scale) -> dict[str, dict[str, list[float]]]:
    """Return what the norm of every block multiplies the branch by, beside ``1/sqrt(l)``."""
    size = scale.batches[-1]
    layers = np.arange(1, scale.depth + 1)
    found = {"1/sqrt(l)": (1 / np.sqrt(layers)).tolist()}
    for model in MODELS:
        before = growth(network(model, scale.depth), size)["batch_variance"][:-1]
        found[model] = (1 / np.sqrt(before)).tolist()
    return {"implied_scale": found}


def figure(scale: Scale, path: Any) -> None:
    """Draw growth with and without normalisation, and gradients."""
    size, (left, right) = (
        scale.batches[-1],
        plt.subplots(1, 2, figsize=(8, 3.2), sharex=True, layout="constrained")[1],
    )
    for model in MODELS:
        for name, values in growth(network(model, scale.depth), size).items():
            left.plot(values, label=f"{model}, {name.replace('_', ' ')}")
    plain = growth(network("relu", scale.depth, normalised=False), size)["second_moment"]
    left.plot(plain, "k:", label="relu, without norm")
    left.set(yscale="log", xlabel="layer", ylabel="variance", ylim=(0.5, 4 * scale.depth))
    for skip, label in ((1, "with skip"), (0, "without skip")):
        values = gradients(network("relu", scale.depth, skip=skip), size)["gradient_moment"]
        right.plot(values / values[-1], label=label)
    right.set(yscale="log", xlabel="layer", ylabel="gradient, relative to the last layer")
    for axes in (left, right):
        axes.legend(fontsize=7)
    plt.savefig(path, bbox_inches="tight")
    plt.close()


def claims_of(chosen: Any, scale: Scale) -> tuple[list[Claim], dict[str, Any]]:
    """Return the claims and the table of scales."""
    nets = {model: network(model, scale.depth) for model in MODELS}
    free = {"relu": network("relu", min(scale.depth, 8), normalised=False)}
    bare = {"relu": network("relu", min(scale.depth, 8), skip=0)}
    infinite = (gradients, partial(gradients, shown=INFINITE))
    listed = (
        ("normalised", nets, (growth, mixed_up), OBSERVABLES),
        ("convolution", {"relu": convolutional(scale.depth)}, (growth, mixed_up), OBSERVABLES),
        ("plain", free, (growth, as_normalised), OBSERVABLES),
        ("gradients", {"relu": nets["relu"]}, infinite, BACK),
        ("explosion", bare, infinite, BACK),
    )
    if chosen.out is not None:
        figure(scale, chosen.out / "growth.png")
    return [claim(scale, *each) for each in listed], implied(scale)


main = partial(run_script, __doc__, SETTINGS, claims_of)

if __name__ == "__main__":
    sys.exit(main())
