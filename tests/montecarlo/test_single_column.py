"""One input alone has a sampler of its own: it must draw the networks of the one for several."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import Any

import numpy as np
import pytest
import sympy as sp
from heavier import left_to_slow

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Dropout,
    LayerNorm,
    Linear,
    ResNet,
    RMSNorm,
    Scale,
    StochasticDepth,
)
from resexpand.montecarlo.groups.inputs import Inputs
from resexpand.montecarlo.groups.layout import Layout
from resexpand.montecarlo.groups.tangents import Tangents
from resexpand.montecarlo.random.normals import add_in_quarters, fill_normals
from resexpand.montecarlo.source.blocks import Blocks
from resexpand.montecarlo.source.single_column import is_single
from resexpand.montecarlo.weights.law import GAUSSIAN, ORTHOGONAL
from resexpand.network.operation import Operation

W = Linear(sp.Rational(7, 5), sp.Rational(3, 10))
# Below one block of 32 neurons, between two, no multiple of four, more than one piece.
WIDTHS = (5, 33, 64, 1000, 1024, 2077)
NAMES = ["kernel", "layer_covariance", "output"]


@pytest.mark.parametrize(
    "name", ["erf", *(pytest.param(a, marks=pytest.mark.slow) for a in ("relu", "gelu"))]
)
def test_the_first_of_two_inputs_is_the_only_one(make: Callable[..., object], name: str) -> None:
    branch = Branch(Activation(name), W)
    net = ResNet(branch, scale=[0.9, 0.5, 0.7], read_out=branch.followed_by(Linear(2, 1)))
    for width in WIDTHS:
        alone, beside = (
            make(net, NAMES, width, K0=K0, method="function-space", seed=7).rows(3, 4)
            for K0 in (0.8, [[0.8, 0.3], [0.3, 1.5]])
        )
        for observable in NAMES:
            first = beside[observable]
            first = first[..., 0] if observable == "output" else first[..., 0, 0]
            np.testing.assert_allclose(
                alone[observable].reshape(first.shape), first, rtol=1e-13, err_msg=str(width)
            )


PAIR = [[0.8, 0.3], [0.3, 1.5]]
SINGLE = {
    "layer norm": (LayerNorm(0.1, gain=1.2), Activation("erf"), W),
    "masks on both sides": (Dropout(0.7), Activation("erf"), Dropout(0.6), W, StochasticDepth(0.8)),
    "all": (
        LayerNorm(),
        Dropout(0.9),
        Activation("relu"),
        StochasticDepth(0.7),
        Scale(2),
        W,
        Scale(0.5),
    ),
    "root mean square": (RMSNorm(bias=0.2), W),
}


@pytest.mark.parametrize("case", left_to_slow(list(SINGLE), ["root mean square"]))
def test_norms_masks_and_coins_of_the_only_input(make: Callable[..., object], case: str) -> None:
    net = ResNet(
        Branch(*SINGLE[case]), scale=[0.9, 0.5, 0.7], read_out=[*_opening(case), Linear(2, 1)]
    )
    assert is_single(Blocks.of(net.kinds, 3), "function-space", Layout.of(1, ()), GAUSSIAN)
    for width in (5, 64, 1061, 2077):
        alone, beside = (
            make(net, NAMES, width, K0=K0, method="function-space", seed=7).rows(3, 4)
            for K0 in (0.8, PAIR)
        )
        for observable in NAMES:
            first = beside[observable]
            first = first[..., 0] if observable == "output" else first[..., 0, 0]
            np.testing.assert_allclose(
                alone[observable].reshape(first.shape), first, rtol=1e-11, err_msg=str(width)
            )
            assert np.unique(first).size > 3


def _opening(case: str) -> list[Operation]:
    return list(takewhile(lambda op: not op.contracts, SINGLE[case]))


def test_the_branch_is_read_once_more_without_a_read_out(make: Callable[..., object]) -> None:
    net = ResNet(Branch(Activation("erf"), W), scale=[0.9, 0.5, 0.7])
    alone, beside = (
        make(net, ["layer_covariance"], 40, K0=K0, method="function-space").rows(0, 3)
        for K0 in (0.8, [[0.8, 0.3], [0.3, 1.5]])
    )
    found, known = alone["layer_covariance"], beside["layer_covariance"][..., 0, 0]
    np.testing.assert_allclose(found.reshape(known.shape), known, rtol=1e-13)


@pytest.mark.parametrize("scratch", [0, 96])
def test_quarters_hold_the_normals_in_another_order(scratch: int) -> None:
    n, word, words = 96, np.uint64, np.empty(scratch)
    ordered, quarters = np.empty(n), np.zeros(n)
    fill_normals(word(1), word(2), word(0), word(4), word(5), ordered, n)
    add_in_quarters(word(1), word(2), 0, word(4), word(5), quarters, 2.0, words)
    np.testing.assert_array_equal(quarters.reshape(4, -1).T.ravel(), 2.0 * ordered)
    assert not np.array_equal(quarters, 2.0 * ordered)
    # A piece that starts later continues the vector.
    later = np.zeros(32)
    add_in_quarters(word(1), word(2), 16, word(4), word(5), later, 1.0, words)
    np.testing.assert_array_equal(later.reshape(4, -1).T.ravel(), ordered[64:])


def blocks(*ops: Activation | Linear, **more: Any) -> Blocks:
    return Blocks.of((Branch(*ops),), **more)


def test_what_else_is_asked_takes_the_general_text() -> None:
    act, one = Activation("relu"), Layout.of(1, ())
    assert is_single(blocks(act, W), "function-space", one, GAUSSIAN)
    assert one.groups == (Inputs(1),)
    assert not is_single(blocks(act, W), "dense", one, GAUSSIAN)
    assert not is_single(blocks(act, W), "function-space", one, ORTHOGONAL)
    assert not is_single(blocks(W, act, W), "function-space", one, GAUSSIAN)
    assert not is_single(blocks(act, W), "function-space", Layout.of(2, ()), GAUSSIAN)
    assert not is_single(blocks(act, W, skips=False), "function-space", one, GAUSSIAN)
    assert not is_single(blocks(act, W, head=()), "function-space", one, GAUSSIAN)
    for ops in ((act, LayerNorm(), W), (act, W, Dropout(0.5)), (BatchNorm(), W)):
        assert not is_single(blocks(*ops), "function-space", one, GAUSSIAN)
    kinds = Blocks.of((Branch(act, W), Branch(act, W)))
    assert not is_single(kinds, "function-space", one, GAUSSIAN)
    tangents = Layout.of(1, [Tangents(("direction",))])
    assert not is_single(blocks(act, W), "function-space", tangents, GAUSSIAN)
