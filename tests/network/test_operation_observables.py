"""Every operation with every observable: samplers against each other and against the theory.

The operations are those of the registry, so that one without a case here fails; the observables
are those of the registry, too. What a sampler refuses is refused by both, by name.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from heavier import left_to_slow

from resexpand import (
    Activation,
    Attention,
    BatchNorm,
    Branch,
    Conv,
    Dropout,
    DropPath,
    Gate,
    GlobalAvgPool,
    LayerNorm,
    Linear,
    ResNet,
    RMSNorm,
    Scale,
    SharedDropout,
    StochasticDepth,
    compare,
    evaluate,
    gradient_moments,
    kernel,
    noise_average,
    response,
    sample,
)
from resexpand.agreement.comparison import two_sample
from resexpand.errors import UnsupportedError
from resexpand.montecarlo.observables.profiles import FAMILIES
from resexpand.montecarlo.observables.registry import OBSERVABLES, needed_columns, select
from resexpand.network.registry import OPERATIONS

OUT, ERF = Linear(1.4, 0.1), Activation("erf")
PLACED = {
    "Activation": Branch(ERF, OUT),
    "Linear": Branch(Linear(0.8, 0.2), ERF, OUT),
    "LayerNorm": Branch(LayerNorm(0.1), ERF, OUT),
    "RMSNorm": Branch(RMSNorm(0.2, gain=1.3), ERF, OUT),
    "Scale": Branch(Scale(0.7), ERF, OUT),
    "Dropout": Branch(ERF, Dropout(0.7), OUT),
    "SharedDropout": Branch(ERF, SharedDropout(0.6), OUT),
    "StochasticDepth": Branch(Activation("relu"), OUT, StochasticDepth(0.8)),
    "DropPath": Branch(Activation("identity"), OUT, DropPath(0.7)),
    "BatchNorm": Branch(BatchNorm(0.1), ERF, OUT),
    "Conv": Branch(ERF, Conv((-1, 0, 1), weight_variance=1.4, bias_variance=0.1)),
    "Attention": Branch(LayerNorm(0.1), Attention(0.6), OUT, ERF, Linear(0.8, 0.1)),
    "GlobalAvgPool": Branch(GlobalAvgPool(), ERF, OUT),
    "Gate": Branch(RMSNorm(0.2), Linear(0.8, 0.2), Gate("relu"), OUT),
}
"""One branch for every operation, closed in theory."""

PAIR = np.array([[0.9, 0.3], [0.3, 0.7]])
COLUMNS = np.array([[0.9, 0.3, 0.1], [0.3, 0.7, 0.2], [0.1, 0.2, 1.1]])
TOGETHER = {"BatchNorm": "batch", "Conv": "positions", "Attention": "positions"}
TOGETHER |= {"GlobalAvgPool": "positions"}
ALL = (*OBSERVABLES, *(f"{name}(2)" for name in FAMILIES))
WIDTHS, DRAWS = (48, 96), 4000
QUICK = {"Gate"}


def network(kind: str, slope: float = 1.0) -> ResNet:
    sheet = 3 if TOGETHER.get(kind) == "positions" else None
    return ResNet(PLACED[kind], scale=[0.9 * slope, 0.5], positions=sheet)


def starts(kind: str) -> list[Any]:
    """Return kernels at layer 0: of one input and of two, or of what the operation couples."""
    return [COLUMNS] if kind in TOGETHER else [0.7, PAIR]


def offered(net: ResNet, start: Any) -> list[str]:
    """Return the observables that can be sampled; what is refused is refused by name."""
    count, found = len(np.atleast_2d(start)), []
    for name in ALL:
        with suppress(UnsupportedError):
            layout = needed_columns(select(name, count), count)
            layout.require(net.branch, dict.fromkeys(map(type, layout.groups), name))
            found.append(name)
    return found


def theories(kind: str, net: ResNet, start: Any) -> dict[str, Any]:
    """Return what theory knows of the observables of the network, by their names."""
    found: dict[str, Any] = {}

    def add(ask: Callable[[], Any], **names: str) -> None:
        with suppress(UnsupportedError):
            values = evaluate(ask(), K0=start)
            found.update({own: values[name] for own, name in names.items()})

    columns: Any = TOGETHER.get(kind, 1 + (np.ndim(start) > 0))
    add(lambda: kernel(net, columns), kernel="K", layer_covariance="C")
    if not found:
        # The coins of the blocks are enumerated where the recursion of their mean does not close.
        found = {"kernel": noise_average(net, K0=start).K}
    if np.ndim(start) == 0:
        add(lambda: response(net), chi="chi_0", response="eta_layers")
        add(lambda: response(net, "tangent"), tangent="chi_0")
        add(lambda: gradient_moments(net), gradient="gradient")
    elif len(start) == 2:
        add(lambda: response(net, "covariance"), covariance_response="chi_0")
    return found


def test_every_operation_has_a_case() -> None:
    assert set(PLACED) == set(OPERATIONS)


@pytest.mark.parametrize("kind", left_to_slow(PLACED, set(PLACED) - QUICK))
def test_every_observable(kind: str) -> None:
    """Both samplers agree in every entry, and their limit is the theory; neither holds else."""
    net, other = network(kind), network(kind, 1.6)
    for start in starts(kind):
        names = offered(net, start)
        assert {"kernel", "layer_covariance", "output_squared"} <= set(names)
        # Nothing but the inputs passes a gate, whose copy is drawn again for them alone.
        assert ("gradient" in names) == (kind != "Gate")
        narrow, wide = (
            sample(net, names, width, DRAWS, K0=start, seed=width, method="function-space")
            for width in WIDTHS
        )
        dense = sample(net, names, WIDTHS[0], DRAWS, K0=start, seed=3, method="dense")
        verdict = two_sample(narrow, dense, resolve=0.5)
        assert verdict.verdict != "disagrees", (start, verdict)
        assert len(verdict.rows) > (20 if kind == "Gate" else 50)
        wrong = sample(other, names, WIDTHS[0], DRAWS, K0=start, seed=4, method="dense")
        assert two_sample(narrow, wrong, resolve=0.5).verdict == "disagrees"
        known = {n: v for n, v in theories(kind, net, start).items() if n in names}
        assert "kernel" in known
        same = {name: name for name in known}
        limit = compare(known, [narrow, wide], names=same, resolve=0.5)
        assert limit.verdict != "disagrees", (start, limit)
        for name, values in known.items():
            shifted = {**known, name: np.asarray(values) * 1.4}
            assert compare(shifted, [narrow, wide], names=same).verdict == "disagrees", name
