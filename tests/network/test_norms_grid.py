"""Operations in front of an activation, every observable of both samplers against each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from heavier import left_to_slow
from uncompiled import evaluate

from resexpand import (
    Activation,
    Branch,
    Dropout,
    LayerNorm,
    Linear,
    ResNet,
    RMSNorm,
    Scale,
    SharedDropout,
    gradient_moments,
    kernel,
    response,
    sample,
)
from resexpand.agreement.comparison import two_sample
from resexpand.network.operation import Operation

OUT = Linear(1.4, 0.1)
CASES = [
    *(LayerNorm(0.1), RMSNorm(0.2, gain=1.3), Scale(0.7)),
    *(Dropout(0.7), SharedDropout(0.6)),
]
NAMES = ["kernel", "layer_covariance", "output_squared", "chi", "response", "tangent", "gradient"]
NAMES += ["ntk", "log_gradient", "directional_derivative"]
LIMIT = 4.5
"""Largest deviation in standard errors; there are about sixty entries."""


def network(op: Operation) -> ResNet:
    branch = Branch(op, Activation("erf"), OUT)
    return ResNet(branch, scale=[0.9, 0.5], read_out=branch.followed_by(Linear(0.7, 0)))


@pytest.mark.parametrize(
    "op",
    left_to_slow(CASES, lambda op: op.kind != "LayerNorm"),
    ids=lambda op: op.kind,
)
def test_samplers_agree_with_each_other_and_the_theory(op: Operation) -> None:
    net = network(op)
    runs = [
        sample(net, NAMES, 96, 400, K0=0.7, seed=seed, method=method)
        for seed, method in ((1, "function-space"), (2, "dense"))
    ]
    verdict = two_sample(*runs, resolve=0.5)
    assert verdict.verdict != "disagrees", verdict
    theory: dict[str, Any] = {
        "kernel": evaluate(kernel(net), K0=0.7)["K"],
        "layer_covariance": evaluate(kernel(net), K0=0.7)["C"],
        "chi": evaluate(response(net), K0=0.7)["chi_0"],
        "response": evaluate(response(net), K0=0.7)["eta_layers"],
        "tangent": evaluate(response(net, "tangent"), K0=0.7)["chi_0"],
        "gradient": evaluate(gradient_moments(net), K0=0.7)["gradient"],
    }
    for run in runs:
        for name, values in theory.items():
            found = run[name]
            # What is neglected is of the order of the variance of one network.
            error = found.stderr + np.abs(values) * 2 / found.width + 1e-12
            assert np.abs((found.mean - values) / error).max() < LIMIT, name
            assert np.abs((found.mean - 1.4 * values) / error).max() > LIMIT, name
        product = run["directional_derivative"].mean
        np.testing.assert_allclose(product, product[0], rtol=1e-9)
