"""Wrong descriptions and wrong numbers of normalisations, masks and coins: one named error each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from uncompiled import evaluate

from resexpand import (
    Activation,
    Attention,
    BatchNorm,
    Branch,
    Conv,
    Dropout,
    DropPath,
    LayerNorm,
    Linear,
    ResNet,
    RMSNorm,
    SharedDropout,
    StochasticDepth,
    gradient_moments,
    kernel,
    noise_average,
    one_loop,
    optimal_scale,
    order_profile,
    response,
    sample,
    variance_shift,
)
from resexpand.errors import (
    DescriptionError,
    HyperparameterError,
    KernelError,
    ResexpandError,
    UnsupportedError,
)
from resexpand.network.operation import Operation

RELU, OUT = Activation("relu"), Linear(2, 0)
ALIKE, BATCH = np.ones((3, 3)), 0.5 * np.eye(6) + 0.5


def net(op: Operation, **more: Any) -> ResNet:
    return ResNet(Branch(op, RELU, OUT), scale=1, depth=2, **more)


def post(op: Operation) -> ResNet:
    return ResNet(Branch(RELU, OUT), scale=1, depth=2, post_norm=op)  # type: ignore[arg-type]


def of_batch(op: Operation, K0: Any, **more: Any) -> object:
    return evaluate(kernel(net(op), inputs="batch"), K0=K0, **more)


def drawn(found: ResNet, K0: Any) -> object:
    return sample(found, "kernel", 8, 4, K0=K0)


CASES: dict[str, tuple[type[ResexpandError], str, Callable[[], object]]] = {
    **{
        f"{kind.kind} of {value}": (DescriptionError, "it must", lambda k=kind, v=value: k(v))
        for kind in (Dropout, SharedDropout, StochasticDepth, DropPath)
        for value in (0, -0.1, 1.5)
    },
    "keep that is no number": (ResexpandError, "keep", lambda: Dropout(float("nan"))),
    **{
        f"{kind.kind} of a negative eps": (DescriptionError, "eps", lambda k=kind: k(-1e-5))
        for kind in (LayerNorm, RMSNorm, BatchNorm)
    },
    "ghost of one": (DescriptionError, "ghost = 1", lambda: BatchNorm(ghost=1)),
    "ghost that is no number": (DescriptionError, "ghost", lambda: BatchNorm(ghost=2.5)),
    "unknown mode": (DescriptionError, "no such mode", lambda: BatchNorm(mode="test")),
    "ghost that does not divide": (
        HyperparameterError,
        "4 does not divide 6",
        lambda: of_batch(BatchNorm(ghost=4), BATCH),
    ),
    "ghost that does not divide, sampled": (
        HyperparameterError,
        "4 does not divide 6",
        lambda: drawn(net(BatchNorm(ghost=4)), BATCH),
    ),
    "batch of one": (ResexpandError, "batch", lambda: of_batch(BatchNorm(), [[1.0]])),
    "batch of one, sampled": (ResexpandError, "batch", lambda: drawn(net(BatchNorm()), 1.0)),
    "equal rows": (KernelError, "3 equal inputs", lambda: of_batch(BatchNorm(), ALIKE)),
    "equal rows, sampled": (KernelError, "3 equal", lambda: drawn(net(BatchNorm()), ALIKE)),
    "equal rows of a ghost batch": (
        KernelError,
        "2 equal inputs",
        lambda: of_batch(BatchNorm(ghost=2), np.kron(np.eye(2), np.ones((2, 2)))),
    ),
    **{
        f"BatchNorm asked for {name}": (UnsupportedError, "couples all inputs", ask)
        for name, ask in {
            "one input": lambda: kernel(net(BatchNorm())),
            "a pair": lambda: kernel(net(BatchNorm()), 2),
            "a response": lambda: response(net(BatchNorm())),
        }.items()
    },
    "a batch without a norm": (
        UnsupportedError,
        "averaged over a batch",
        lambda: kernel(ResNet(Branch(RELU, OUT), scale=1, depth=2), "batch"),
    ),
    "gradients of a small batch": (
        UnsupportedError,
        "it is infinite",
        lambda: evaluate(gradient_moments(net(BatchNorm())), K0=0.5 * np.eye(3) + 0.5),
    ),
    **{
        f"{op.kind} of a stream without variance": (
            ResexpandError,
            "",
            lambda o=op: evaluate(kernel(net(o)), K0=0.0),
        )
        for op in (LayerNorm(), RMSNorm())
    },
    **{
        f"post-norm and {ask.__name__}": (
            UnsupportedError,
            said,
            lambda a=ask, e=eps: a(post(LayerNorm(e))),
        )
        for ask, eps, said in ((one_loop, 0.1, "feel the length"), (optimal_scale, 0, "that add"))
    },
    "positions that do not match offsets": (
        DescriptionError,
        "offsets",
        lambda: ResNet(Branch(RELU, Conv(((0, 1),))), scale=1, depth=1, positions=4),
    ),
    "tokens of a network without tokens": (
        DescriptionError,
        "without positions",
        lambda: ResNet(Branch(Attention(1), OUT), scale=1, depth=1),
    ),
    "post-norm and orders": (
        UnsupportedError,
        "no sum over paths",
        lambda: order_profile(post(LayerNorm()), 2),
    ),
    "an activation behind the block": (UnsupportedError, "not be Gaussian", lambda: post(RELU)),
    "masks behind the block": (UnsupportedError, "noise of its own", lambda: post(Dropout(0.5))),
    "a batch behind the block": (UnsupportedError, "couples", lambda: post(BatchNorm())),
    "too many coins": (
        ResexpandError,
        "coin",
        lambda: noise_average(net(StochasticDepth(0.5)).with_scale(1, depth=40), K0=1.0),
    ),
    "shift of one input": (
        HyperparameterError,
        "one variance and one covariance",
        lambda: variance_shift(net(BatchNorm()), K0=[[1.0]]),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_named_error(case: str) -> None:
    kind, said, ask = CASES[case]
    with pytest.raises(kind) as caught:
        ask()
    text = str(caught.value)
    assert said in text
    assert len(text) < 600
    assert "\n" not in text


def test_the_borders_are_allowed() -> None:
    for op in (Dropout(1), StochasticDepth(1), LayerNorm(0), BatchNorm(ghost=2), RMSNorm(1e-12)):
        assert isinstance(op, Operation)
    of_batch(BatchNorm(ghost=3), BATCH)
    of_batch(BatchNorm(0.1), ALIKE)
