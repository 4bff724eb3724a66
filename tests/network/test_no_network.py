"""What takes a network, a branch, a sample or a file says so, whatever it is given."""

from __future__ import annotations

from typing import Any

import pytest
import sympy as sp

import resexpand
from resexpand import Activation, Branch, Dropout, Linear, ResNet, kernel
from resexpand.errors import ResexpandError

THEORIES = (
    "compare_depths",
    "depth_limit",
    "depth_thresholds",
    "exact_moments",
    "finite_response",
    "gradient_moments",
    "growth",
    "implied_scale",
    "kernel",
    "mask_correlation",
    "one_loop",
    "optimal_scale",
    "response",
    "tangent_kernel",
    "variance_shift",
    "weight_scaling",
)
OTHERS = (5, None, "relu", sp.Symbol("x"), Branch(Activation("relu"), Linear()), [1], 1j)


@pytest.mark.parametrize("name", THEORIES)
def test_a_theory_is_of_a_network(name: str) -> None:
    for other in OTHERS:
        with pytest.raises(ResexpandError) as caught:
            getattr(resexpand, name)(other)
        assert "\n" not in str(caught.value)


def test_control_a_network_is_taken() -> None:
    net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=3)
    assert kernel(net).net is net


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("compare", (5, 5)),
        ("compare", (5, None)),
        ("load", (5,)),
        ("load", (None,)),
        ("pooled_dropout", ("relu", Dropout(0.5), [[1.0]])),
        ("pooled_dropout", (Activation("relu"), 0.5, [[1.0]])),
        ("rank_positions", (5, Dropout(0.5))),
    ],
)
def test_other_doors(name: str, given: tuple[Any, ...]) -> None:
    with pytest.raises(ResexpandError):
        getattr(resexpand, name)(*given)
