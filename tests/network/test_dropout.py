"""Dropout and stochastic depth as descriptions: parameters, evaluation, noise as data."""

from __future__ import annotations

from typing import Any

import pytest
import sympy as sp
from uncompiled import evaluate

from resexpand import (
    Activation,
    Branch,
    Dropout,
    DropPath,
    Linear,
    ResNet,
    SharedDropout,
    StochasticDepth,
    kernel,
)
from resexpand.errors import DescriptionError, HyperparameterError, UnsupportedError
from resexpand.network.operation import Map, Noise, Operation, X, bernoulli
from resexpand.network.registry import OPERATIONS, register

KINDS = (Dropout, SharedDropout, StochasticDepth, DropPath)
WORDS = {"Dropout": "keep", "SharedDropout": "keep"}
BAD: dict[str, tuple[Any, str]] = {
    "zero": (0, "must be above 0; give a {} > 0"),
    "negative": (-0.1, "must be above 0; give a {} > 0"),
    "more than one": (1.1, "must not be above 1; give a {} <= 1"),
    "in a list": ([0.5, 0], "must be above 0"),
    "none": (None, "expected a number"),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
@pytest.mark.parametrize("case", BAD)
def test_probabilities_out_of_range(kind: type[Operation], case: str) -> None:
    value, message = BAD[case]
    with pytest.raises(DescriptionError, match=message.format(WORDS.get(kind.kind, "survival"))):
        kind(value)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_registered(kind: type[Operation]) -> None:
    assert OPERATIONS[kind.kind] is kind
    assert repr(kind(0.9)) == f"{kind.kind}({WORDS.get(kind.kind, 'survival')}=9/10)"


def test_symbols_are_checked_when_they_have_values() -> None:
    p = sp.Symbol("keep", positive=True)
    net = ResNet(Branch(Activation("relu"), Dropout(p), Linear(2, 0)), scale=1, depth=2)
    assert evaluate(kernel(net), K0=1.0, keep=0.5)["K"][-1] == pytest.approx(9)
    for value, message in ((0.0, "keep must be above 0"), (1.5, "keep must not be above 1")):
        with pytest.raises(HyperparameterError, match=message):
            evaluate(kernel(net), K0=1.0, keep=value)


def test_one_probability_per_block() -> None:
    branch = Branch(Activation("relu"), Dropout([0.5, 0.8]), Linear(2, 0))
    assert evaluate(kernel(ResNet(branch, scale=1, depth=2)), K0=1.0)["K"][-1] == pytest.approx(
        3 * (1 + 1 / 0.8)
    )
    with pytest.raises(DescriptionError, match="one value per block"):
        ResNet(branch, scale=1, depth=3).kinds  # noqa: B018


MASKED = Branch(Dropout(0.7), Activation("erf"), Linear(1.2, 0.1), StochasticDepth(0.6))
PLAIN = Branch(Activation("erf"), Linear(1.2, 0.1))


def test_evaluation_leaves_the_noise_out() -> None:
    net = ResNet(MASKED, scale=0.5, depth=3, read_out=[Dropout(0.9), Linear(1, 0)], skip=0.8)
    expected = ResNet(PLAIN, scale=0.5, depth=3, read_out=[Linear(1, 0)], skip=0.8)
    assert net.evaluation() == expected
    assert expected.evaluation() == expected
    assert net.evaluation() != net
    cycle = ResNet([MASKED, PLAIN], scale=[0.5, 0.4], depth=2)
    assert cycle.evaluation() == ResNet([PLAIN, PLAIN], scale=[0.5, 0.4], depth=2)
    assert cycle.evaluation().kinds == (PLAIN,)


class Jitter(Map):
    """``x -> x + xi``: no identity in the mean."""

    kind = "Jitter"
    noise = (Noise(sp.Symbol("xi", real=True), bernoulli(sp.Rational(1, 2))),)
    expression = X + sp.Symbol("xi", real=True)


def test_noise_of_another_mean() -> None:
    with pytest.raises(UnsupportedError, match="not the identity where its noise takes the mean"):
        ResNet(Branch(Jitter(), Linear()), scale=1, depth=1).evaluation()


def test_noise_as_data() -> None:
    (noise,) = Dropout.noise
    u = sp.Symbol("u", positive=True)
    assert noise.mean() == Dropout.parameters[0].symbol
    assert noise.quantile(u).subs({Dropout.parameters[0].symbol: 0.7, u: 0.69}) == 1
    assert noise.quantile(u).subs({Dropout.parameters[0].symbol: 0.7, u: 0.71}) == 0
    stray = Noise(sp.Symbol("xi", real=True), bernoulli(sp.Symbol("stray")))
    with pytest.raises(DescriptionError, match="stray in"):
        register(type("Bad", (Jitter,), {"kind": "Bad", "noise": (stray,)}))
    averages = ((sp.Symbol("s", real=True), Jitter.expression),)
    with pytest.raises(DescriptionError, match="xi in"):
        register(type("Bad", (Jitter,), {"kind": "Bad", "averages": averages}))


def test_where_masks_leave_a_mixture() -> None:
    assert Branch(Activation("relu"), Dropout(0.5), Linear()).is_mixture is False
    assert Branch(Activation("relu"), Linear(), Dropout(0.5)).is_mixture is True
    assert MASKED.is_mixture is False
    with pytest.raises(UnsupportedError, match="not Gaussian at infinite width"):
        Branch(Linear(), Activation("relu"), Dropout(0.5), Activation("erf"))
