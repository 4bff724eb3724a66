"""A seed keeps giving the same networks: values of single networks, recorded once, to rounding.

Stored runs, published numbers and the comparison of machines rest on this. If a change of the
samplers is meant to draw other networks, `NUMBERS_VERSION` goes up with the values below.
"""

from __future__ import annotations

import numpy as np
import pytest

from resexpand import Activation, Branch, Linear, ResNet
from resexpand.montecarlo.runs.plan import NUMBERS_VERSION

W, B = Linear(1.4, 0.3), Linear(0.8, 0.0)
BRANCHES = {
    "W erf(h)": Branch(Activation("erf"), W),
    "V relu(W h)": Branch(W, Activation("relu"), B),
}
PAIR = [[1.2, 0.5], [0.5, 0.9]]
# Networks 3 and 4 of seed 7 at width 12: last layer; of a pair, the off-diagonal entry.
RECORDED = {
    ("W erf(h)", "function-space", "kernel", 1): (1.6444830056238, 4.6840912894876),
    ("W erf(h)", "function-space", "chi", 1): (0.87718795595429, 2.1890502407825),
    ("W erf(h)", "function-space", "kernel", 2): (0.72323623531344, 1.6646601185275),
    ("W erf(h)", "dense", "kernel", 1): (0.99178929313734, 2.5205719288989),
    ("W erf(h)", "dense", "chi", 1): (0.93248786332866, 2.5238121267741),
    ("W erf(h)", "dense", "kernel", 2): (0.72956286258055, 0.77791251530155),
    ("V relu(W h)", "function-space", "kernel", 1): (1.2430456435548, 3.3755585613026),
    ("V relu(W h)", "function-space", "chi", 1): (1.3403185207042, 4.0978028944521),
    ("V relu(W h)", "function-space", "kernel", 2): (1.7130354506946, 3.4845461341597),
    ("V relu(W h)", "dense", "kernel", 1): (1.7823517205888, 3.3438948772848),
    ("V relu(W h)", "dense", "chi", 1): (1.8680712302443, 3.6951661608377),
    ("V relu(W h)", "dense", "kernel", 2): (0.67135594709093, 2.5234927433207),
}


CASES = [
    pytest.param(*case, marks=[pytest.mark.slow] if "relu" in case[0] else []) for case in RECORDED
]


@pytest.mark.parametrize(("shape", "method", "name", "inputs"), CASES)
def test_recorded_networks(shape: str, method: str, name: str, inputs: int, draw_rows) -> None:
    net = ResNet(BRANCHES[shape], scale=[0.9, 0.5, 0.7])
    K0 = 0.8 if inputs == 1 else PAIR
    rows = draw_rows(net, name, 12, 2, first=3, K0=K0, method=method, seed=7)[:, -1]
    found = rows if inputs == 1 else rows[:, 0, 1]
    np.testing.assert_allclose(found, RECORDED[shape, method, name, inputs], rtol=1e-11)


def test_the_values_belong_to_this_version() -> None:
    assert NUMBERS_VERSION == 1


def test_further_columns_do_not_change_the_network(make) -> None:
    """The weights of the dense sampler do not know what they act on."""
    net = ResNet(BRANCHES["W erf(h)"], scale=[0.9, 0.5, 0.7])
    alone, beside = (
        make(net, names, 12, K0=0.8, method="dense", seed=7).rows(0, 5)["kernel"]
        for names in (["kernel"], ["kernel", "chi", "tangent"])
    )
    np.testing.assert_allclose(alone, beside, rtol=1e-12)
