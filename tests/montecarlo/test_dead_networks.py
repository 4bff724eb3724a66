"""Networks whose rectifiers are all off: exact zeros are numbers, and their logarithms are told."""

from __future__ import annotations

import numpy as np
import pytest
from heavier import left_to_slow

from resexpand import Activation, Branch, Linear, ResNet, sample

NET = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=0.5, depth=2)
NAMES = [
    *("kernel", "layer_covariance", "output", "tangent", "distance", "residual_ratio"),
    *("gradient", "ntk"),
]


@pytest.mark.parametrize("method", left_to_slow(["function-space", "dense"], ["dense"]))
def test_a_dead_network_stays_where_it_is(method: str, make) -> None:
    width, draws = 3, 400
    rows = make(NET, NAMES, width, method=method).rows(0, draws)
    dead = rows["layer_covariance"][:, 0] == 0
    assert abs(dead.mean() - 0.5**width) < 4 * np.sqrt(0.5**width / draws)
    assert all(np.isfinite(rows[name]).all() for name in NAMES)
    for name in ("layer_covariance", "output", "distance", "residual_ratio", "gradient", "ntk"):
        assert (rows[name][dead] == 0).all()
        assert (rows[name][~dead] != 0).any()
    kernel, tangent = rows["kernel"][dead], rows["tangent"][dead]
    assert (kernel == kernel[:, :1]).all()
    assert (tangent == 1).all()


def test_its_logarithm_is_told() -> None:
    found = sample(NET, ["log_gradient", "log_kernel"], 3, 400, K0=1.0)
    assert "overflow" in found["log_gradient"].flags
    assert "as in a dead network" in found["log_gradient"].status
    assert "overflow" not in found["log_kernel"].flags  # the stream is its input


def test_without_an_input_nothing_happens() -> None:
    found = sample(NET, ["kernel", "log_kernel", "layer_covariance"], 4, 50, K0=0.0)
    assert found["kernel"].status == found["layer_covariance"].status == "ok"
    assert (found["kernel"].mean == 0).all()
    assert "has no logarithm" in found["log_kernel"].status
