"""Factors between an activation and a linear operation belong to its weights."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from heavier import left_to_slow

from resexpand import (
    Activation,
    Branch,
    Dropout,
    LayerNorm,
    Linear,
    ResNet,
    Scale,
    evaluate,
    finite_response,
    one_loop,
    sample,
    two_loop,
)
from resexpand.errors import UnsupportedError

PHI, C = Activation("erf"), sp.Symbol("c_0")
PAIR = np.array([[0.7, 0.2], [0.2, 0.5]])


def net_of(*ops, **more):
    return ResNet(Branch(PHI, *ops), scale=0.5, depth=3, **more)


SAME = {
    "number": (net_of(Scale(1.5), Linear(2, 0.1)), net_of(Linear(4.5, 0.1))),
    "two": (net_of(Scale(3), Scale(0.5), Linear(2, 0.1)), net_of(Linear(4.5, 0.1))),
    "symbol": (net_of(Scale(C), Linear(2, 0.1)), net_of(Linear(4.5, 0.1))),
    "per block": (
        net_of(Scale([1.5, 1, 2]), Linear(2, 0.1)),
        net_of(Linear([4.5, 2, 8], 0.1)),
    ),
    "both per block": (
        net_of(Scale([1.5, 1, 2]), Linear([2, 1, 2], 0.1)),
        net_of(Linear([4.5, 1, 8], 0.1)),
    ),
    "mask": (net_of(Scale(1.5), Dropout(0.5), Linear(2, 0)), net_of(Dropout(0.5), Linear(4.5, 0))),
    "read-out alike": (
        net_of(Scale(1.5), Linear(2, 0.1), read_out=[PHI, Scale(1.5), Linear(1, 0)]),
        net_of(Linear(4.5, 0.1), read_out=[PHI, Linear(2.25, 0)]),
    ),
    "read-out as the block": (
        ResNet(Branch(PHI, Scale(1.5), Linear(2, 0.1)), scale=0.5, depth=3).altered(
            read_out=Linear(1, 0)
        ),
        net_of(Linear(4.5, 0.1), read_out=[PHI, Linear(2.25, 0)]),
    ),
    "read-out alone": (
        net_of(Linear(2, 0.1), read_out=[PHI, Scale(1.5), Linear(1, 0)]),
        net_of(Linear(2, 0.1), read_out=[PHI, Linear(2.25, 0)]),
    ),
    "read-out reads the stream": (
        net_of(Scale(1.5), Linear(2, 0.1), read_out=Linear(1, 0)),
        net_of(Linear(4.5, 0.1), read_out=Linear(1, 0)),
    ),
}


def equal(one, other, **numbers):
    own = {"c_0": 1.5} if one.net.free_symbols else {}
    a, b = evaluate(one, **numbers, **own), evaluate(other, **numbers)
    for name in b:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-13, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("name", left_to_slow(SAME, ["per block", "read-out alike"]))
def test_one_and_two_inputs(name: str) -> None:
    with_factor, without = SAME[name]
    equal(one_loop(with_factor), one_loop(without), K0=0.7)
    equal(one_loop(with_factor, 2), one_loop(without, 2), K0=PAIR)


def test_everything_that_is_built_on_it() -> None:
    one, other = SAME["read-out alike"]
    for kind in ("variance", "tangent", "parameters"):
        equal(finite_response(one, kind), finite_response(other, kind), K0=0.7)
    equal(two_loop(one), two_loop(other), K0=0.7)
    assert [f.name for f in one_loop(one).formulas] == [f.name for f in one_loop(other).formulas]


def test_samples_with_the_factor() -> None:
    """Without the factor they would not fit."""
    net = net_of(Scale(1.5), Linear(2, 0.1))
    run = sample(net, "kernel", 64, 20_000, K0=0.7, seed=3, progress=False)["kernel"]
    at = {"K0": 0.7, "width": 64}
    right = evaluate(one_loop(net), **at)
    # The order 1/N moves the kernel by many errors, the next one by less than one.
    z = (run.mean - right["K_width"])[1:] / run.stderr[1:]
    assert np.abs(z).max() < 4
    plain = evaluate(one_loop(net_of(Linear(2, 0.1))), **at)
    assert np.abs((run.mean - plain["K_width"])[1:] / run.stderr[1:]).max() > 20


def test_a_normalisation_between_keeps_both_apart() -> None:
    with pytest.raises(UnsupportedError):
        one_loop(net_of(Scale(1.5), LayerNorm(), Linear(2, 0)))
    # Nobody is there to take up the factor in front of outputs of unit weights.
    blocks = [Branch(PHI, Scale(1.5), Linear(2, 0)), Branch(PHI, Linear(1, 0))]
    with pytest.raises(UnsupportedError, match="Scale"):
        one_loop(ResNet(blocks, scale=0.5, depth=4))
