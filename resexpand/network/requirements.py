"""Requirements of theories: common errors for networks outside of what a theory is derived for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from resexpand.errors import DescriptionError, HyperparameterError, UnsupportedError
from resexpand.network.positions import require_no_coupling
from resexpand.network.resnet import ResNet
from resexpand.network.steps import Step


def require_network(net: object, asked: str) -> None:
    """Raise the one error of theories of something else than a network.

    Raises
    ------
    DescriptionError
        If it is no `ResNet`.
    """
    if not isinstance(net, ResNet):
        raise DescriptionError(
            f"{asked} of {net!r}",
            f"it is of type {type(net).__name__}",
            "give ResNet(Branch(...), scale=..., depth=...)",
        )


def require_one_of(value: object, kinds: Any, asked: str) -> None:
    """Raise the common error of a word that is none of a `Literal`.

    Raises
    ------
    HyperparameterError
        With the words that there are.
    """
    if value not in get_args(kinds):
        known = f"use one of {get_args(kinds)}"
        raise HyperparameterError(f"{asked} {value!r}", "it is unknown", known)


def require_plain(net: ResNet, asked: str) -> None:
    """Raise the one error of theories of unit skips, contractions and maps with a law.

    Raises
    ------
    UnsupportedError
        If a map has parameters or averages of its own, or the stream a factor.
    """
    require_no_coupling(net, asked)
    require_laws((*net.branch.steps, *net.head, *net.post), asked)
    require_sums(net, asked)


TAKEN = "kernel(), response() and sample() take it"


def require_sums(net: ResNet, asked: str, taken: str = TAKEN) -> None:
    """Raise the one error of theories of streams that blocks add to, and do nothing else.

    `taken` says what takes the network.

    Raises
    ------
    UnsupportedError
        If the stream has a factor or a normalisation, operations draw noise, or weights are
        correlated between layers.
    """
    require_independent_layers(net, asked)
    steps = (*(step for branch in net.kinds for step in branch.steps), *net.head)
    require_no_noise(steps, asked, taken)
    if net.skip != 1 or net.post_norm is not None:
        setting = f"skip={net.skip}" if net.post_norm is None else f"post_norm={net.post_norm!r}"
        raise UnsupportedError(
            f"{asked} of a network with {setting}",
            "it is derived for blocks that add to the stream",
            f"{taken} as it is",
        )


def require_independent_layers(net: ResNet, asked: str) -> None:
    """Raise the one error of theories in which a layer does not know the weights of another.

    Raises
    ------
    UnsupportedError
        If weights are correlated between layers.
    """
    if net.layers is not None:
        raise UnsupportedError(
            f"{asked} of a network with layers={net.layers!r}",
            "it is derived for weights that are independent between layers",
            "kernel(), gradient_moments() and sample() take it as it is",
        )


def require_no_noise(steps: Sequence[Step], asked: str, taken: str = TAKEN) -> None:
    """Raise the common error of theories without noise; `taken` as in `require_sums`.

    Raises
    ------
    UnsupportedError
        If a map draws noise, such as the masks of a dropout.
    """
    for step in steps:
        if step.contracts or not step.op.noise:
            continue
        if any(noise.over == "block" for noise in step.op.noise):
            taken = "sample() takes it"  # and kernels where no Linear stands behind
        masks = all(noise.vanishes for noise in step.op.noise)
        raise UnsupportedError(
            f"{asked} of a branch with {step.op!r}",
            f"it is derived without the {'noise' if masks else 'second linear map'} that "
            f"{step.op.kind} draws",
            f"{taken}; net.evaluation() has no noise" if masks else taken,
        )


def require_laws(steps: Sequence[Step], asked: str) -> None:
    """Raise the common error of theories that need a law of every map.

    Raises
    ------
    UnsupportedError
        If a map has parameters or averages of its own.
    """
    for step in steps:
        if not step.contracts and step.label is None:
            raise UnsupportedError(
                f"{asked} of a branch with {step.op!r}",
                f"the operation {step.op.kind} states no law for it",
                "kernel(), response() and sample() take it as it is",
            )
